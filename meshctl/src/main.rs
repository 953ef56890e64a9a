//! Runs one command of [`meshctl::cli`] and turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use meshctl::cli::Cli;

#[expect(clippy::print_stderr, reason = "a command line program complains there")]
fn main() -> ExitCode {
    match Cli::parse().run(&mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("meshctl: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
