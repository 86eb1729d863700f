//! The guest agent: init and PID 1 of every sandbox, and the server through which the host works in it.
//!
//! As PID 1 it takes the machine from the initramfs to the image's file system, configures it and serves until it is told to
//! shut down. `envd serve` runs the same server as an ordinary process, for tests.

mod boot;
mod boot_id;
mod caller;
mod console;
mod errors;
mod files;
mod filesystem;
mod lock;
mod machine;
mod paths;
mod process;
mod serve;
mod server;
mod session;
mod sys;
mod users;

use std::process::ExitCode;

fn main() -> ExitCode {
    let result = if std::process::id() == 1 {
        boot::run()
    } else {
        serve::run(std::env::args().skip(1))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::log(format_args!("{}", errors::chain(&*error)));
            ExitCode::FAILURE
        }
    }
}
