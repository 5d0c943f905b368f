//! The chores of this workspace, run as `cargo xtask COMMAND`.
//!
//! It is the first thing that a fresh machine builds, so it has one dependency
//! and reads its few arguments by hand.

use std::process::ExitCode;

mod args;
mod ci;
mod command;
mod error;
mod features;
mod programs;
mod test;

use args::Task;

fn main() -> ExitCode {
    let done = args::parse(std::env::args().skip(1)).and_then(|task| match task {
        Task::Test { long, rest } => test::run(long, &rest),
        Task::Ci => ci::run(),
        Task::Help => {
            print!("{}", args::USAGE);
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
