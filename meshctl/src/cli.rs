//! The command line: what there is to type, and where it goes.
//!
//! In: arguments. Out: the chosen command's outcome. Called by `main`.

use std::io::Write;

use clap::{Parser, Subcommand};

use crate::bootstrap;
use crate::failure::Failure;

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
    /// Print the Envoy bootstrap of one proxy.
    Bootstrap(Box<bootstrap::BootstrapArgs>),
}

impl Cli {
    /// Runs the chosen command; what it shows goes to `out`.
    ///
    /// # Errors
    /// When the command fails; its exit code goes with it.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self.command {
            Command::Bootstrap(args) => {
                let yaml = bootstrap::run(*args)?;
                write(out, &yaml)
            }
        }
    }
}

fn write(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    out.write_all(text.as_bytes())
        .map_err(|error| Failure::Refused(format!("cannot write the output: {error}")))
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
