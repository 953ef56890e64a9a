//! Parses the command line, reads the configuration, runs, and turns the outcome into an exit code.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use clap::Parser;
use host_agent::app;
use host_agent::cli::{Cli, Command};
use host_agent::config::Config;
use host_agent::logs::test_rules::{command, show::Look};

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to people")]
fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { config } => {
            let read = Config::read(config.as_deref()).map_err(anyhow::Error::from);
            read.and_then(|read| app::run(read, config))
        }
        Command::Tail { config, options } => {
            let read = Config::read(config.as_deref()).map_err(anyhow::Error::from);
            read.and_then(|read| app::tail(read, &options))
        }
        Command::TestRules(options) => {
            let look = Look { is_coloured: stdout().is_terminal() };
            match command::run(&options, look, &mut stdout().lock()) {
                Ok(true) => Ok(()),
                Ok(false) => return ExitCode::FAILURE,
                Err(error) => Err(error),
            }
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
