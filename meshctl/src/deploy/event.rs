//! What happens while a job is deployed, for programs as JSON and for people as sentences.
//!
//! Made by the commands and [`super::drive`]; written by [`super::report`].
//!
//! **Invariants**: every event has a name under `event`; what a sentence says, the JSON says too.

use nomad::Plan;
use serde::Serialize;
use serde_json::{Value, json};

use super::evidence::Evidence;
use super::instance::Instance;
use super::record::{Record, State};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// What would change.
    Planned {
        /// The job.
        job: String,
        /// As Nomad says it.
        plan: Box<Plan>,
    },
    /// The lock is taken.
    Locked {
        /// Its key.
        key: String,
    },
    /// Somebody's work is taken up where it stands.
    Resumed(Box<Record>),
    /// A state was written down.
    Entered(State),
    /// Nomad was told something.
    Told {
        /// What: `submit`, `promote`, `fail`, `revert`, `stop`, `purge`.
        what: &'static str,
        /// Of what: a version, a deployment.
        object: String,
    },
    /// Something is awaited.
    Waiting {
        /// Where it will be seen: `nomad`, `mesh`, `sidecars`.
        on: &'static str,
        /// What.
        what: String,
    },
    /// An instance is another way than before.
    Instance(Instance),
    /// Every proxy knows what it has to.
    Converged {
        /// Proxies that depend on the job's services.
        dependents: usize,
    },
    /// The new instances were compared with the old.
    Compared {
        /// `passed`, `breached`, `undecided`.
        verdict: &'static str,
        /// The figures.
        figures: String,
    },
    /// Why an instance failed.
    Evidence(Evidence),
    /// Somebody who is needed does not answer, or does again.
    Outage(String),
    /// What else is to be known.
    Remark(String),
}

impl Event {
    /// For programs: one object.
    pub fn json(&self) -> Value {
        match self {
            Self::Planned { job, plan } => json!({
                "event": "plan",
                "job": job,
                "changes": !plan.diff.is_empty(),
                "index": plan.job_modify_index,
                "warnings": plan.warnings,
                "groups": plan.annotations.updates.iter().map(|(name, counts)| json!({
                    "group": name, "canary": counts.canary, "place": counts.place,
                    "replace": counts.destructive_update, "in_place": counts.in_place_update,
                    "migrate": counts.migrate, "stop": counts.stop, "ignore": counts.ignore,
                })).collect::<Vec<_>>(),
                "unplaced": super::decide::no_room(plan.failed_groups.iter()),
                "diff": plan.diff,
            }),
            Self::Locked { key } => json!({"event": "locked", "key": key}),
            Self::Resumed(record) => named("resumed", record),
            Self::Entered(state) => named("state", state),
            Self::Told { what, object } => {
                json!({"event": "told", "what": what, "object": object})
            }
            Self::Waiting { on, what } => json!({"event": "waiting", "on": on, "what": what}),
            Self::Instance(instance) => named("instance", instance),
            Self::Converged { dependents } => {
                json!({"event": "converged", "proxies": dependents})
            }
            Self::Compared { verdict, figures } => {
                json!({"event": "compared", "verdict": verdict, "figures": figures})
            }
            Self::Evidence(evidence) => named("evidence", evidence),
            Self::Outage(what) => json!({"event": "outage", "what": what}),
            Self::Remark(what) => json!({"event": "remark", "what": what}),
        }
    }

    /// For people: a line or more; empty: nothing that they need.
    pub fn text(&self) -> String {
        match self {
            Self::Planned { .. } => String::new(),
            Self::Locked { key } => format!("the lock {key} is taken"),
            Self::Resumed(record) => format!(
                "going on with what {} began: {}, {}",
                record.owner.name,
                record.what,
                record.state.name().replace('_', " ")
            ),
            Self::Entered(state) => match state {
                State::Submitting { .. } => String::new(),
                State::Following { version, .. } => format!("Nomad has it as version {version}"),
                State::AwaitingPromotion { why, .. } => {
                    format!("everything but you has agreed: {why}")
                }
                State::Promoting { .. } => "every gate is open: promoting".to_owned(),
                State::Reverting { why, to: Some(to), .. } => {
                    format!("going back to version {to}: {why}")
                }
                State::Reverting { why, to: None, .. } => {
                    format!("nothing ran before, so the job is stopped again: {why}")
                }
                State::Stopping { .. } => "stopping".to_owned(),
            },
            Self::Told { what, object } => match *what {
                "submit" => format!("submitted {object}"),
                "promote" => format!("promoted deployment {object}"),
                "fail" => format!("ended deployment {object} as failed"),
                "revert" => format!("registered {object} anew"),
                other => format!("told Nomad to {other} {object}"),
            },
            Self::Waiting { what, .. } => what.clone(),
            Self::Instance(instance) => instance.sentence(),
            Self::Converged { dependents: 0 } => {
                "no proxy calls it, so none has to know".to_owned()
            }
            Self::Converged { dependents: 1 } => "the proxy that calls it knows".to_owned(),
            Self::Converged { dependents } => format!("all {dependents} proxies that call it know"),
            Self::Compared { verdict, figures } => {
                format!("sidecars compared, {verdict}: {figures}")
            }
            Self::Evidence(evidence) => evidence.text(),
            Self::Outage(what) | Self::Remark(what) => what.clone(),
        }
    }
}

/// A value's own fields behind the event's name.
pub(crate) fn named(event: &str, value: &impl Serialize) -> Value {
    let mut object = json!({"event": event});
    if let (Some(object), Ok(Value::Object(fields))) =
        (object.as_object_mut(), serde_json::to_value(value))
    {
        object.extend(fields);
    }
    object
}
