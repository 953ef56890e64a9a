//! What the outside is told of the process's state: readiness, and systemd's notifications and watchdog.
//!
//! In: the rounds of the pipelines' threads. Out: `READY=1` once every pipeline reads, `WATCHDOG=1` while all of them go
//! round. Without systemd the notifications go nowhere.
//!
//! **Invariants**: whether a destination can be reached plays no part: a thread that waits for one goes round all the same,
//! and a restart would not help.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;
use service::admin::Readiness;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::logs::supervise::Beats;

/// How often readiness is looked at before the process is ready.
const STARTING: Duration = Duration::from_millis(50);
/// How often threads are looked at where systemd sets no watchdog.
const LOOK: Duration = Duration::from_secs(10);
/// Looks within systemd's limit: one that comes late must not end the process.
const LOOKS_IN_LIMIT: u32 = 3;

/// Runs until shutdown.
pub(super) async fn run(
    readiness: watch::Sender<Readiness>,
    beats: Beats,
    shutdown: CancellationToken,
) -> Result<(), Infallible> {
    let watchdog = sd_notify::watchdog_enabled();
    let pause = watchdog.map_or(LOOK, |limit| limit / LOOKS_IN_LIMIT);
    let mut before = BTreeMap::new();
    let mut is_ready = false;
    loop {
        let wait = if is_ready { pause } else { STARTING };
        if shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            tell(&[NotifyState::Stopping]);
            return Ok(());
        }
        let now = beats.read();
        if !is_ready {
            is_ready = now.values().all(|count| *count > 0);
            if is_ready {
                readiness.send_replace(Readiness::Ready);
                tell(&[NotifyState::Ready]);
            }
            continue;
        }
        let stuck = stuck(&before, &now);
        if stuck.is_empty() {
            readiness.send_replace(Readiness::Ready);
            if watchdog.is_some() {
                tell(&[NotifyState::Watchdog]);
            }
        } else {
            error!(?stuck, "Pipelines do not go on");
            let reason = format!("pipelines do not go on: {}", stuck.join(", "));
            readiness.send_replace(Readiness::NotReady(reason));
        }
        before = now;
    }
}

/// Pipelines that were there before and made no round since.
fn stuck(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Vec<String> {
    let is_stuck = |(name, count): &(&String, &u64)| before.get(*name) == Some(count);
    now.iter().filter(is_stuck).map(|(name, _)| name.clone()).collect()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd could not be notified");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_stuck_when_it_made_no_round_between_two_looks() {
        let beats = |pairs: &[(&str, u64)]| {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let before: BTreeMap<String, u64> = beats(&[("a", 5), ("b", 7)]);
        assert_eq!(stuck(&before, &beats(&[("a", 5), ("b", 8), ("new", 0)])), ["a"]);
        assert_eq!(stuck(&before, &beats(&[("b", 9)])), Vec::<String>::new());
    }
}
