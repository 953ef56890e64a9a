//! The command line: what there is to type, and where it goes.
//!
//! In: arguments. Out: the chosen command's outcome. Called by `main`.

use clap::{Args, Parser, Subcommand};

use crate::apply;
use crate::bootstrap;
use crate::console::Console;
use crate::failure::Failure;
use crate::history;
use crate::replicas::ApiArgs;
use crate::show::{self, Listing, OutputArgs};

/// Shown below `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done, or what was asked holds
  1  refused: bad input, a failed check, or somebody said no
  2  the command line makes no sense
  3  nothing that could answer was reachable";

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
    Explain(ExplainArgs),
    Bootstrap(Box<bootstrap::BootstrapArgs>),
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
            Command::Explain(args) => {
                show::explain(&args.proxy, &args.api, args.output, console).await
            }
            Command::Bootstrap(args) => console.print(&bootstrap::run(*args)?),
        }
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
