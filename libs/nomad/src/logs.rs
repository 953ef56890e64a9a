//! `/v1/client/fs/logs`: what a task wrote.

use std::fmt;

use crate::client::NomadClient;
use crate::error::NomadError;

/// Which of a task's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// From where an offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOrigin {
    /// The oldest byte kept.
    Start,
    /// The newest; the offset counts back.
    End,
}

/// A piece of a task's output. Right after a task's end it can be empty: ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRequest<'a> {
    /// The allocation.
    pub allocation: &'a str,
    /// The task.
    pub task: &'a str,
    /// Which output.
    pub stream: LogStream,
    /// From where `offset` counts.
    pub origin: LogOrigin,
    /// Bytes.
    pub offset: u64,
}

impl NomadClient {
    /// Reads to the end of what there is now.
    ///
    /// # Errors
    /// [`NomadError::NotFound`] when the allocation or the task is unknown, or its node does not answer.
    pub async fn logs(&self, what: &LogRequest<'_>) -> Result<Vec<u8>, NomadError> {
        let parameters = [
            ("task", what.task.to_owned()),
            ("type", what.stream.to_string()),
            ("origin", if what.origin == LogOrigin::Start { "start" } else { "end" }.to_owned()),
            ("offset", what.offset.to_string()),
            ("plain", "true".to_owned()),
        ];
        let path = ["client", "fs", "logs", what.allocation];
        self.text(path, &parameters, "read-logs").await
    }
}
