//! When an allocation counts as healthy, or as not: the health check of the update or migrate block.
//!
//! In: states of tasks and checks, the time. Out: a verdict, once. Pure but for what it remembers. Healthy: every task runs
//! (those that end before the main ones have succeeded) and, with `checks`, every check passes, without a break or a
//! restart for `min_healthy_time`. Unhealthy: a task failed, or the deadline passed first.

use std::collections::BTreeMap;

use crate::agent::job::{Group, Nanos, Stage};
use crate::agent::state::{TaskPhase, TaskState};

/// How health is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) by_checks: bool,
    pub(super) min_healthy_time: Nanos,
    pub(super) healthy_deadline: Nanos,
}

impl Rule {
    /// The rule of a group; `None` where an operator judges, or nobody asks.
    pub(super) fn of(group: &Group, is_deployed: bool) -> Option<Self> {
        let (check, min_healthy_time, healthy_deadline) = match (&group.update, &group.migrate) {
            (Some(update), _) if is_deployed => {
                (&update.health_check, update.min_healthy_time, update.healthy_deadline)
            }
            (_, Some(migrate)) if !is_deployed => {
                (&migrate.health_check, migrate.min_healthy_time, migrate.healthy_deadline)
            }
            _ => return None,
        };
        (check != "manual").then(|| Self {
            by_checks: check == "checks",
            min_healthy_time,
            healthy_deadline,
        })
    }
}

/// The course of one judgement.
#[derive(Debug)]
pub(super) struct Judge {
    rule: Rule,
    began: Nanos,
    good_since: Option<(Nanos, u64)>,
}

/// An allocation's verdict, with the reason of a bad one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Healthy,
    Unhealthy(String),
}

impl Judge {
    pub(super) fn new(rule: Rule, now: Nanos) -> Self {
        Self { rule, began: now, good_since: None }
    }

    /// Whether checks must be asked.
    pub(super) fn by_checks(&self) -> bool {
        self.rule.by_checks
    }

    /// Looks once.
    pub(super) fn look(
        &mut self,
        group: &Group,
        states: &BTreeMap<String, TaskState>,
        checks_pass: bool,
        now: Nanos,
    ) -> Option<Verdict> {
        if group.tasks.iter().any(|task| {
            states.get(&task.name).is_some_and(|one| one.failed && one.state == TaskPhase::Dead)
        }) {
            return Some(Verdict::Unhealthy("Unhealthy because of failed task".to_owned()));
        }
        let runs = group.tasks.iter().all(|task| {
            let state = states.get(&task.name);
            match task.stage() {
                Stage::Poststop => true,
                Stage::Prestart | Stage::Poststart => state.is_some_and(TaskState::succeeded),
                Stage::Sidecar | Stage::Main => {
                    state.is_some_and(|one| one.state == TaskPhase::Running)
                }
            }
        });
        let restarts = states.values().map(|state| state.restarts).sum();
        let is_good = runs && (checks_pass || !self.rule.by_checks);
        let since = match self.good_since.filter(|(_, before)| *before == restarts && is_good) {
            Some((since, _)) => since,
            None => now,
        };
        self.good_since = is_good.then_some((since, restarts));
        if is_good && now - since >= self.rule.min_healthy_time {
            return Some(Verdict::Healthy);
        }
        (now - self.began >= self.rule.healthy_deadline).then(|| {
            let minimum = crate::agent::time::go_duration(self.rule.min_healthy_time);
            Verdict::Unhealthy(if runs {
                "Services not healthy by deadline".to_owned()
            } else {
                format!("Task not running for min_healthy_time of {minimum} by healthy_deadline")
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn health_is_a_span_without_a_break_and_the_deadline_ends_the_wait() {
        let group: Group = serde_json::from_value(json!({"Name": "g", "Count": 1, "Tasks": [{
            "Name": "app", "Driver": "exec", "Resources": {"CPU": 1, "MemoryMB": 10},
            "RestartPolicy": {"Attempts": 0, "Interval": 0, "Delay": 0, "Mode": "fail"},
        }]}))
        .unwrap();
        let rule = Rule { by_checks: true, min_healthy_time: 10, healthy_deadline: 50 };
        let running = |restarts| {
            let state = TaskState { state: TaskPhase::Running, restarts, ..TaskState::default() };
            BTreeMap::from([("app".to_owned(), state)])
        };
        let late = || Some(Verdict::Unhealthy("Services not healthy by deadline".to_owned()));
        type Look = (Nanos, u64, bool);
        let cases: [(&[Look], Option<Verdict>, &str); 5] = [
            (&[(0, 0, true), (9, 0, true)], None, "not long enough"),
            (&[(0, 0, true), (10, 0, true)], Some(Verdict::Healthy), "long enough"),
            (
                &[(0, 0, true), (5, 0, false), (6, 0, true), (15, 0, true)],
                None,
                "a break starts anew",
            ),
            (&[(0, 0, true), (5, 1, true), (14, 1, true)], None, "a restart starts anew"),
            (&[(0, 0, false), (50, 0, false)], late(), "the deadline"),
        ];
        for (looks, expected, what) in cases {
            let mut judge = Judge::new(rule.clone(), 0);
            let verdicts = looks
                .iter()
                .map(|(now, restarts, pass)| judge.look(&group, &running(*restarts), *pass, *now));
            assert_eq!(verdicts.last().unwrap(), expected, "{what}");
        }
    }
}
