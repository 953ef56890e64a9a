//! A stand-in for Nomad in tests and the demo. `agent` is the server and its one client; everything else is `nomad`'s
//! command line against an agent's HTTP API.
//!
//! In: arguments, as `nomad` has them. Out: an exit code. The same binary is the executor beside each task.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use service::ErrorChain;
use service::logging::{LogConfig, LogFormat};

mod agent;
mod cli;
mod config;
mod jobspec;
mod start;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((word, rest)) if word == "agent" => agent(rest),
        Some((word, [spec])) if word == agent::client::executor::ARGUMENT => {
            agent::client::executor::run(Path::new(spec))
        }
        _ => cli::run(&args),
    }
}

fn agent(flags: &[String]) -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return failed("the TLS provider is installed twice");
    }
    let log = LogConfig { format: LogFormat::Text, ..LogConfig::default() };
    if let Err(error) = service::logging::init(&log) {
        return failed(&ErrorChain(&error).to_string());
    }
    let started = match start::settings(flags) {
        Ok(started) => started,
        Err(why) => return failed(&why),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    match runtime.block_on(agent::run(started.settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&ErrorChain(error.as_ref()).to_string()),
    }
}

fn failed(why: &str) -> ExitCode {
    // Nobody is left to tell when standard error is gone.
    writeln!(std::io::stderr(), "==> Error starting agent: {why}").ok();
    ExitCode::FAILURE
}
