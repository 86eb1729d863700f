//! The shell script that turns a tree of packages into a recipe's: users, files, commands, and nothing of the host.

use std::path::Path;

use crate::apt::Source;
use crate::recipe::{File, Recipe, User};

/// How the script's own messages begin, so that they are told from those of the programs that it runs.
pub(crate) const MARK: &str = "wrenn: ";

/// What the building machine and the build leave in the tree. The guest agent writes the first three anew at each boot.
///
/// apt's lists and archives are removed here and not by mmdebstrap, which would call the host's apt with a configuration
/// out of the tree's `/tmp`: a recipe that empties it would have the host's own lists removed.
const LEFTOVERS: &str = "\
rm -f /etc/hostname /etc/resolv.conf /etc/machine-id /var/lib/dbus/machine-id
: > /etc/machine-id
rm -f /etc/apt/apt.conf.d/99mmdebstrap
mv /etc/dpkg/dpkg.cfg.d/99mmdebstrap /etc/dpkg/dpkg.cfg.d/excludes
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*
find /var/log -type f -delete
rm -rf /var/cache/ldconfig/* /var/cache/debconf/*-old /var/lib/dpkg/*-old
";

/// The script for a recipe, to run in the tree as root.
pub(crate) fn customize(recipe: &Recipe, sources: &[Source]) -> String {
    let mut script = "set -eu\n".to_owned();
    if !(recipe.users.is_empty() && recipe.files.is_empty()) {
        script += &tell("making users and files");
    }
    for user in &recipe.users {
        script += &add_user(user);
    }
    for file in &recipe.files {
        script += &add_file(file);
    }
    let steps = recipe.run.len();
    for (index, step) in recipe.run.iter().enumerate() {
        script += &tell(&format!("command {} of {steps}", index + 1));
        script += &format!("sh -euc {} < /dev/null\n", quoted(step));
    }
    script += &tell("cleaning up");
    script += LEFTOVERS;
    let lines: String = sources
        .iter()
        .map(|source| source.public_line() + "\n")
        .collect();
    script += &format!("printf %s {} > /etc/apt/sources.list\n", quoted(&lines));
    script
}

/// The hook that runs the script in the tree, which mmdebstrap gives it as its first argument.
pub(crate) fn hook(script: &Path) -> String {
    let script = quoted(&script.to_string_lossy());
    format!("chroot \"$1\" /bin/sh < {script}")
}

/// From the end of what mmdebstrap said: what the script was at, and what that said.
pub(crate) fn failure(said: &str) -> Option<(String, String)> {
    let (_, last) = said.rsplit_once(MARK)?;
    let (command, said) = last.split_once('\n')?;
    let said = said.split("\nE: setup failed").next().unwrap_or(said);
    Some((command.to_owned(), said.trim().to_owned()))
}

fn tell(what: &str) -> String {
    format!("echo '{MARK}{what}' >&2\n")
}

fn add_user(user: &User) -> String {
    let User {
        name,
        uid,
        shell,
        sudo,
    } = user;
    let mut script = format!(
        "groupadd --gid {uid} {name}\n\
         useradd --create-home --uid {uid} --gid {uid} --shell {shell} {name} < /dev/null\n",
        shell = quoted(shell)
    );
    if *sudo {
        script += &format!(
            "echo '{name} ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/{name}\n\
             chmod 0440 /etc/sudoers.d/{name}\n"
        );
    }
    script
}

fn add_file(file: &File) -> String {
    let path = quoted(&file.path);
    let mode = &file.mode;
    format!(
        "mkdir -p \"$(dirname {path})\"\nprintf %s {content} > {path}\nchmod {mode} {path}\n",
        content = quoted(&file.content)
    )
}

/// A text as one word of the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrenn_sys::program::Program;

    #[tokio::test]
    async fn the_shell_gets_a_quoted_text_back_as_it_was() {
        for text in ["plain", "it's $HOME `id` \"x\" \\ \n%s*", "''", ""] {
            let output = Program::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(text))])
                .run()
                .await
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }

    #[test]
    fn a_failure_is_told_without_the_noise_around_it() {
        let said = "Setting up x\nwrenn: command 1 of 2\nfine\nwrenn: command 2 of 2\nno such\nfile\n\
                    E: setup failed: E: command failed: chroot\nE: mmdebstrap failed to run\n";
        let (command, said) = failure(said).unwrap();
        assert_eq!(
            (command.as_str(), said.as_str()),
            ("command 2 of 2", "no such\nfile")
        );
        assert_eq!(failure("E: apt-get failed\n"), None);
    }

    #[tokio::test]
    async fn the_script_of_each_recipe_is_a_shell_script() {
        for name in Recipe::names() {
            let script = customize(&Recipe::find(name).unwrap(), &[]);
            Program::new("sh")
                .args(["-n", "-c", &script])
                .run()
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn a_file_is_written_as_the_recipe_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/it's");
        let file = File {
            path: path.display().to_string(),
            mode: "0751".to_owned(),
            content: "a 'b' $c\n%d\n".to_owned(),
        };
        Program::new("sh")
            .args(["-euc", &add_file(&file)])
            .run()
            .await
            .unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), file.content);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o7777, 0o751);
    }
}
