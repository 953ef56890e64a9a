//! The command line: the file, and the addresses that a placer chooses for each allocation.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The application behind a System's gateway: checks API keys, and turns REST into gRPC.
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
    /// Run until SIGTERM or SIGINT.
    Run {
        /// Configuration file (TOML); without it, the defaults: Consul at http://127.0.0.1:8500.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Addresses in place of the file's.
        #[command(flatten)]
        addresses: Addresses,
    },
    /// Check a configuration file and print every problem with its key.
    CheckConfig {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
}

/// Addresses in place of the file's: ports are often chosen by a placer, one set for each allocation.
#[derive(Debug, Clone, Default, Args)]
pub struct Addresses {
    /// Where the gateway's Envoy reaches it: the port of `--service NAME=INBOUND:APP` of its bootstrap.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// The gateway Envoy's egress listener: the port of `--egress` of its bootstrap.
    #[arg(long, value_name = "IP:PORT")]
    pub egress: Option<SocketAddr>,
    /// The gateway Envoy's listener for the Router: the port of `--ingress` of its bootstrap. With it calls can be tried on
    /// the page.
    #[arg(long, value_name = "IP:PORT")]
    pub ingress: Option<SocketAddr>,
    /// The admin port: health, metrics, pages.
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Option<SocketAddr>,
}
