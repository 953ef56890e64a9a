//! What a deploy has to remember: enough for anybody to go on with it after its first owner is gone.
//!
//! Kept as JSON in Consul under `mesh/deploys/JOB` by [`super::lock`]; read by [`super::decide`], `meshctl status` and by
//! people. Written before each step that changes something, so that what may have happened is always known.
//!
//! **Invariants**: the name of a state says what was last begun, never what is hoped for; what Nomad knows (who is
//! healthy, what was promoted) is not repeated here.

use serde::{Deserialize, Serialize};

use super::sli::SliRules;

/// A deploy, a rollback or a stop under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The job's id.
    pub job: String,
    /// What was asked for.
    pub command: Asked,
    /// Whoever works on it, or did last.
    pub owner: Owner,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// What is deployed, for people: the file, or the version gone back to.
    pub what: String,
    /// Tells whether two commands mean the same.
    pub fingerprint: String,
    /// The version that was in force and running before; none: nothing ran.
    pub before: Option<u64>,
    /// What has to hold before a promotion.
    pub gates: Gates,
    /// What was last begun.
    #[serde(flatten)]
    pub state: State,
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// A new version.
    Deploy,
    /// An older one.
    Rollback,
    /// None at all.
    Stop,
}

/// Who works on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// User and host, as in `alice@build-3`.
    pub name: String,
    /// The process there.
    pub pid: u32,
    /// The boot of the host in which that process ran: after another one its number means nothing.
    pub boot: String,
    /// The version of meshctl.
    pub meshctl: String,
}

/// What has to hold before a promotion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Every proxy knows of the new instances.
    pub convergence: bool,
    /// Registered proxies that no control plane has connected hold nothing up.
    pub allow_unconnected: bool,
    /// The new instances answer as well as the old.
    pub sli: Option<SliRules>,
    /// A person says so.
    pub manual: bool,
    /// New instances that may fail before the deploy does.
    pub tolerated: usize,
}

impl Record {
    /// What it is, for people.
    pub fn title(&self) -> String {
        match self.command {
            Asked::Deploy => format!("a deploy of {}", self.what),
            Asked::Rollback => format!("a rollback to {}", self.what),
            Asked::Stop => "a stop".to_owned(),
        }
    }
}

impl Gates {
    /// As whoever goes on says: what was asked for at first still holds, but for what is waived now.
    #[must_use]
    pub fn continued(self, now: Self) -> Self {
        Self {
            convergence: self.convergence && now.convergence,
            allow_unconnected: self.allow_unconnected || now.allow_unconnected,
            sli: now.sli.or(self.sli),
            manual: self.manual || now.manual,
            tolerated: self.tolerated.max(now.tolerated),
        }
    }
}

/// What was last begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The job is handed to Nomad, or was and nobody wrote it down.
    Submitting {
        /// What check-and-set names.
        index: u64,
    },
    /// Nomad has the version and brings it up.
    Following {
        /// The version.
        version: u64,
        /// The evaluation that places it; empty: none.
        evaluation: String,
    },
    /// Everything but a person has agreed.
    AwaitingPromotion {
        /// The version.
        version: u64,
        /// Why a person is asked.
        why: String,
    },
    /// Promotion is decided; Nomad knows, or does not yet.
    Promoting {
        /// The version.
        version: u64,
    },
    /// Going back.
    Reverting {
        /// The version left.
        from: u64,
        /// The version gone back to; none: to nothing, the job is stopped.
        to: Option<u64>,
        /// Why.
        why: String,
    },
    /// The job is taken away.
    Stopping {
        /// Nomad is to forget it, too.
        purge: bool,
    },
}

impl State {
    /// Its name, as people and programs read it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitting { .. } => "submitting",
            Self::Following { .. } => "following",
            Self::AwaitingPromotion { .. } => "awaiting_promotion",
            Self::Promoting { .. } => "promoting",
            Self::Reverting { .. } => "reverting",
            Self::Stopping { .. } => "stopping",
        }
    }

    /// The version that it is about, once Nomad has one.
    pub const fn version(&self) -> Option<u64> {
        match self {
            Self::Submitting { .. } | Self::Stopping { .. } => None,
            Self::Following { version, .. }
            | Self::AwaitingPromotion { version, .. }
            | Self::Promoting { version } => Some(*version),
            Self::Reverting { from, .. } => Some(*from),
        }
    }
}

#[cfg(test)]
impl Record {
    /// A deploy of version 5 of `orders` over version 4, with no gate but that of the mesh.
    pub(crate) fn sample(state: State) -> Self {
        Self {
            job: "orders".to_owned(),
            command: Asked::Deploy,
            owner: Owner {
                name: "alice@build-3".to_owned(),
                pid: 1,
                boot: "b".to_owned(),
                meshctl: "0.1.0".to_owned(),
            },
            started: 0,
            what: "orders.nomad.hcl".to_owned(),
            fingerprint: "f".to_owned(),
            before: Some(4),
            gates: Gates {
                convergence: true,
                allow_unconnected: false,
                sli: None,
                manual: false,
                tolerated: 0,
            },
            state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_goes_on_may_waive_what_holds_it_up_and_forgets_no_gate() {
        let plain = Record::sample(State::Promoting { version: 5 }).gates;
        let careful = Gates { manual: true, ..plain.clone() };
        assert_eq!(careful.clone().continued(plain.clone()), careful);
        assert_eq!(plain.clone().continued(careful.clone()), careful);
        let waived =
            Gates { convergence: false, allow_unconnected: true, tolerated: 2, ..plain.clone() };
        assert_eq!(careful.continued(waived.clone()), Gates { manual: true, ..waived.clone() });
        assert_eq!(waived.clone().continued(plain), waived);
    }

    #[test]
    fn a_record_reads_as_json_with_its_state_by_name() {
        let why = "--gate manual".to_owned();
        let mut record = Record::sample(State::AwaitingPromotion { version: 5, why });
        (record.started, record.owner.pid, record.gates.manual) = (3_600, 7, true);
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["state"], "awaiting_promotion");
        assert_eq!(json["version"], 5);
        assert_eq!(serde_json::from_value::<Record>(json).unwrap(), record);
    }
}
