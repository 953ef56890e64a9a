//! The command line: few flags, everything else is in the file.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Watches Consul, builds the mesh, and configures every Envoy of it over xDS.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 it stopped as asked, or the configuration is good; 1 it failed, or the configuration is not; 2 wrong usage."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run until SIGTERM or SIGINT; SIGHUP reads the configuration file again: the log level takes effect, other changes are named.
    Run {
        /// Configuration file (TOML); without it, the defaults: Consul at http://127.0.0.1:8500.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Check a configuration file and print every problem with its key.
    CheckConfig {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
}
