//! One destination's way from its sources to its output: a thread that reads, tasks that deliver, a saved position.
//!
//! ```text
//!  thread "logs NAME"                         task
//!  reading: source → shape → route → batch ─▶ output ─▶ the destination
//!     ▲ marks: how far each source was read     │
//!     │ feed: spool, when journald is at risk   ▼ outcomes
//!     └── saved position ◀── settle ◀── flight: in order
//! ```
//!
//! In: what the configuration says of a destination, the state directory, a source. Out: delivered records. Owned by
//! [`crate::logs::supervise`].
//!
//! **Invariants**: a pipeline knows of no other; the end of its thread or of its output is its end, with the reason.
//! **Absent**: which entries there are (`read/`), what they become (`shape/`), how they are delivered (`deliver/`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::instances::Instances;
use crate::logs::batch::builder::Limits;
use crate::logs::deliver::{Output, OutputError};
use crate::logs::entry::SourceId;
use crate::logs::position::{Positions, SourcePosition};
use crate::logs::shape::Now;
use crate::logs::spool::{Spool, SpoolError};
use crate::logs::store::{Saved, Store, StoreError};

mod feed;
mod flight;
mod marks;
pub mod metrics;
mod reading;
mod settle;
mod source;

use feed::{Ended, Feed, Joint};
use flight::Flight;
use metrics::PipelineMetrics;
use reading::Reading;
pub use reading::{Decisions, Pace};
use settle::Settler;
pub use source::{HostSource, Source};

/// Messages that wait for the output; a full queue stops the reading.
const PARCELS: usize = 4;
/// Outcomes that wait to be saved; a full queue stops the output.
const OUTCOMES: usize = 256;

/// How long the output's own error is waited for when the output is gone.
const REASON: Duration = Duration::from_secs(1);

/// Why a pipeline cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The saved position.
    #[error("cannot begin where delivery stopped")]
    Store(#[from] StoreError),
    /// The spool.
    #[error("cannot open the spool")]
    Spool(#[from] SpoolError),
    /// The output.
    #[error("the output failed")]
    Output(#[from] OutputError),
    /// The source cannot be opened.
    #[error("nothing can be read")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system gave no thread.
    #[error("no thread can be started")]
    Thread(#[source] io::Error),
    /// The thread panicked; the message is on standard error.
    #[error("its thread ended before it was asked to")]
    ThreadEnded,
    /// The output ended without a reason.
    #[error("its output ended before it was asked to")]
    OutputEnded,
}

/// What a pipeline is made from.
#[derive(Debug)]
pub struct Setup {
    /// The destination's name.
    pub name: Arc<str>,
    /// The output.
    pub output: Output,
    /// Rules and routes, now and when the configuration is read again.
    pub decisions: watch::Receiver<Decisions>,
    /// When a batch is full.
    pub limits: Limits,
    /// When it is sealed otherwise.
    pub pace: Pace,
    /// Bytes of the spool.
    pub spool_bytes: u64,
    /// The instances of this host.
    pub instances: watch::Receiver<Arc<Instances>>,
    /// Where it counts.
    pub metrics: PipelineMetrics,
    /// The process's clocks.
    pub clock: fn() -> Now,
    /// How long delivery may go on after the stop.
    pub grace: Duration,
    /// Counts the thread's rounds.
    pub beats: Arc<AtomicU64>,
    /// Asks for the end.
    pub stop: CancellationToken,
}

/// A source, and where those of it begin that had no position.
pub type Opened<S> = (S, Vec<(SourceId, SourcePosition)>);

/// Where a pipeline goes on.
struct Begin {
    saved: Saved,
    spool: Spool,
    /// The last batch of the spool; 0 without one.
    spooled: u64,
    /// What the source begins at: after what is in the spool.
    positions: Positions,
}

impl Begin {
    /// What is in the spool was read already, so reading begins after it.
    fn find(
        folder: &Path,
        bound: u64,
        saved: Saved,
        metrics: &PipelineMetrics,
    ) -> Result<Self, SpoolError> {
        let (spool, found) = Spool::open(folder, bound, saved.delivered)?;
        if found.damaged_bytes > 0 {
            warn!(bytes = found.damaged_bytes, "The spool had torn ends, which were cut off");
            metrics.spool_damaged_bytes.inc_by(found.damaged_bytes);
        }
        let spooled = found.batches.last().map_or(0, |batch| batch.number);
        if spooled > 0 {
            info!(batches = found.batches.len(), "Going on with what is in the spool");
        }
        let mut positions = saved.positions.clone();
        found.batches.into_iter().for_each(|batch| positions.advance(batch.progress));
        Ok(Self { saved, spool, spooled, positions })
    }
}

/// Runs a pipeline until `setup.stop`. `open` opens the source at a position, on the pipeline's thread.
///
/// # Errors
/// When it cannot begin, or a part of it ends unasked.
pub async fn run<S, E>(
    setup: Setup,
    store: Arc<Store>,
    open: impl FnOnce(&Positions) -> Result<Opened<S>, E> + Send + 'static,
) -> Result<(), PipelineError>
where
    S: Source,
    E: std::error::Error + Send + Sync + 'static,
{
    let (file, saved) = store.position(&setup.name)?;
    let folder = store.directory().join("spool").join(&*setup.name);
    let begin = Begin::find(&folder, setup.spool_bytes, saved.unwrap_or_default(), &setup.metrics)?;
    let flight = Arc::new(Flight::new(begin.saved.clone()));
    let (parcels, parcels_out) = mpsc::channel(PARCELS);
    let (outcomes, outcomes_out) = mpsc::channel(OUTCOMES);
    let (stop, grace, output) = (setup.stop.clone(), setup.grace, setup.output);
    let metrics = setup.metrics.clone();
    let mut settler = Settler::new(Arc::clone(&flight), file, metrics.clone(), setup.clock);
    let joint = Joint {
        flight,
        parcels,
        decisions: setup.decisions.clone(),
        stop: stop.clone(),
        grace,
        beats: setup.beats,
        runtime: Handle::current(),
        metrics: metrics.clone(),
    };
    let decisions = setup.decisions.borrow().clone();
    let (instances, clock) = (setup.instances, setup.clock);
    let thread = spawn(&setup.name, move || {
        let source = open(&begin.positions);
        let source = source.map_err(|error| PipelineError::Source(Box::new(error)))?;
        let last = begin.spooled.max(begin.saved.delivered);
        let from = (last, begin.positions);
        let batching = (setup.limits, setup.pace);
        let reading = Reading::new(source, decisions, batching, from, instances, clock, metrics);
        let numbers = (begin.saved.delivered, begin.spooled);
        Ok(Feed::new(reading, begin.spool, numbers, joint, clock).run())
    })?;

    let cut = CancellationToken::new();
    let read = async {
        match thread.await.unwrap_or(Err(PipelineError::ThreadEnded))? {
            Ended::Asked => Ok(()),
            Ended::OutputGone => {
                // Its own error says more, and comes at once if there is one.
                tokio::time::sleep(REASON).await;
                Err(PipelineError::OutputEnded)
            }
        }
    };
    let deliver = async {
        output.run(parcels_out, outcomes, cut.clone()).await?;
        // Unasked it ends when the thread is gone, which says why.
        if stop.is_cancelled() { Ok(()) } else { std::future::pending().await }
    };
    let settle = async {
        settler.run(outcomes_out).await;
        Ok(())
    };
    let ended = tokio::select! {
        ended = async { tokio::try_join!(read, deliver, settle) } => ended.map(drop),
        // Cuts the output off, which then ends the branch above.
        never = async {
            stop.cancelled().await;
            tokio::time::sleep(grace).await;
            cut.cancel();
            std::future::pending().await
        } => never,
    };
    settler.sync();
    ended
}

/// Starts the thread of a destination; what it returns comes through the channel, which closes when it panics.
fn spawn(
    name: &str,
    work: impl FnOnce() -> Result<Ended, PipelineError> + Send + 'static,
) -> Result<oneshot::Receiver<Result<Ended, PipelineError>>, PipelineError> {
    let (sender, receiver) = oneshot::channel();
    let span = tracing::info_span!("logs", destination = name);
    let thread = std::thread::Builder::new().name(format!("logs {name}"));
    let started = thread.spawn(move || {
        let result = span.in_scope(work);
        // Nobody listens when the pipeline was ended by another of its parts.
        sender.send(result).ok();
    });
    started.map_err(PipelineError::Thread)?;
    Ok(receiver)
}

#[cfg(test)]
mod tests;
