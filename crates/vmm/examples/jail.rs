//! The jail's helper alone, for tests: what `wrenn jail` does.

fn main() {
    let Err(error) = wrenn_vmm::jail::main(&|order| Err(std::io::Error::other(order.to_owned())));
    eprintln!("{error}");
    std::process::exit(1);
}
