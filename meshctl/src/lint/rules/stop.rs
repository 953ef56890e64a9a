//! What a stop cuts: delays, signals, the order in which tasks end.

use clap::Parser;

use super::{Case, DEFAULT_KILL_TIMEOUT, Found, LEARNED, found};
use crate::cli::Cli;
use crate::lint::proxy::meshctl;
use jobspec::Read;

pub(super) fn shutdown_delay(case: &Case<'_>) -> Vec<Found> {
    let groups = case.serving();
    groups
        .filter_map(|group| match &group.shutdown_delay {
            Read::Absent => {
                Some(found(group.line, format!("group {:?} has no shutdown_delay", group.label)))
            }
            Read::Known(delay, line) if *delay < LEARNED => Some(found(
                *line,
                format!("shutdown_delay {delay:?} of group {:?} is below 3 s", group.label),
            )),
            Read::Known(..) | Read::Unknown(..) => None,
        })
        .collect()
}

pub(super) fn kill_timeout(case: &Case<'_>) -> Vec<Found> {
    let too_long = case.tasks().filter_map(|(_, task)| match &task.kill_timeout {
        Read::Known(timeout, line) if *timeout > case.max_kill_timeout => Some(found(
            *line,
            format!(
                "kill_timeout {timeout:?} of task {:?} is longer than max_kill_timeout {:?}",
                task.label, case.max_kill_timeout
            ),
        )),
        _ => None,
    });
    too_long.collect()
}

pub(super) fn kill_signal(case: &Case<'_>) -> Vec<Found> {
    let silent = case.tasks().filter(|(_, task)| {
        let driver = task.driver.known().map_or("", String::as_str);
        matches!(driver, "exec" | "raw_exec" | "java") && task.kill_signal.is_absent()
    });
    silent
        .map(|(_, task)| {
            found(task.driver.line(task.line), format!("task {:?} is sent SIGINT", task.label))
        })
        .collect()
}

pub(super) fn kill_order(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for group in case.groups().filter(|group| group.proxies().next().is_some()) {
        for task in group.tasks.iter().filter(|task| task.leader.known() == Some(&true)) {
            let message = format!("task {:?} is leader: it ends before all others", task.label);
            all.push(found(task.leader.line(task.line), message));
        }
        let has_others =
            |name: &str| group.tasks.iter().any(|own| own.is_main() && own.label != name);
        for (task, proxy) in group.proxies() {
            let line = task.lifecycle.as_ref().map_or(task.line, |own| own.line);
            let hook = task.lifecycle.as_ref().and_then(|own| own.hook.known());
            let is_before = task.is_sidecar() && hook.is_some_and(|hook| hook == "prestart");
            if proxy.is_beside() && has_others(&task.label) && !is_before {
                let message =
                    format!("task {:?} with the Envoy is no prestart sidecar", task.label);
                all.push(found(line, message));
            }
            if !proxy.is_beside() && task.is_sidecar() {
                let message =
                    format!("task {:?} with the gateway's Envoy is a sidecar", task.label);
                all.push(found(line, message));
            }
            let mains = group.tasks.iter().filter(|own| own.is_main() && own.label != task.label);
            for other in mains.filter(|_| !proxy.is_beside() && task.is_main()) {
                let message = format!(
                    "task {:?} ends together with the gateway's Envoy {:?}, which needs it",
                    other.label, task.label
                );
                all.push(found(other.line, message));
            }
        }
    }
    all
}

pub(super) fn envoy_drain(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for group in case.groups() {
        let is_gateway = group.services.iter().any(|service| {
            let role = service.meta.keys.get("mesh_role").and_then(Read::known);
            role.is_some_and(|role| role == "gateway" || role == "router")
        });
        for (task, proxy) in group.proxies().filter(|(_, proxy)| !proxy.is_drained) {
            // A bare Envoy whose role nobody says stands before an application unless it is the only main task.
            let is_alone = task.is_main() && group.tasks.iter().all(|own| own.proxy.is_some());
            if is_gateway || !proxy.is_beside() || is_alone {
                let message = format!("task {:?} runs Envoy without draining it", task.label);
                all.push(found(task.words_line, message));
            }
        }
    }
    all
}

pub(super) fn drain_time(case: &Case<'_>) -> Vec<Found> {
    let over = case.tasks().filter_map(|(group, task)| {
        let args = meshctl(&task.words, group)?;
        let longest = Cli::try_parse_from(args).ok()?.longest_stop()?;
        let timeout = task.kill_timeout.or(DEFAULT_KILL_TIMEOUT)?;
        (longest >= timeout).then(|| {
            let message = format!(
                "task {:?} may drain for {longest:?} and is killed after {timeout:?}",
                task.label
            );
            found(task.kill_timeout.line(task.line), message)
        })
    });
    over.collect()
}
