//! What has gone wrong with a version's instances, in a sentence.
//!
//! Nomad itself goes on until a deadline; here the first instance that is given up (its restarts are used up, or it is
//! not healthy in time) decides, unless more are tolerated: another try costs a person less than ten minutes of waiting.

use nomad::{Allocation, PlacementFailure};

use super::super::view::short;
use super::Case;

impl Case<'_> {
    /// Why the version is not to go on; `None`: no reason.
    pub(super) fn misfortune(&self, version: u64) -> Option<String> {
        let given_up: Vec<&Allocation> =
            self.view.of_version(version).filter(|own| is_given_up(own)).collect();
        let first = given_up.first()?;
        if given_up.len() <= self.record.gates.tolerated {
            return None;
        }
        let others = given_up.len() - 1;
        let more = if others == 0 { String::new() } else { format!(" (and {others} more)") };
        Some(format!("instance {} {}{more}", short(&first.id), ailment(first)))
    }

    /// A deployment's failure, with the instance to blame where there is one.
    pub(super) fn blame(&self, version: u64, description: &str) -> String {
        match self.view.of_version(version).find(|own| is_given_up(own)) {
            Some(own) => format!("instance {} {}", short(&own.id), ailment(own)),
            None => self.unplaced(format!("its deployment failed: {description}")),
        }
    }

    /// What is awaited, and why some of it has no place.
    pub(super) fn unplaced(&self, what: String) -> String {
        let Some(evaluation) = &self.view.evaluation else { return what };
        match no_room(evaluation.failed_groups.iter()) {
            Some(why) => format!("{what}; {why}"),
            None => what,
        }
    }
}

/// Whether an instance is not going to get well.
pub fn is_given_up(allocation: &Allocation) -> bool {
    allocation.client_status == "failed" || allocation.deployment_status.healthy == Some(false)
}

/// What is the matter with it: the task that failed and the last that was heard of it.
pub fn ailment(allocation: &Allocation) -> String {
    let mut tasks = allocation.task_states.iter();
    let state = if allocation.client_status == "failed" { "failed" } else { "is not healthy" };
    let Some((name, task)) = tasks.find(|(_, task)| task.failed) else {
        let description = &allocation.client_description;
        let has_words = state == "failed" && !description.is_empty();
        return if has_words { format!("{state}: {description}") } else { state.to_owned() };
    };
    // The last event says that it is not restarted; the reason is the one before.
    let reason = task.events.iter().rev().find(|event| {
        !matches!(event.kind.as_str(), "Not Restarting" | "Restarting" | "Killing" | "Killed")
            && !event.display_message.is_empty()
    });
    match reason {
        Some(event) => format!("{state}: task {name}: {}", event.display_message),
        None => format!("{state}: task {name}"),
    }
}

/// Why groups have no place, as the scheduler counted it.
pub fn no_room<'a>(
    groups: impl Iterator<Item = (&'a String, &'a PlacementFailure)>,
) -> Option<String> {
    let describe = |(group, failure): (&String, &PlacementFailure)| {
        let nodes = |count: u64| format!("{count} node{}", if count == 1 { "" } else { "s" });
        let exhausted = failure.dimension_exhausted.iter();
        let exhausted =
            exhausted.map(|(what, count)| format!("{what} exhausted on {}", nodes(*count)));
        let filtered = failure.constraint_filtered.iter();
        let filtered = filtered.map(|(what, count)| format!("{what} rules out {}", nodes(*count)));
        let reasons: Vec<String> = exhausted.chain(filtered).collect();
        let reasons = match reasons.is_empty() {
            true => format!("{} looked at", nodes(failure.nodes_evaluated)),
            false => reasons.join(", "),
        };
        format!("group {group} has no place for {}: {reasons}", failure.coalesced_failures + 1)
    };
    let all: Vec<String> = groups.map(describe).collect();
    (!all.is_empty()).then(|| all.join("; "))
}
