//! `meshctl wait-envoy`: ends when the Envoy beside it takes requests.
//!
//! In: the port of an Envoy's admin interface. Out: nothing, or why it is not ready in time. Called before an
//! application starts: Nomad starts it as soon as the sidecar *runs*, which is earlier.

use std::time::Duration;

use clap::Args;
use contract::duration::Span;
use tokio::time::Instant;

use crate::console::Console;
use crate::envoy_admin::{EnvoyAdmin, Readiness};
use crate::failure::Failure;

const PAUSE: Duration = Duration::from_millis(100);

/// Wait until an Envoy on this loopback has its listeners from a control plane.
///
/// In a Nomad job: a prestart task that is no sidecar, so that the application starts when its proxy is ready.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  it is ready
  1  it answers, and was not ready in time
  3  nobody answered in time

Example:
  meshctl wait-envoy --admin 9901 --timeout 60s")]
pub struct WaitEnvoyArgs {
    /// Loopback port of Envoy's admin interface.
    #[arg(long, value_name = "PORT", default_value_t = 9901)]
    admin: u16,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: Span,
}

/// Waits.
///
/// # Errors
/// When the time is over.
pub async fn run(args: &WaitEnvoyArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let WaitEnvoyArgs { admin: port, timeout } = args;
    let admin = EnvoyAdmin::new(*port)?;
    let begin = Instant::now();
    loop {
        let seen = admin.readiness().await;
        let is_over = begin.elapsed() >= timeout.as_duration();
        match seen {
            Readiness::Ready => {
                let seconds = begin.elapsed().as_secs_f64();
                return console.remark(&format!("wait-envoy: ready after {seconds:.1} s"));
            }
            Readiness::NotYet(lack) if is_over => {
                return Err(Failure::Refused(format!(
                    "Envoy is not ready after {timeout}: {lack}"
                )));
            }
            Readiness::Silent(error) if is_over => {
                return Err(Failure::Unreachable(format!(
                    "no Envoy answered on 127.0.0.1:{port} for {timeout}: {error}"
                )));
            }
            Readiness::NotYet(_) | Readiness::Silent(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
