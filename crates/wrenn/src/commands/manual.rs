//! `wrenn completions` and `wrenn man`: what the command line says about itself, for shells and for `man`.

use std::io::Write;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::aot::{Bash, Fish, Generator, Zsh};
use clap_mangen::Man;

use crate::cli::{Cli, CompletionsArgs, ManArgs, Shell};
use crate::report::Advised;

/// Prints the script that makes a shell complete our commands.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<()> {
    match args.shell {
        Shell::Bash => script(Bash),
        Shell::Zsh => script(Zsh),
        Shell::Fish => script(Fish),
    }
}

fn script(shell: impl Generator) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(&Cli::command()), "wrenn", &mut script);
    print(&script)
}

/// A command without what is hidden in it, which the scripts would offer all the same.
fn shown(command: &clap::Command) -> clap::Command {
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let inner = command.get_subcommands().filter(|one| !one.is_hide_set());
    let aliases = command.get_visible_aliases().map(str::to_owned);
    clap::Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .version(env!("CARGO_PKG_VERSION"))
        .visible_aliases(aliases)
        .args(args)
        .subcommands(inner.map(shown))
}

/// Prints the page of one command, or writes those of all.
pub(crate) fn man(args: &ManArgs) -> Result<()> {
    if let Some(folder) = &args.write {
        return clap_mangen::generate_to(Cli::command(), folder)
            .with_context(|| format!("the pages cannot be written to {}", folder.display()));
    }
    let mut all = Cli::command().disable_help_subcommand(true);
    all.build();
    let mut command = &all;
    for name in &args.command {
        command = command.find_subcommand(name).ok_or_else(|| {
            Advised::new(
                format!("there is no command `wrenn {}`", args.command.join(" ")),
                "`wrenn help` lists the commands",
            )
        })?;
    }
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    print(&page)
}

/// A reader that went away is an error, and no panic.
fn print(text: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text)?;
    Ok(stdout.flush()?)
}
