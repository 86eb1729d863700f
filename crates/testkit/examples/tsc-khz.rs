//! Prints how fast this processor's time stamp counter runs, in kHz: the kernel of an emulated machine is told it.

fn main() {
    println!("{}", wrenn_sys::clock::tsc_khz());
}
