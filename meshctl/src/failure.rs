//! How a command fails, and the exit code that says so.
//!
//! Used by every command; `main` prints the message and exits.

/// A command that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was understood and refused, or a check did not hold: exit code 1.
    #[error("{0}")]
    Refused(String),
    /// It makes no sense as written: exit code 2, as for unknown flags.
    #[error("{0}")]
    Usage(String),
    /// What it needs does not answer: exit code 3.
    #[error("{0}")]
    Unreachable(String),
    /// It goes on when a person agrees: exit code 4.
    #[error("{0}")]
    Waiting(String),
    /// Something is left in a state that a person must look at: exit code 5.
    #[error("{0}")]
    HalfWay(String),
    /// A program that it ran ended with an exit code of its own, which is passed on.
    #[error("{what}")]
    Ended {
        /// Which, and how.
        what: String,
        /// Its exit code.
        code: u8,
    },
}

impl Failure {
    /// The process's exit code.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Waiting(_) => 4,
            Self::HalfWay(_) => 5,
            Self::Ended { code, .. } => *code,
        }
    }
}
