//! Logs, images, batches, names.

use super::{Case, Found, found};
use jobspec::Read;

/// What a template reads that can change while the task runs.
const CHANGING: [&str; 9] = [
    "key ",
    "keyOrDefault ",
    "ls ",
    "service ",
    "services",
    "secret ",
    "nomadVar",
    "nomadService",
    "range tree",
];

pub(super) fn templates(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for group in case.serving() {
        for task in group.tasks.iter().filter(|task| task.proxy.is_none()) {
            for template in &task.templates {
                let data = template.data.known().map_or("", String::as_str);
                let reads = data.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
                let changes = |text: &str| CHANGING.iter().any(|word| text.contains(word));
                let is_once = template.once.known() == Some(&true);
                let mode = template.change_mode.or("restart".to_owned());
                if !is_once && mode.as_deref() == Some("restart") && reads.into_iter().any(changes)
                {
                    let message = format!(
                        "a template restarts task {:?} when what it reads changes",
                        task.label
                    );
                    all.push(found(template.change_mode.line(template.line), message));
                }
            }
        }
    }
    all
}

pub(super) fn job_name(case: &Case<'_>) -> Vec<Found> {
    match &case.job.name {
        Read::Known(name, line) if *name != case.job.label => {
            vec![found(
                *line,
                format!("the job's id is {:?} and its name {name:?}", case.job.label),
            )]
        }
        _ => Vec::new(),
    }
}

pub(super) fn log_driver(case: &Case<'_>) -> Vec<Found> {
    let other = case.tasks().filter_map(|(_, task)| {
        let (line, driver) = task.log_driver.as_ref()?;
        // Without a type Nomad's plugin takes json-file, whatever the client says.
        let driver = driver.or("json-file".to_owned())?;
        (driver != "journald")
            .then(|| found(*line, format!("task {:?} logs to {driver}", task.label)))
    });
    other.collect()
}

pub(super) fn logs_disabled(case: &Case<'_>) -> Vec<Found> {
    let disabled = case.tasks().filter_map(|(_, task)| {
        let is_docker = task.driver.known().is_some_and(|driver| driver == "docker");
        let Read::Known(true, line) = task.logs_disabled else { return None };
        (!is_docker).then(|| found(line, format!("task {:?} writes no logs", task.label)))
    });
    disabled.collect()
}

pub(super) fn image_tag(case: &Case<'_>) -> Vec<Found> {
    let moving = case.tasks().filter_map(|(_, task)| {
        let Read::Known(image, line) = &task.image else { return None };
        let last = image.rsplit('/').next().unwrap_or_default();
        let tag = last.split_once(':').map(|(_, tag)| tag);
        let is_pinned = last.contains('@') || tag.is_some_and(|tag| tag != "latest");
        (!is_pinned).then(|| found(*line, format!("task {:?} runs image {image:?}", task.label)))
    });
    moving.collect()
}

pub(super) fn batch(case: &Case<'_>) -> Vec<Found> {
    if !case.job.is_parameterized {
        return Vec::new();
    }
    let retried = case.groups().filter_map(|group| {
        let restarts = group.restart_attempts.or(3)?;
        let moves = group.reschedule.attempts.or(1)?;
        let is_unlimited = group.reschedule.unlimited.or(false)?;
        (restarts > 0 || moves > 0 || is_unlimited).then(|| {
            let message = format!(
                "group {:?} is restarted {restarts} times and rescheduled {}",
                group.label,
                if is_unlimited { "without end".to_owned() } else { format!("{moves} times") }
            );
            found(group.line, message)
        })
    });
    retried.collect()
}
