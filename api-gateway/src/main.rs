//! Parses the command line, reads the configuration, runs, and turns the outcome into an exit code.

use std::process::ExitCode;

use api_gateway::app;
use api_gateway::cli::{Addresses, Cli, Command};
use api_gateway::config::Config;
use clap::Parser;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to people")]
fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { config, addresses } => Config::read(config.as_deref(), &addresses)
            .map_err(anyhow::Error::from)
            .and_then(|read| app::run(&read)),
        Command::CheckConfig { config } => Config::read(Some(&config), &Addresses::default())
            .map(|_| println!("{} is good", config.display()))
            .map_err(anyhow::Error::from),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
