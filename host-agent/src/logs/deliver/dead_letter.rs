//! Where records end that no server takes: JSON lines with the reason.
//!
//! In: one record with its tag, and who refused it why. Out: a line
//! `{"time":…,"tag":…,"id":…,"server":…,"reason":…,"record":{…}}` that is on the disk when this returns.

use std::sync::Arc;

use bytes::Bytes;

use super::config::LineFileConfig;
use super::json;
use super::lines::{LineFile, LineFileError};

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
    pub(super) fn write(&mut self, letter: &DeadLetter) -> Result<(), LineFileError> {
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
