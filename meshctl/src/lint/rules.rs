//! The rules: one table ([`RULES`]), from which reports and `docs/lint.md` are made.
//!
//! In: a [`Case`]. Out: [`Found`]s. Pure. Each rule's check is a function of the folder's modules:
//!
//! | module | rules about |
//! |---|---|
//! | `stop` | what a stop cuts |
//! | `health` | what counts as healthy |
//! | `ports` | ports and networks |
//! | `meta` | what registrations say |
//! | `update` | how a new version replaces the old one |
//! | `proxies` | how Envoys are run |
//! | `tasks` | logs, images, batches |
//!
//! **Invariants**: what is not known is not judged (the rule `unknown` names it); a rule speaks of jobs of the mesh
//! where its reason is the mesh's.

use std::time::Duration;

use super::job::{Group, Job, Service, Task};

mod health;
mod meta;
mod ports;
mod proxies;
mod stop;
mod table;
mod tasks;
mod update;

pub use table::RULES;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Requests are lost, or the service is hidden or wrong.
    Error,
    /// It can be meant so, and mostly is not.
    Warning,
}

/// A job in the light of one's clients.
#[derive(Debug)]
pub struct Case<'a> {
    /// The job.
    pub job: &'a Job,
    /// `max_kill_timeout` of the clients that run it.
    pub max_kill_timeout: Duration,
}

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub line: usize,
    /// What is there.
    pub message: String,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, as silences write it.
    pub id: &'static str,
    /// How bad a breach is.
    pub level: Level,
    /// What must hold.
    pub what: &'static str,
    /// What happens otherwise.
    pub why: &'static str,
    /// What to write.
    pub fix: &'static str,
    /// Finds the breaches; `None`: the reader of files does.
    pub check: Option<fn(&Case<'_>) -> Vec<Found>>,
}

impl Case<'_> {
    /// Every group.
    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.job.groups.iter()
    }

    /// Groups with a service of the mesh, and groups that are a Router: what they lose are clients' requests.
    fn serving(&self) -> impl Iterator<Item = &Group> {
        self.groups().filter(|group| {
            let is_router = group.proxies().any(|(_, proxy)| !proxy.is_beside());
            group.mesh_services().next().is_some() || is_router
        })
    }

    /// Services of the mesh with their groups.
    fn mesh_services(&self) -> impl Iterator<Item = (&Group, &Service)> {
        self.groups().flat_map(|group| group.mesh_services().map(move |service| (group, service)))
    }

    /// Every task with its group.
    fn tasks(&self) -> impl Iterator<Item = (&Group, &Task)> {
        self.groups().flat_map(|group| group.tasks.iter().map(move |task| (group, task)))
    }
}

fn found(line: usize, message: impl Into<String>) -> Found {
    Found { line, message: message.into() }
}

/// How long it takes until no proxy sends to an instance that was deregistered, with a margin.
///
/// A change is at a proxy within 0.2 s where 5,000 of them hear of it; a large loss is confirmed for up to 0.7 s before
/// it counts. With callers that learn 0.3 s late, 3 s lost 0 of 22,512 calls where 0 s lost 168 of 13,953.
const LEARNED: Duration = Duration::from_secs(3);
/// What Nomad waits for a task to end when `kill_timeout` says nothing.
const DEFAULT_KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// The rule with this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}
