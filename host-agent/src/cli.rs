//! The command line: what to do, and with which file.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::logs::test_rules::command::TestRulesOptions;
use crate::tail::TailOptions;

/// Logs, traces and exporters of one host.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 it stopped as asked, or what was checked is good; 1 it failed, or what was checked is not; 2 wrong usage."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run until SIGTERM or SIGINT; SIGHUP reads the configuration again.
    Run {
        /// Configuration file (TOML); without it, the defaults.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Show what is logged from now on, as it will be sent; needs no running agent. Ctrl-C ends it.
    Tail {
        /// Configuration file (TOML); without it, the defaults.
        #[arg(long)]
        config: Option<PathBuf>,
        /// What is shown.
        #[command(flatten)]
        options: TailOptions,
    },
    /// Show what rules make of entries, or run the configuration's tests of its rules.
    TestRules(TestRulesOptions),
    /// Check a configuration file and print every problem with its key.
    CheckConfig {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
}
