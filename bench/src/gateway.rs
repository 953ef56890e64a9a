//! Measures the API gateway: what proving who calls adds, and what REST ↔ gRPC costs beside others that convert.
//!
//! ```text
//!  load ─▶ Envoy ─┬─ token or key ──────────────────────────────────────▶ service
//!                 ├─ api-gateway ──▶ the same Envoy's egress listener ───▶ service
//!                 ├─ grpc-gateway ─▶ the same Envoy's egress listener ───▶ service
//!                 └─ Envoy's own grpc_json_transcoder ───────────────────▶ service
//! ```
//!
//! In: which part, and for how long. Out: figures. `fleet gateway` is the program. Envoy's configuration is static and
//! says what the control plane's resources say of these filters: the gateway is measured, not xDS.
//!
//! **Invariants**: who is compared takes turns in short rounds, so that what else happens on the machine is everybody's;
//! every request must be answered 200.

use std::time::Duration;

use crate::figures::Figure;

mod auth;
mod envoy;
mod load;
mod peer;
mod stage;
mod stream;
mod token;
mod unary;
mod way;

use self::stage::Stage;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Tokens and keys.
    Auth,
    /// Conversion of unary calls.
    Unary,
    /// Conversion of streams.
    Stream,
}

/// Measures these parts; a round of a contender takes `span`.
///
/// # Errors
/// A part is missing or does not start, or a request fails.
pub async fn measure(parts: &[Part], span: Duration) -> anyhow::Result<Vec<Figure>> {
    let mut stage = Stage::raise().await?;
    let mut figures = Vec::new();
    for part in parts {
        figures.extend(match part {
            Part::Auth => auth::measure(&mut stage, span).await?,
            Part::Unary => unary::measure(&mut stage, span).await?,
            Part::Stream => stream::measure(&mut stage).await?,
        });
    }
    stage.stop().await?;
    Ok(figures)
}
