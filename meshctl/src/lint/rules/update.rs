//! How a new version replaces the old one.

use std::time::Duration;

use super::{Case, Found, LEARNED, found};
use crate::lint::job::{Group, Update};
use jobspec::Read;

/// Groups that serve and are rolled out by deployments: a system job has no count, and deployments only since Nomad 1.11.
fn rolled<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'a Group> {
    case.serving().filter(|_| case.job.is("service"))
}

/// Groups with an update block.
fn updates<'a>(case: &'a Case<'_>) -> impl Iterator<Item = (&'a Group, &'a Update)> {
    rolled(case).filter_map(|group| Some((group, group.update.as_ref()?)))
}

pub(super) fn surge(case: &Case<'_>) -> Vec<Found> {
    let without = rolled(case).filter_map(|group| {
        let update = group.update.as_ref();
        let canary = update.map_or(Some(0), |own| own.canary.or(0))?;
        let at_once = update.map_or(Some(1), |own| own.max_parallel.or(1))?;
        let count = group.count.or(1)?;
        let line = update.map_or(group.line, |own| own.max_parallel.line(own.line));
        (canary == 0 && at_once >= count && count > 0).then(|| {
            let message = format!(
                "an update stops {} of the {count} instances of group {:?} at once, and has no canary",
                at_once.min(count),
                group.label
            );
            found(line, message)
        })
    });
    without.collect()
}

pub(super) fn auto_revert(case: &Case<'_>) -> Vec<Found> {
    let silent = rolled(case).filter_map(|group| match &group.update {
        None => Some(found(group.line, format!("group {:?} has no update block", group.label))),
        Some(update) if update.auto_revert.or(false) == Some(false) => {
            let line = update.auto_revert.line(update.line);
            Some(found(line, format!("updates of group {:?} are not reverted", group.label)))
        }
        Some(_) => None,
    });
    silent.collect()
}

pub(super) fn health_check(case: &Case<'_>) -> Vec<Found> {
    let other = updates(case).filter_map(|(group, update)| match &update.health_check {
        Read::Known(kind, line) if kind != "checks" => {
            Some(found(*line, format!("health of group {:?} is {kind:?}", group.label)))
        }
        _ => None,
    });
    other.collect()
}

pub(super) fn min_healthy_time(case: &Case<'_>) -> Vec<Found> {
    let short = updates(case).filter_map(|(group, update)| match &update.min_healthy_time {
        Read::Known(time, line) if *time < LEARNED => {
            Some(found(*line, format!("min_healthy_time {time:?} of group {:?}", group.label)))
        }
        _ => None,
    });
    short.collect()
}

pub(super) fn deadlines(case: &Case<'_>) -> Vec<Found> {
    let late = updates(case).filter_map(|(_, update)| {
        let healthy = update.min_healthy_time.or(Duration::from_secs(10))?;
        let deadline = update.healthy_deadline.or(Duration::from_secs(300))?;
        let progress = update.progress_deadline.or(Duration::from_secs(600))?;
        if !progress.is_zero() && progress <= deadline {
            let line = update.progress_deadline.line(update.healthy_deadline.line(update.line));
            return Some(found(
                line,
                format!("progress_deadline {progress:?} is not longer than healthy_deadline {deadline:?}"),
            ));
        }
        (deadline <= healthy).then(|| {
            let message =
                format!("healthy_deadline {deadline:?} is not longer than min_healthy_time {healthy:?}");
            found(update.healthy_deadline.line(update.line), message)
        })
    });
    late.collect()
}
