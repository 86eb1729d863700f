//! Fills a store by hand: `cargo run -p wrenn-guest-image --example build -- STORE [--init FILE] [--refresh] RECIPE...`
//!
//! Makes the kernel, of the package that `WRENN_KERNEL_PACKAGE` names if it names one, with `--init` the initramfs as well, and the
//! template of each recipe.

use std::error::Error;
use std::path::PathBuf;

use wrenn_guest_image::{Cache, DEFAULT_KERNEL, Images, Progress, Recipe, Reuse};

/// Prints each step and detail on a line of its own.
struct Print;

impl Progress for Print {
    fn step(&self, what: &str) {
        println!("{what}");
    }

    fn detail(&self, line: &str) {
        println!("    {line}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let store = args
        .next()
        .ok_or("usage: build STORE [--init FILE] [--refresh] RECIPE...")?;
    let images = Images::open(store, Cache::from_env())?;
    let (mut init, mut recipes, mut reuse) = (None, Vec::new(), Reuse::Present);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--init" => init = Some(PathBuf::from(args.next().ok_or("--init wants a file")?)),
            "--refresh" => reuse = Reuse::Nothing,
            name => recipes.push(Recipe::find(name)?),
        }
    }
    let package = std::env::var("WRENN_KERNEL_PACKAGE").unwrap_or(DEFAULT_KERNEL.to_owned());
    let kernel = images.ensure_kernel(&package, reuse, &Print).await?;
    println!("{kernel:#?}");
    if let Some(init) = init {
        let envd = std::fs::read(init)?;
        let initramfs = images.ensure_initramfs(&kernel, &envd).await?;
        println!("{}", initramfs.display());
    }
    for recipe in &recipes {
        println!("{:#?}", images.build_template(recipe, reuse, &Print).await?);
    }
    Ok(())
}
