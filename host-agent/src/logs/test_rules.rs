//! Rules on trial: entries go through the shaper and the routes, and what comes out is shown or compared.
//!
//! In: rules, routes and the names of the destinations from the configuration, and entries as journalctl prints them. Out:
//! [`Outcome`]s, for people ([`show`]), as JSON, or against what was expected ([`expect`]).
//!
//! Time is the entries' own, so that time limits cut as they would have; no line waits for Consul, because who is who is
//! given beforehand; at the end everything that waits is sent.

pub mod command;
pub mod expect;
pub mod input;
pub mod show;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::registration::Registration;
use serde::Serialize;

use crate::instances::{Instance, Instances};
use crate::logs::entry::Entry;
use crate::logs::record::{Record, Rfc3339};
use crate::logs::route::Routes;
use crate::logs::shape::{Now, Rules, Shaped, Shaper};

/// Longer than anything waits.
const END: Duration = Duration::from_secs(24 * 3600);

/// One thing that came out.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// A record.
    Record {
        /// When it was written, RFC 3339.
        time: String,
        /// Tags by destination; none: no route takes it.
        destinations: BTreeMap<String, String>,
        /// Its fields.
        record: Box<Record>,
    },
    /// A rule dropped a record.
    Dropped {
        /// The rule.
        dropped: String,
        /// Entries that the record was made of.
        entries: u32,
    },
    /// Lines were lost before they could be read.
    Lost {
        /// How many.
        lost: u64,
        /// Who wrote them.
        writer: Option<String>,
        /// How they were lost.
        reason: &'static str,
    },
}

/// Rules on trial.
#[derive(Debug)]
pub struct Trial<'t> {
    rules: &'t Arc<Rules>,
    routes: &'t Routes,
    destinations: Vec<&'t str>,
}

impl<'t> Trial<'t> {
    /// `destinations`: the names in the order in which the routes were resolved.
    pub fn new(rules: &'t Arc<Rules>, routes: &'t Routes, destinations: Vec<&'t str>) -> Self {
        Self { rules, routes, destinations }
    }

    /// What comes of entries: for each entry what it brought out, and at last what the end of the input did.
    pub fn run<'e>(
        &self,
        entries: impl IntoIterator<Item = &'e Entry>,
        instances: &Instances,
    ) -> Vec<Vec<Outcome>> {
        let mut shaper = Shaper::new(Arc::clone(self.rules));
        let start = Instant::now();
        let (mut first, mut latest) = (None, Duration::ZERO);
        let mut all = Vec::new();
        for entry in entries {
            let first = *first.get_or_insert(entry.realtime_us);
            // Clocks that were set back stand still here.
            latest = latest.max(Duration::from_micros(entry.realtime_us.saturating_sub(first)));
            let mut outcomes = Vec::new();
            let now = Now { monotonic: start + latest, realtime_us: u64::MAX };
            shaper.expire(now, instances, &mut |shaped| outcomes.push(self.outcome(&shaped)));
            shaper.push(entry, now, instances, &mut |shaped| outcomes.push(self.outcome(&shaped)));
            all.push(outcomes);
        }
        let mut rest = Vec::new();
        let now = Now { monotonic: start + latest + END, realtime_us: u64::MAX };
        // A line whose fragments did not come may wait for other lines yet.
        shaper.expire(now, instances, &mut |shaped| rest.push(self.outcome(&shaped)));
        let now = Now { monotonic: now.monotonic + END, ..now };
        shaper.expire(now, instances, &mut |shaped| rest.push(self.outcome(&shaped)));
        all.push(rest);
        all
    }

    fn outcome(&self, shaped: &Shaped<'_>) -> Outcome {
        match shaped {
            Shaped::Record(record) => {
                let destinations = self.routes.all(record).into_iter().map(|(id, tag)| {
                    let name = self.destinations.get(usize::from(id.0)).copied();
                    (name.unwrap_or_default().to_owned(), tag)
                });
                Outcome::Record {
                    time: Rfc3339(record.time_ns).to_string(),
                    destinations: destinations.collect(),
                    record: Box::new((*record).clone()),
                }
            }
            Shaped::Dropped { rule, entries } => {
                Outcome::Dropped { dropped: (*rule).to_owned(), entries: *entries }
            }
            Shaped::Lost(lost) => Outcome::Lost {
                lost: lost.count,
                writer: lost.writer.map(str::to_owned),
                reason: lost.reason.as_str(),
            },
        }
    }
}

/// The instances of a trial, from `ALLOCATION=SYSTEM/SERVICE`, with `/canary` after it for a canary.
///
/// # Errors
/// One sentence that says which is wrong.
pub fn instances<'a>(
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Instances, String> {
    let mut instances = Instances::default();
    for (allocation, who) in given {
        let parts: Vec<&str> = who.split('/').collect();
        let (system, service, track) = match parts.as_slice() {
            [system, service] => (*system, *service, "stable"),
            [system, service, track] => (*system, *service, *track),
            _ => {
                return Err(format!(
                    "{who:?} of {allocation}: write SYSTEM/SERVICE or SYSTEM/SERVICE/canary"
                ));
            }
        };
        let meta = BTreeMap::from([
            ("mesh_system".to_owned(), system.to_owned()),
            ("mesh_track".to_owned(), track.to_owned()),
        ]);
        let registration = Registration::from_meta(&meta).map_err(|error| error.to_string())?;
        let instance = Arc::new(Instance {
            id: format!("_nomad-task-{allocation}-group-{service}-{service}-"),
            service: service.to_owned(),
            address: None,
            port: 0,
            registration: Ok(registration),
            allocation: Some(allocation.to_owned()),
            gone: None,
        });
        instances.by_id.insert(instance.id.clone(), Arc::clone(&instance));
        instances.by_allocation.entry(allocation.to_owned()).or_default().push(instance);
    }
    Ok(instances)
}
