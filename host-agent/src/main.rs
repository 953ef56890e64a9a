//! Parses the command line, reads the configuration, runs, and turns the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use host_agent::app;
use host_agent::cli::{Cli, Command};
use host_agent::config::Config;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to people")]
fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { config } => {
            Config::read(config.as_deref()).map_err(anyhow::Error::from).and_then(app::run)
        }
        Command::CheckConfig { config } => Config::read(Some(&config))
            .map(|_| println!("{} is good", config.display()))
            .map_err(anyhow::Error::from),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("host-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
