//! Stage 5: messages go to a destination, and what became of each comes back.
//!
//! In: [`Parcel`]s through a bounded channel; a full one stops the pipeline that reads for this destination. Out: one
//! [`Outcome`] for each parcel, as soon as it is known, in no order.
//!
//! | module | is |
//! |---|---|
//! | [`config`] | the shape of `[logs.destinations.NAME]`, and what it is resolved to |
//! | [`forward`] | Fluentd's Forward protocol: several servers, acknowledgements, dead letters |
//! | `file`, `stdout` | JSON lines, for trying rules and for hosts without Fluentd |
//! | `dead_letter` | where records end that no server takes |
//! | `lines`, `json`, `msgpack` | a file of lines that rotates; MessagePack as JSON, and read value by value |
//! | `tls` | certificates in PEM to a client's TLS |
//! | [`metrics`] | what is counted |
//!
//! **Invariants**
//! - Exactly one outcome for each parcel, or none when the output was stopped first: then it counts as not delivered.
//! - An outcome comes after the other side said so: an acknowledgement, or `fsync`. Each record of the parcel is then delivered
//!   or in the dead-letter file, so what it stands for may be forgotten.
//! - What is in memory is bounded by the window; the channel in front of it is the caller's.
//! - The bytes of a parcel are never changed, whatever is tried how often.
//!
//! **Absent**: queues on disk, positions, batches (the pipeline's), and giving up: what can't be delivered now is tried again.

pub mod config;
mod dead_letter;
mod file;
pub mod forward;
mod json;
mod lines;
pub mod metrics;
mod msgpack;
mod stdout;
mod tls;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::logs::batch::Message;
use config::OutputConfig;
use forward::ForwardOutput;
use lines::LineFile;
pub use lines::LineFileError;
use metrics::DestinationMetrics;
use stdout::Stdout;

/// The field of a record that holds its [`crate::logs::entry::RecordId`].
pub const RECORD_ID: &str = "record_id";

/// Names a parcel within its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParcelId {
    /// [`crate::logs::batch::Batch::number`].
    pub batch: u64,
    /// The message's index within the batch.
    pub message: u32,
}

/// One message on its way.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// Its name, which its outcome bears.
    pub id: ParcelId,
    /// What is delivered. A message without records is delivered at once.
    pub message: Message,
}

/// What became of a parcel. All of its records are accounted for: `delivered + dead` is their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Which parcel.
    pub id: ParcelId,
    /// Records that the destination acknowledged.
    pub delivered: u32,
    /// Records that it refused, which lie in the dead-letter file with the reason.
    pub dead: u32,
}

/// What an output needs to know beside its configuration.
#[derive(Debug, Clone)]
pub struct Context {
    /// The destination's name.
    pub name: Arc<str>,
    /// What this host calls itself in Forward's handshake; must differ from what servers call themselves.
    pub host: Arc<str>,
    /// Where it counts.
    pub metrics: DestinationMetrics,
    /// Seeds the jitter of pauses and the ids of chunks: another one each start.
    pub seed: u64,
}

/// Why an output cannot begin or go on. What a server or a disk does is no such reason.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Its file cannot be opened.
    #[error("the destination {name} cannot begin")]
    File {
        /// The destination.
        name: Arc<str>,
        /// Why.
        #[source]
        source: LineFileError,
    },
    /// A task of it panicked; the message is on standard error.
    #[error("a task of the output panicked")]
    Panicked(#[source] JoinError),
}

/// A destination that is ready to begin.
#[derive(Debug)]
pub struct Output {
    kind: Kind,
    context: Context,
}

#[derive(Debug)]
enum Kind {
    Forward(Box<ForwardOutput>),
    File(LineFile),
    Stdout,
}

impl Output {
    /// Makes it. Connects to nothing; opens the file that it writes.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn open(config: OutputConfig, context: Context) -> Result<Self, OutputError> {
        let kind = match config {
            OutputConfig::Forward(config) => {
                Kind::Forward(Box::new(ForwardOutput::new(*config, context.clone())))
            }
            OutputConfig::Stdout => Kind::Stdout,
            OutputConfig::File(config) => match LineFile::open(config) {
                Ok(file) => Kind::File(file),
                Err(source) => {
                    return Err(OutputError::File { name: context.name, source });
                }
            },
        };
        Ok(Self { kind, context })
    }

    /// Delivers parcels until the channel is closed and everything has its outcome, or until `stop`, which ends it at once:
    /// what has no outcome then counts as not delivered.
    ///
    /// Whoever takes the outcomes must not wait for `parcels` to have room.
    ///
    /// # Errors
    /// When a task of it dies; never because of what a server or a disk does.
    pub async fn run(
        self,
        parcels: mpsc::Receiver<Parcel>,
        outcomes: mpsc::Sender<Outcome>,
        stop: CancellationToken,
    ) -> Result<(), OutputError> {
        match self.kind {
            Kind::Forward(output) => output.run(parcels, outcomes, stop).await,
            Kind::File(file) => file::run(file, self.context, parcels, outcomes, stop).await,
            Kind::Stdout => file::run(Stdout, self.context, parcels, outcomes, stop).await,
        }
    }
}
