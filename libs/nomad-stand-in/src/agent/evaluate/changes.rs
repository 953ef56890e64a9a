//! Whether a new version of a group replaces its allocations or goes on with them.
//!
//! Replacing: another driver, user, `config`, `env`, artifact, template, meta (of job, group and task together), payload
//! file, lifecycle, resources, network, or another set of tasks. In place: everything else, such as services and their
//! checks, the update and restart blocks, kill signals and delays, the count.

use std::collections::BTreeMap;

use crate::agent::job::{Group, Job, Task};

/// Whether allocations of `old` must be replaced to become `new`.
pub(crate) fn are_destructive(
    (old_job, old): (&Job, &Group),
    (new_job, new): (&Job, &Group),
) -> bool {
    if old.networks != new.networks || old.tasks.len() != new.tasks.len() {
        return true;
    }
    new.tasks.iter().any(|task| {
        old.task(&task.name).is_none_or(|before| {
            has_changed(before, task) || meta(old_job, old, before) != meta(new_job, new, task)
        })
    })
}

fn has_changed(old: &Task, new: &Task) -> bool {
    old.driver != new.driver
        || old.user != new.user
        || old.config != new.config
        || old.env != new.env
        || old.artifacts != new.artifacts
        || old.templates != new.templates
        || old.dispatch_payload != new.dispatch_payload
        || old.lifecycle != new.lifecycle
        || old.leader != new.leader
        || old.resources != new.resources
}

/// A task's meta with that of its group and job beneath.
pub(crate) fn meta(job: &Job, group: &Group, task: &Task) -> BTreeMap<String, String> {
    let layers = [&job.meta, &group.meta, &task.meta];
    layers.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}
