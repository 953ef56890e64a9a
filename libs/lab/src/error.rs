//! What goes wrong while a mesh is set up, driven or taken down.

use std::time::Duration;

/// A failed step of the lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A file, a socket or a process.
    #[error("cannot {step}")]
    Io {
        /// What was being done, to what.
        step: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A request that got no answer.
    #[error("no answer to {request}")]
    Request {
        /// Method and address.
        request: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer that says no.
    #[error("{request} was answered {status}: {body}")]
    Refused {
        /// Method and address.
        request: String,
        /// HTTP status.
        status: u16,
        /// The answer's text.
        body: String,
    },
    /// A process that ended, or a command that failed.
    #[error("{process} ended with {status}; the end of its output:\n{tail}")]
    Ended {
        /// Its name.
        process: String,
        /// Exit status or signal.
        status: String,
        /// Its last lines.
        tail: String,
    },
    /// A state that was not reached in time.
    #[error("waited {waited:?} until {what}; last seen: {seen}")]
    Deadline {
        /// The awaited state.
        what: String,
        /// How long.
        waited: Duration,
        /// What was the case instead.
        seen: String,
    },
    /// A fixed port that another process has.
    #[error("port {port} is taken: {next}")]
    PortTaken {
        /// The port.
        port: u16,
        /// How to choose another.
        next: String,
    },
    /// Something that the lab needs and this machine lacks.
    #[error("{what} is missing: {next}")]
    Missing {
        /// For example a program.
        what: String,
        /// How to get it.
        next: String,
    },
}

impl LabError {
    /// Makes the mapping closure for an I/O step.
    pub fn io(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let step = step.into();
        move |source| Self::Io { step, source }
    }
}

/// The error and everything that caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
