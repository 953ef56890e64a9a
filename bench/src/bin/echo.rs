//! `echo LISTEN`: the gRPC service behind the gateway that is measured.

use std::net::SocketAddr;

use clap::Parser;

/// Serves `echo.v1.Echo`.
#[derive(Debug, Parser)]
struct Cli {
    /// Where to listen.
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bench::echo::serve(Cli::parse().listen).await
}
