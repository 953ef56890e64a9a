//! What Nomad refuses about a job before it is registered.
//!
//! In: a [`Job`] with its defaults. Out: the problems, each a sentence. Drivers' own settings are not looked at, as in
//! Nomad: an unknown key of `config` shows only when the task starts.

use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::{Group, Job, Kind, Service, Task, canonical};

/// What is wrong with a job as a file says it, where no server fills in its defaults.
pub(crate) fn of_body(job: &Map<String, Value>) -> Vec<String> {
    let mut job = job.clone();
    canonical::fill(&mut job, "global", "default");
    match Job::deserialize(&Value::Object(job)) {
        Ok(job) => problems(&job),
        Err(error) => vec![format!("job cannot be read: {error}")],
    }
}

/// Several errors as one text, in the form that Nomad gives them.
pub(crate) fn listed(problems: &[String]) -> String {
    let noun = if problems.len() == 1 { "error" } else { "errors" };
    let list: String = problems.iter().map(|problem| format!("\t* {problem}\n")).collect();
    format!("{} {noun} occurred:\n{list}\n", problems.len())
}

/// Every problem of a job.
pub(crate) fn problems(job: &Job) -> Vec<String> {
    let mut found = Vec::new();
    if job.id.is_empty() {
        found.push("Missing job ID".to_owned());
    }
    if job.id.contains([' ', '\0']) {
        found.push("Job ID contains a space or null character".to_owned());
    }
    if job.datacenters.is_empty() {
        found.push("Missing job datacenters".to_owned());
    }
    if !(1..=100).contains(&job.priority) {
        found.push("Job priority must be between [1, 100]".to_owned());
    }
    if job.task_groups.is_empty() {
        found.push("Missing job task groups".to_owned());
    }
    if job.parameterized_job.is_some() && !job.kind.is_batch() {
        found.push(
            "Parameterized job can only be used with \"batch\" or \"sysbatch\" scheduler"
                .to_owned(),
        );
    }
    let mut names = BTreeSet::new();
    for group in &job.task_groups {
        if !names.insert(&group.name) {
            found.push(format!("Job task group {} defined more than once", group.name));
        }
        found.extend(
            of_group(job, group)
                .map(|text| format!("Task group {} validation failed: {text}", group.name)),
        );
    }
    found
}

fn of_group(job: &Job, group: &Group) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    if group.name.is_empty() {
        found.push("Missing task group name".to_owned());
    }
    if group.tasks.is_empty() {
        found.push("Missing tasks for task group".to_owned());
    }
    if job.kind == Kind::System && group.count > 1 {
        found.push(format!(
            "Job task group {} has count {}. Count cannot exceed 1 with system scheduler",
            group.name, group.count
        ));
    }
    let mut names = BTreeSet::new();
    for task in &group.tasks {
        if !names.insert(&task.name) {
            found.push(format!("Task {} defined more than once", task.name));
        }
        found.extend(
            of_task(task)
                .into_iter()
                .map(|text| format!("Task {} validation failed: {text}", task.name)),
        );
    }
    if !group.tasks.is_empty() && group.tasks.iter().all(|task| task.lifecycle.is_some()) {
        found.push("At least one task in a task group must have no lifecycle".to_owned());
    }
    found.extend(of_update(group));
    found.extend(of_ports(group));
    let providers: BTreeSet<&str> =
        group.all_services().map(|(_, service)| service.provider.as_str()).collect();
    if providers.len() > 1 {
        found.push(
            "Multiple service providers used: task group services must use the same provider"
                .to_owned(),
        );
    }
    found.extend(group.all_services().flat_map(|(_, service)| of_service(group, service)));
    found.into_iter()
}

fn of_task(task: &Task) -> Vec<String> {
    let mut found = Vec::new();
    if task.name.is_empty() {
        found.push("Missing task name".to_owned());
    }
    if task.name.contains(['/', '\\']) {
        found.push("Task name cannot include slashes".to_owned());
    }
    if task.driver.is_empty() {
        found.push("Missing task driver".to_owned());
    }
    if let Some(lifecycle) = &task.lifecycle
        && !["prestart", "poststart", "poststop"].contains(&lifecycle.hook.as_str())
    {
        found.push(format!("Task lifecycle validation failed: invalid hook: {}", lifecycle.hook));
    }
    let mut payload = task.dispatch_payload.iter().flat_map(|payload| payload.file.split('/'));
    if payload.any(|part| part == "..") {
        found.push(
            "Dispatch Payload validation failed: destination escapes allocation directory"
                .to_owned(),
        );
    }
    if !["fail", "delay"].contains(&task.restart.mode.as_str()) {
        found.push(format!("Unsupported restart mode: {:?}", task.restart.mode));
    }
    if task.resources.cpu < 1 {
        found.push("minimum CPU value is 1; got 0".to_owned());
    }
    if task.resources.memory_mb < 10 {
        found.push(format!("minimum MemoryMB value is 10; got {}", task.resources.memory_mb));
    }
    found
}

fn of_update(group: &Group) -> Vec<String> {
    let Some(update) = &group.update else { return Vec::new() };
    let mut found = Vec::new();
    if !["checks", "task_states", "manual"].contains(&update.health_check.as_str()) {
        found.push(format!("Invalid health check given: {:?}", update.health_check));
    }
    if update.min_healthy_time >= update.healthy_deadline {
        found.push("Minimum healthy time must be less than healthy deadline".to_owned());
    }
    if update.progress_deadline != 0 && update.healthy_deadline >= update.progress_deadline {
        found.push("Healthy deadline must be less than progress deadline".to_owned());
    }
    if update.auto_promote && update.canary == 0 {
        found.push("Auto Promote requires a Canary count greater than zero".to_owned());
    }
    found
}

fn of_ports(group: &Group) -> Vec<String> {
    let mut found = Vec::new();
    let (mut labels, mut values) = (BTreeSet::new(), BTreeSet::new());
    if group.networks.len() > 1 {
        found.push("Only one network block is allowed per task group".to_owned());
    }
    for network in &group.networks {
        if !["host", "bridge", "none", ""].contains(&network.mode.as_str()) {
            found.push(format!("invalid network mode {:?}", network.mode));
        }
        for port in network.reserved_ports.iter().chain(&network.dynamic_ports) {
            if !labels.insert(&port.label) {
                found.push(format!("Port label {} already in use", port.label));
            }
            if port.value > 0 && !values.insert(port.value) {
                found.push(format!("Static port {} already reserved", port.value));
            }
        }
    }
    found
}

fn of_service(group: &Group, service: &Service) -> Vec<String> {
    let mut found = Vec::new();
    let name = &service.name;
    let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !name.contains("${") && (name.is_empty() || name.len() > 63 || !name.chars().all(is_label)) {
        found.push(format!("Service name must be valid per RFC 1123 and can contain only alphanumeric characters or dashes: {name:?}"));
    }
    if !["consul", "nomad"].contains(&service.provider.as_str()) {
        found.push(format!(
            "Service provider must be \"consul\", or \"nomad\": {:?}",
            service.provider
        ));
    }
    let known = |label: &str| {
        label.is_empty()
            || label.parse::<u16>().is_ok()
            || group.networks.iter().any(|network| {
                network
                    .reserved_ports
                    .iter()
                    .chain(&network.dynamic_ports)
                    .any(|port| port.label == label)
            })
    };
    let labels = service.checks.iter().map(|check| &check.port_label);
    for label in std::iter::once(&service.port_label).chain(labels) {
        if !known(label) {
            found
                .push(format!("port label {label:?} referenced by services {name} does not exist"));
        }
    }
    let kinds: &[&str] = if service.provider == "nomad" {
        &["http", "tcp"]
    } else {
        &["http", "tcp", "grpc", "script"]
    };
    for check in &service.checks {
        if !kinds.contains(&check.kind.as_str()) {
            found.push(format!(
                "Check {} invalid: invalid check type ({:?})",
                check.name, check.kind
            ));
        }
        if check.kind == "http" && check.path.is_empty() {
            found.push(format!("Check {} invalid: http type must have http path", check.name));
        }
        if check.interval < 1_000_000_000 || check.timeout < 1_000_000_000 {
            found.push(format!(
                "Check {} invalid: interval and timeout must be at least 1s",
                check.name
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems_of(task: Value) -> Vec<String> {
        let mut all = json!({"Name": "t", "Driver": "exec", "Config": {"command": "c"}});
        all.as_object_mut().unwrap().extend(task.as_object().unwrap().clone());
        let job = json!({
            "ID": "j", "Type": "batch", "Datacenters": ["dc1"], "TaskGroups": [{"Name": "g", "Tasks": [all]}],
        });
        of_body(job.as_object().unwrap())
    }

    #[test]
    fn a_payload_is_written_below_its_task_and_nowhere_else() {
        let of_file = |file: &str| problems_of(json!({"DispatchPayload": {"File": file}}));
        assert_eq!(of_file("in/put"), Vec::<String>::new());
        let found = of_file("../../../../input");
        assert!(found.len() == 1 && found[0].contains("destination escapes"), "{found:?}");
    }
}
