//! How a new version takes over, as the `update` block that is submitted.
//!
//! In: a job with Nomad's defaults, a [`Strategy`]. Out: the job with its groups' `Update` rewritten. Pure.
//!
//! | strategy | `canary` | what one gets |
//! |---|---|---|
//! | rolling | as written | the job's own pace; with a canary, that one first |
//! | canary | N | N new instances beside the old; the rest follows after the promotion |
//! | blue-green | the count | a whole second set; after the promotion all old ones end at once |
//!
//! In all of them `auto_promote` is off, because whoever deploys promotes once every proxy knows; and `auto_revert` is
//! on, so that Nomad goes back by itself when nobody follows the deploy any more.
//!
//! **Invariants**: only jobs of type service are touched, and nothing of them but these keys of `Update`. A revert goes
//! back with the older version's own `canary`; [`super::decide`] promotes that one, too, so it may differ.

use std::fmt;

use clap::ValueEnum;
use nomad::Job;
use serde::Serialize;
use serde_json::{Map, Value};

/// How a new version takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The job's own update block.
    #[default]
    Rolling,
    /// A whole second set beside the old one, then all at once.
    BlueGreen,
    /// A few new instances first.
    Canary,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rolling => "rolling",
            Self::BlueGreen => "blue-green",
            Self::Canary => "canary",
        })
    }
}

impl Strategy {
    /// Rewrites the update blocks; `canaries` of each group with the strategy canary.
    pub fn apply(self, job: &mut Job, canaries: u64) {
        if !matches!(job.kind(), "service" | "") {
            return;
        }
        for group in job.groups_mut() {
            let count = group.get("Count").and_then(Value::as_u64).unwrap_or(1);
            let Some(group) = group.as_object_mut() else { continue };
            let update = group.entry("Update").or_insert_with(|| Value::Object(Map::new()));
            if !update.is_object() {
                *update = Value::Object(Map::new());
            }
            let Some(update) = update.as_object_mut() else { continue };
            update.insert("AutoPromote".to_owned(), false.into());
            update.insert("AutoRevert".to_owned(), true.into());
            match self {
                Self::Rolling => {}
                Self::BlueGreen => drop(update.insert("Canary".to_owned(), count.into())),
                Self::Canary => {
                    drop(update.insert("Canary".to_owned(), canaries.min(count).into()));
                }
            }
        }
    }
}

/// Canaries of all groups together, as the job says.
pub fn canaries(job: &Job) -> u64 {
    let of_group = |group: &Value| group.pointer("/Update/Canary").and_then(Value::as_u64);
    job.groups().filter_map(of_group).sum()
}

/// Instances of all groups together.
pub fn count(job: &Job) -> u64 {
    job.counts().map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(strategy: Strategy, kind: &str, update: Value) -> Value {
        let body = json!({"Type": kind, "TaskGroups": [{"Count": 3, "Update": update}]});
        let mut job = Job { body };
        strategy.apply(&mut job, 1);
        job.body["TaskGroups"][0]["Update"].clone()
    }

    #[test]
    fn a_strategy_sets_the_canaries_and_leaves_the_pace_to_the_job() {
        let written = json!({"Canary": 2, "MaxParallel": 2, "AutoPromote": true});
        let expect = |canary: u64| json!({"Canary": canary, "MaxParallel": 2, "AutoPromote": false, "AutoRevert": true});
        assert_eq!(after(Strategy::Rolling, "service", written.clone()), expect(2));
        assert_eq!(after(Strategy::Canary, "service", written.clone()), expect(1));
        assert_eq!(after(Strategy::BlueGreen, "service", written.clone()), expect(3));
    }

    #[test]
    fn a_job_without_an_update_block_gets_one_and_other_kinds_stay_as_they_are() {
        assert_eq!(
            after(Strategy::BlueGreen, "service", Value::Null),
            json!({"Canary": 3, "AutoPromote": false, "AutoRevert": true})
        );
        assert_eq!(after(Strategy::Canary, "batch", Value::Null), Value::Null);
        assert_eq!(after(Strategy::Canary, "system", json!({"Canary": 0})), json!({"Canary": 0}));
    }
}
