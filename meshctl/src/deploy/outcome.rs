//! How a command ends, in a word for programs, a sentence for people and an exit code for both.
//!
//! Made by [`super::decide`] and the commands; printed by [`super::report`].

use serde::Serialize;

use crate::failure::Failure;

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The version runs and every proxy knows.
    Deployed {
        /// The version.
        version: u64,
    },
    /// It ran already.
    Unchanged {
        /// The version.
        version: u64,
    },
    /// Only shown.
    Planned {
        /// Whether something would change.
        changes: bool,
    },
    /// A person has to agree.
    AwaitingPromotion {
        /// The version.
        version: u64,
        /// Why.
        why: String,
    },
    /// A person's yes was handed on to whoever follows the deploy.
    Promoted {
        /// Who that is.
        owner: String,
    },
    /// An older version was asked for and runs again.
    RolledBack {
        /// The version whose content runs.
        to: u64,
        /// The version in force.
        version: u64,
    },
    /// It failed; what ran before runs again, as this version.
    Reverted {
        /// What went wrong.
        why: String,
        /// The version in force; none: nothing ran before and nothing runs now.
        version: Option<u64>,
    },
    /// Nothing of it runs any more.
    Stopped {
        /// Whether Nomad forgot it, too.
        purged: bool,
    },
    /// Refused or failed, and nothing is half done.
    Failed {
        /// Why.
        why: String,
    },
    /// Something is left that a person has to look at.
    HalfWay {
        /// What was last begun.
        state: String,
        /// What is the matter.
        why: String,
        /// What to do.
        next: String,
    },
    /// It was told to stop; the record says where it is.
    Interrupted {
        /// What was last begun.
        state: String,
    },
}

impl Outcome {
    /// The exit code.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Deployed { .. }
            | Self::Unchanged { .. }
            | Self::Planned { .. }
            | Self::Promoted { .. }
            | Self::RolledBack { .. }
            | Self::Stopped { .. } => 0,
            Self::Reverted { .. } | Self::Failed { .. } => 1,
            Self::AwaitingPromotion { .. } => 4,
            Self::HalfWay { .. } | Self::Interrupted { .. } => 5,
        }
    }

    /// Whether the record of it is no longer needed.
    pub const fn is_final(&self) -> bool {
        self.exit_code() < 2
    }

    /// For people.
    pub fn sentence(&self, job: &str) -> String {
        match self {
            Self::Deployed { version } => format!("{job} runs as version {version}"),
            Self::Unchanged { version } => {
                format!("{job} runs as version {version} already: nothing to do")
            }
            Self::Planned { changes: true } => format!("{job} would change; nothing was done"),
            Self::Planned { changes: false } => format!("{job} would not change"),
            Self::AwaitingPromotion { version, why } => format!(
                "{job} version {version} waits for you ({why}): meshctl promote {job}, or meshctl rollback {job}"
            ),
            Self::Promoted { owner } => format!("{job} is promoted; {owner} follows it"),
            Self::RolledBack { to, version } => {
                format!("{job} runs as version {to} did, which is now version {version}")
            }
            Self::Reverted { why, version: Some(version) } => {
                format!("{job} was not deployed: {why}; what ran before runs, as version {version}")
            }
            Self::Reverted { why, version: None } => {
                format!("{job} was not deployed: {why}; nothing ran before, so the job was stopped")
            }
            Self::Stopped { purged: false } => format!("{job} is stopped"),
            Self::Stopped { purged: true } => format!("{job} is stopped and forgotten"),
            Self::Failed { why } => format!("{job}: {why}"),
            Self::HalfWay { state, why, next } => {
                format!("{job} is half-way, {}: {why}; {next}", state.replace('_', " "))
            }
            Self::Interrupted { state } => format!(
                "interrupted while {}: the same command goes on, meshctl status {job} shows where it is",
                state.replace('_', " ")
            ),
        }
    }

    /// As the end of a command.
    ///
    /// # Errors
    /// Every outcome that is not what was asked for.
    pub fn into_result(self, job: &str) -> Result<(), Failure> {
        let sentence = self.sentence(job);
        match self.exit_code() {
            0 => Ok(()),
            1 => Err(Failure::Refused(sentence)),
            4 => Err(Failure::Waiting(sentence)),
            _ => Err(Failure::HalfWay(sentence)),
        }
    }
}
