//! Parses the command line, reads the configuration, runs, and turns the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use control_plane::app;
use control_plane::cli::{Cli, Command};
use control_plane::config::Config;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to people")]
fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { config } => Config::read(config.as_deref())
            .map_err(anyhow::Error::from)
            .and_then(|read| app::run(&read, config)),
        Command::CheckConfig { config } => Config::read(Some(&config))
            .map(|_| println!("{} is good", config.display()))
            .map_err(anyhow::Error::from),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("control-plane: {error:#}");
            ExitCode::FAILURE
        }
    }
}
