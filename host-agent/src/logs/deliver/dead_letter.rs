//! Where records end that no server takes: JSON lines with the reason.
//!
//! In: one record with its tag, and who refused it why, until it is written. Out: a line
//! `{"time":…,"tag":…,"id":…,"server":…,"reason":…,"record":{…}}` that is on the disk when this returns.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use consul::Backoff;
use service::ErrorChain;
use tracing::warn;

use super::config::LineFileConfig;
use super::file::blocking;
use super::lines::{LineFile, LineFileError};
use super::metrics::DestinationMetrics;
use super::{OutputError, json};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A record that was given up.
#[derive(Debug, Clone)]
pub(super) struct DeadLetter {
    /// The tag of its message.
    pub(super) tag: Arc<str>,
    /// `[EventTime, record]`.
    pub(super) entry: Bytes,
    /// The server that refused it last.
    pub(super) server: Arc<str>,
    /// Why it was given up.
    pub(super) reason: String,
}

/// The file, opened with the first letter: most destinations never need one.
#[derive(Debug)]
pub(super) struct DeadLetters {
    config: LineFileConfig,
    file: Option<LineFile>,
}

impl DeadLetters {
    pub(super) fn new(config: LineFileConfig) -> Self {
        Self { config, file: None }
    }

    /// Writes a letter.
    ///
    /// # Errors
    /// When it is not on the disk.
    fn write(&mut self, letter: &DeadLetter) -> Result<(), LineFileError> {
        let mut line = Vec::new();
        let facts = [
            ("tag", &*letter.tag),
            ("id", json::record_id(&letter.entry).unwrap_or_default()),
            ("server", &*letter.server),
            ("reason", letter.reason.as_str()),
        ];
        json::write_line(&letter.entry, &facts, &mut line);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(LineFile::open(self.config.clone())?),
        };
        file.append(&line)
    }
}

/// Writes a letter, for as long as it takes.
///
/// # Errors
/// When the task that writes dies.
pub(super) async fn write(
    letters: Arc<Mutex<DeadLetters>>,
    letter: DeadLetter,
    metrics: DestinationMetrics,
) -> Result<(), OutputError> {
    let letter = Arc::new(letter);
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    loop {
        let (letters, letter) = (Arc::clone(&letters), Arc::clone(&letter));
        let write = move || letters.lock().unwrap_or_else(PoisonError::into_inner).write(&letter);
        let Err(error) = blocking(write).await? else { return Ok(()) };
        metrics.write_errors.inc();
        let pause = backoff.next_pause(PAUSE_MIN);
        warn!(error = %ErrorChain(&error), ?pause, "A dead letter waits to be written");
        tokio::time::sleep(pause).await;
    }
}
