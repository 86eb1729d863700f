//! The jail's helper alone, for tests: what `wrenn jail` does.

fn main() {
    let Err(error) = wrenn_vmm::jail::main();
    eprintln!("{error}");
    std::process::exit(1);
}
