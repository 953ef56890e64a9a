//! How Envoys are run.

use clap::Parser;

use super::{Case, Found, found};
use crate::cli::Cli;
use crate::lint::proxy::{flag, is_waiter, meshctl};

pub(super) fn waits(case: &Case<'_>) -> Vec<Found> {
    let groups = case.groups().filter(|group| {
        let has_sidecar =
            group.proxies().any(|(task, proxy)| proxy.is_beside() && task.is_sidecar());
        let has_application = group.tasks.iter().any(|task| task.is_main() && task.proxy.is_none());
        let waits = group.tasks.iter().any(|task| {
            let hook = task.lifecycle.as_ref().and_then(|own| own.hook.known());
            is_waiter(&task.words)
                && !task.is_sidecar()
                && hook.is_some_and(|hook| hook == "prestart")
        });
        has_sidecar && has_application && !waits
    });
    groups
        .map(|group| {
            let message =
                format!("nothing in group {:?} waits until its Envoy is ready", group.label);
            found(group.line, message)
        })
        .collect()
}

pub(super) fn args(case: &Case<'_>) -> Vec<Found> {
    let wrong = case.tasks().filter_map(|(group, task)| {
        let refusal = match Cli::try_parse_from(meshctl(&task.words, group)?) {
            Ok(cli) => cli.check().err()?.to_string(),
            Err(error) => {
                // What follows the first empty line is about how to type it.
                let text = error.to_string();
                let said = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
                let said: Vec<&str> = said.collect();
                said.join(" ").trim_start_matches("error: ").to_owned()
            }
        };
        Some(found(task.words_line, format!("task {:?}: {refusal}", task.label)))
    });
    wrong.collect()
}

pub(super) fn id(case: &Case<'_>) -> Vec<Found> {
    let other = case.tasks().filter_map(|(_, task)| {
        task.proxy.as_ref()?;
        let words: Vec<&str> = task.words.iter().flatten().map(String::as_str).collect();
        let id = flag(&words, "--id")?;
        (id != "${NOMAD_ALLOC_ID}")
            .then(|| found(task.words_line, format!("task {:?} has --id {id}", task.label)))
    });
    other.collect()
}

pub(super) fn templates(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for (_, task) in case.tasks().filter(|(_, task)| task.proxy.is_some()) {
        for template in &task.templates {
            let is_once = template.once.known() == Some(&true);
            let mode = template.change_mode.or("restart".to_owned());
            if !is_once && mode.as_deref() == Some("restart") {
                let said =
                    if template.change_mode.is_absent() { ", which is the default" } else { "" };
                let message =
                    format!("a template restarts the Envoy of task {:?}{said}", task.label);
                all.push(found(template.change_mode.line(template.line), message));
            }
        }
    }
    all
}
