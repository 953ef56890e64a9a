//! The command line: what there is to type, and where it goes.
//!
//! In: arguments. Out: the chosen command's outcome. Called by `main`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use lab::demo::token::{Claims, mint};
use lab::demo::trace;
use serde_json::json;

use crate::apply;
use crate::bootstrap;
use crate::console::Console;
use crate::deploy;
use crate::failure::Failure;
use crate::history;
use crate::keys;
use crate::lint;
use crate::promote;
use crate::replicas::ApiArgs;
use crate::rollback;
use crate::run_envoy;
use crate::show::{self, Listing, OutputArgs};
use crate::status;
use crate::stop;
use crate::wait_envoy;

/// Shown below `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done, or what was asked holds
  1  refused: bad input, a failed check, or somebody said no
  2  the command line makes no sense
  3  nothing that could answer was reachable
  4  waiting for a person (deploy): meshctl promote, or meshctl rollback
  5  half-way (deploy, promote, rollback, stop): the message names what is left";

/// Look after a mesh: its Systems, its proxies and their configuration.
#[derive(Debug, Parser)]
#[command(name = "meshctl", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Apply(apply::ApplyArgs),
    Undo(history::UndoArgs),
    /// Delete what was applied.
    #[command(subcommand)]
    Delete(Deletion),
    Get(GetArgs),
    Keys(keys::KeysArgs),
    Explain(ExplainArgs),
    Bootstrap(Box<bootstrap::BootstrapArgs>),
    Lint(lint::LintArgs),
    Deploy(Box<deploy::DeployArgs>),
    Promote(Box<promote::PromoteArgs>),
    Rollback(Box<rollback::RollbackArgs>),
    Status(Box<status::StatusArgs>),
    Stop(Box<stop::StopArgs>),
    RunEnvoy(Box<run_envoy::RunEnvoyArgs>),
    WaitEnvoy(wait_envoy::WaitEnvoyArgs),
    Demo(DemoArgs),
}

/// Run a whole mesh on this machine: Consul, two control planes, a Router, two Systems.
///
/// Envoy and Consul are brought by `make setup`; without a Consul the demo runs on the file registry and says so.
/// Ctrl-C ends everything it started.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct DemoArgs {
    #[command(subcommand)]
    what: Option<DemoWhat>,
    /// Drive it, check every path and move, print a table of checks, and end.
    #[arg(long)]
    once: bool,
    /// Port of the Router on 127.0.0.1.
    #[arg(long, default_value_t = 8080)]
    router_port: u16,
    /// Let the proxies speak the state-of-the-world variant of xDS.
    #[arg(long)]
    sotw: bool,
}

#[derive(Debug, Subcommand)]
enum DemoWhat {
    Token(TokenArgs),
    Trace(TraceArgs),
}

/// Send a request through the running demo, from one System into the other, and print its spans as a tree.
#[derive(Debug, Args)]
struct TraceArgs {
    /// Port of the demo's Router on 127.0.0.1.
    #[arg(long, default_value_t = 8080)]
    router_port: u16,
}

/// Print a token that the demo's customers' route takes. Its key is public: it proves nothing to anyone else.
#[derive(Debug, Args)]
struct TokenArgs {
    /// Who calls.
    #[arg(long, default_value = "alice")]
    subject: String,
    /// For whom the token is.
    #[arg(long, default_value = lab::demo::token::AUDIENCE)]
    audience: String,
    /// What the caller may do: words with spaces between.
    #[arg(long, default_value = "")]
    scope: String,
    /// How long it is good, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    lifetime: u64,
}

#[derive(Debug, Subcommand)]
enum Deletion {
    System(history::DeleteArgs),
}

/// List what the control planes know.
///
/// All replicas are asked and their answers joined; one that does not answer is named on standard error.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct GetArgs {
    #[command(subcommand)]
    what: GetWhat,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum GetWhat {
    #[command(flatten)]
    Listing(Listing),
    History(history::HistoryArgs),
}

/// Show what a proxy gets, and which registration, document line or default each part comes from.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct ExplainArgs {
    /// Node id, as `meshctl get proxies` lists it.
    proxy: String,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Cli {
    /// Runs the chosen command.
    ///
    /// # Errors
    /// When the command fails; its exit code goes with it.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let is_json = self.answers_in_json();
        let ended = Box::pin(self.carry_out(console)).await;
        if is_json && let Err(failure) = &ended {
            let (error, exit_code) = (failure.to_string(), failure.exit_code());
            let answer = json!({"error": error, "exit_code": exit_code});
            // Where nobody takes it either, the failure itself is what counts.
            console.print(&format!("{answer}\n")).ok();
        }
        ended
    }

    /// Whether the whole answer is one JSON value, also that there is none. Those that follow a job write an object a
    /// line, [`lint`] its findings.
    fn answers_in_json(&self) -> bool {
        match &self.command {
            Command::Get(GetArgs { output, .. }) | Command::Explain(ExplainArgs { output, .. }) => {
                output.is_json()
            }
            Command::Keys(args) => args.is_json(),
            Command::Status(args) => args.is_json(),
            _ => false,
        }
    }

    async fn carry_out(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.command {
            Command::Apply(args) => apply::run(args, console).await,
            Command::Undo(args) => history::undo(args, console).await,
            Command::Delete(Deletion::System(args)) => history::delete(args, console).await,
            Command::Get(GetArgs { what: GetWhat::Listing(what), api, output }) => {
                show::list(&what, &api, output, console).await
            }
            Command::Get(GetArgs { what: GetWhat::History(args), output, .. }) => {
                history::show(args, output, console).await
            }
            Command::Keys(args) => keys::run(args, console).await,
            Command::Explain(args) => {
                show::explain(&args.proxy, &args.api, args.output, console).await
            }
            Command::Bootstrap(args) => console.print(&bootstrap::run(*args)?),
            Command::Lint(args) => lint::run(&args, console),
            Command::Deploy(args) => deploy::run(*args, console).await,
            Command::Promote(args) => promote::run(*args, console).await,
            Command::Rollback(args) => rollback::run(*args, console).await,
            Command::Status(args) => status::run(*args, console).await,
            Command::Stop(args) => stop::run(*args, console).await,
            Command::RunEnvoy(args) => run_envoy::run(*args, console).await,
            Command::WaitEnvoy(args) => wait_envoy::run(&args, console).await,
            Command::Demo(DemoArgs { what: Some(DemoWhat::Token(args)), .. }) => {
                token(args, console)
            }
            Command::Demo(DemoArgs { what: Some(DemoWhat::Trace(args)), .. }) => {
                let router = SocketAddr::from((Ipv4Addr::LOCALHOST, args.router_port));
                let tree = trace::follow(router, trace::store(args.router_port)).await;
                console.print(&tree.map_err(|error| Failure::Refused(lab::chain(&error)))?)
            }
            Command::Demo(args) => demo(args).await,
        }
    }
}

impl Cli {
    /// Checks everything about the command line that can be known without running it.
    ///
    /// # Errors
    /// As the command itself, as far as it is about the flags.
    pub fn check(self) -> Result<(), Failure> {
        match self.command {
            Command::RunEnvoy(args) => args.check(),
            Command::Bootstrap(args) => bootstrap::run(*args).map(drop),
            _ => Ok(()),
        }
    }

    /// How long the command goes on after it is asked to stop, where that is part of its flags.
    pub fn longest_stop(&self) -> Option<Duration> {
        match &self.command {
            Command::RunEnvoy(args) => Some(args.longest_stop()),
            _ => None,
        }
    }
}

fn token(args: TokenArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let TokenArgs { subject, audience, scope, lifetime } = args;
    let lifetime = Duration::from_secs(lifetime);
    let token = mint(&Claims { subject, audience, scope, lifetime });
    console.print(&format!("{}\n", token.map_err(|e| Failure::Refused(lab::chain(&e)))?))
}

async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let DemoArgs { once, router_port, sotw, .. } = args;
    let options = lab::demo::DemoOptions { once, router_port, sotw, parts: None };
    match lab::demo::run(options).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Refused("the demo's checks did not all pass".to_owned())),
        Err(error) => Err(Failure::Refused(lab::chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_its_help_names_the_exit_codes() {
        Cli::command().debug_assert();
        assert!(Cli::command().render_help().to_string().contains("3  nothing"));
    }
}
