//! The outputs of JSON lines: `{"time":…,"tag":…,"record":{…}}`.
//!
//! In: parcels. Out: lines in a [`Sink`], then outcomes. All parcels that wait are written and saved together.
//!
//! **Invariants**: no outcome before the sink says that the lines are safe; a sink that fails is tried again, in order.

use std::time::Duration;

use consul::Backoff;
use service::ErrorChain;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::lines::{LineFile, LineFileError};
use super::metrics::DestinationMetrics;
use super::{Context, Outcome, OutputError, Parcel, json};

/// Parcels written together.
const TOGETHER: usize = 32;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Takes lines for good.
pub(super) trait Sink: Send + 'static {
    /// Writes lines and makes them safe; after an error none of them count.
    fn append(&mut self, lines: &[u8]) -> Result<(), LineFileError>;
}

impl Sink for LineFile {
    fn append(&mut self, lines: &[u8]) -> Result<(), LineFileError> {
        LineFile::append(self, lines)
    }
}

/// Writes parcels until there are no more, or until `stop`.
pub(super) async fn run(
    mut sink: impl Sink,
    context: Context,
    mut parcels: mpsc::Receiver<Parcel>,
    outcomes: mpsc::Sender<Outcome>,
    stop: CancellationToken,
) -> Result<(), OutputError> {
    let random = fastrand::Rng::with_seed(context.seed);
    let mut backoff = Backoff::with_random(PAUSE_MIN, PAUSE_MAX, random);
    loop {
        let mut together = Vec::new();
        let taken = stop.run_until_cancelled(parcels.recv_many(&mut together, TOGETHER)).await;
        if taken.unwrap_or_default() == 0 {
            return Ok(());
        }
        let mut lines = lines_of(&together);
        loop {
            let written;
            (sink, lines, written) = blocking(move || {
                let written = sink.append(&lines);
                (sink, lines, written)
            })
            .await?;
            let Err(error) = written else { break };
            context.metrics.write_errors.inc();
            let pause = backoff.next_pause(Duration::ZERO);
            tracing::warn!(error = %ErrorChain(&error), ?pause, "Records wait to be written");
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(());
            }
        }
        backoff.reset();
        if !settle(&together, &context.metrics, &outcomes).await {
            return Ok(());
        }
    }
}

fn lines_of(parcels: &[Parcel]) -> Vec<u8> {
    let mut lines = Vec::new();
    for Parcel { message, .. } in parcels {
        let mut begin = 0;
        for &end in &message.ends {
            let end = usize::try_from(end).unwrap_or(usize::MAX);
            let entry = message.entries.get(begin..end).unwrap_or_default();
            json::write_line(entry, &[("tag", &message.tag)], &mut lines);
            begin = end;
        }
    }
    lines
}

/// Reports the parcels as delivered; false when nobody listens any more.
async fn settle(
    parcels: &[Parcel],
    metrics: &DestinationMetrics,
    outcomes: &mpsc::Sender<Outcome>,
) -> bool {
    for parcel in parcels {
        let delivered = u32::try_from(parcel.message.ends.len()).unwrap_or(u32::MAX);
        metrics.acked.inc_by(delivered.into());
        if outcomes.send(Outcome { id: parcel.id, delivered, dead: 0 }).await.is_err() {
            return false;
        }
    }
    true
}

/// Runs what blocks off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OutputError> {
    tokio::task::spawn_blocking(work).await.map_err(OutputError::Panicked)
}
