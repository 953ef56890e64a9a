//! Drivers: how a task's `config` becomes a command.
//!
//! `docker` runs an image tree, `exec` and `raw_exec` a program of the host or of an artifact. All are processes; there is no
//! Docker and no `chroot_env`. Keys that the real driver does not know are refused when the task starts, as in Nomad.

use std::path::Path;

use serde_json::Value;

use super::environment::Environment;
use super::executor::Spec;
use super::folders::TaskPaths;
use super::image::Root;
use crate::agent::job::{Group, Task};

/// Why a task cannot be started, by Nomad's kind of event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `Failed Validation`: trying again changes nothing.
    Validation(String),
    /// `Driver Failure`
    Driver(String),
}

const RAW_EXEC: &[&str] = &[
    "command",
    "args",
    "work_dir",
    "oom_score_adj",
    "cgroup_v1_override",
    "cgroup_v2_override",
    "denied_envvars",
];
const EXEC: &[&str] = &[
    "command",
    "args",
    "work_dir",
    "pid_mode",
    "ipc_mode",
    "cap_add",
    "cap_drop",
    "oom_score_adj",
];
const DOCKER: &[&str] = &[
    "image",
    "command",
    "args",
    "entrypoint",
    "network_mode",
    "ports",
    "auth",
    "volumes",
    "mounts",
    "mount",
    "work_dir",
    "labels",
    "logging",
    "privileged",
    "readonly_rootfs",
    "cap_add",
    "cap_drop",
    "force_pull",
    "hostname",
    "extra_hosts",
    "dns_servers",
    "dns_search_domains",
    "dns_options",
    "init",
    "interactive",
    "tty",
    "ipc_mode",
    "pid_mode",
    "userns_mode",
    "uts_mode",
    "ulimit",
    "sysctl",
    "shm_size",
    "security_opt",
    "storage_opt",
    "image_pull_timeout",
    "load",
    "mac_address",
    "memory_hard_limit",
    "network_aliases",
    "ipv4_address",
    "ipv6_address",
    "pids_limit",
    "runtime",
    "healthchecks",
    "auth_soft_fail",
    "cgroupns",
    "cpu_cfs_period",
    "cpu_hard_limit",
    "devices",
    "group_add",
    "oom_score_adj",
    "advertise_ipv6_address",
    "container_exists_attempts",
    "isolation",
    "volume_driver",
];

/// The command of a task.
pub(super) fn spec(
    (group, task): (&Group, &Task),
    environment: &Environment,
    paths: &TaskPaths,
    images: Option<&Path>,
) -> Result<Spec, Refusal> {
    let known = match task.driver.as_str() {
        "docker" => DOCKER,
        "exec" => EXEC,
        _ => RAW_EXEC,
    };
    if let Some(key) = task.config.keys().find(|key| !known.contains(&key.as_str())) {
        let text = format!(
            "failed to decode driver config: unknown key {key:?} for driver {}",
            task.driver
        );
        return Err(Refusal::Validation(text));
    }
    let text = |key: &str| {
        task.text(key).map(|value| environment.replace(value)).filter(|value| !value.is_empty())
    };
    let list = |key: &str| {
        let list = task.config.get(key).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|one| environment.replace(one))
            .collect::<Vec<_>>()
    };
    let mut env = environment.variables.clone();
    env.entry("PATH".to_owned()).or_insert_with(|| {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
    });
    let tmp =
        if task.driver == "docker" { "/tmp".to_owned() } else { paths.tmp.display().to_string() };
    env.entry("TMPDIR".to_owned()).or_insert(tmp);
    let mut spec = Spec {
        command: Vec::new(),
        env,
        dir: paths.root.clone(),
        stdout: paths.stdout.clone(),
        stderr: paths.stderr.clone(),
        folder: paths.executor.clone(),
        netns: None,
        is_isolated: false,
        image: None,
        memory_mb: None,
        lifelines: Vec::new(),
    };
    let limit = task.resources.memory_max_mb.max(task.resources.memory_mb);
    if task.driver == "docker" {
        let root = root(text("image"), paths, images)?;
        let own = default_command(&root.tree)?;
        let entrypoint = Some(list("entrypoint")).filter(|list| !list.is_empty());
        spec.command.extend(entrypoint.unwrap_or(own.entrypoint));
        match text("command") {
            Some(command) => spec.command.push(command),
            None if list("args").is_empty() => spec.command.extend(own.command),
            None => {}
        }
        let is_bridge = group.networks.iter().any(|network| network.is_bridge());
        spec.is_isolated = !is_bridge && text("network_mode").as_deref() != Some("host");
        (spec.image, spec.memory_mb) = (Some(root), Some(limit));
    } else {
        spec.command.extend(text("command"));
        if let Some(folder) = text("work_dir") {
            spec.dir = paths.root.join(folder);
        }
        spec.memory_mb = (task.driver == "exec").then_some(limit);
    }
    if spec.command.is_empty() && list("args").is_empty() {
        return Err(Refusal::Validation("missing command for the driver".to_owned()));
    }
    spec.command.extend(list("args"));
    Ok(spec)
}

fn root(image: Option<String>, paths: &TaskPaths, images: Option<&Path>) -> Result<Root, Refusal> {
    let image = image
        .ok_or_else(|| Refusal::Validation("image name required for docker driver".to_owned()))?;
    let images = images.ok_or_else(|| {
        Refusal::Driver(
            "this stand-in was given no images: start it with -stand-in-images=DIR".to_owned(),
        )
    })?;
    let is_floating = !image.rsplit('/').next().is_some_and(|name| name.contains(':'))
        || image.ends_with(":latest");
    // A tree is found with and without the name of a registry before it.
    let short = image.rsplit('/').next().unwrap_or(&image);
    let tree = [images.join(&image), images.join(short)].into_iter().find(|tree| tree.is_dir());
    let tree = tree.unwrap_or_else(|| images.join(&image));
    // `latest` is always pulled, and there is nobody to pull from.
    if is_floating || !tree.is_dir() {
        let text = format!(
            "Failed to pull `{image}`: API error (404): pull access denied for {image}: there is no folder {}",
            tree.display()
        );
        return Err(Refusal::Driver(text));
    }
    let seen = |path: &Path| path.display().to_string();
    Ok(Root {
        tree,
        at: paths.root.join("rootfs"),
        binds: vec![
            (paths.alloc.clone(), seen(&paths.seen_alloc)),
            (paths.local.clone(), seen(&paths.seen_local)),
            (paths.secrets.clone(), seen(&paths.seen_secrets)),
        ],
    })
}

#[derive(Debug, Default)]
struct DefaultCommand {
    entrypoint: Vec<String>,
    command: Vec<String>,
}

/// What an image runs by itself: `NAME.json` beside the tree, with `Entrypoint` and `Cmd` as in an image's configuration.
fn default_command(tree: &Path) -> Result<DefaultCommand, Refusal> {
    let mut file = tree.as_os_str().to_owned();
    file.push(".json");
    let unread = |error: &dyn std::fmt::Display| {
        Refusal::Driver(format!("image configuration {}: {error}", file.display()))
    };
    let value: Value = match std::fs::read(&file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| unread(&error))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
        Err(error) => return Err(unread(&error)),
    };
    let value = value.get("config").cloned().unwrap_or(value);
    let list = |key: &str| {
        let list = value.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Ok(DefaultCommand { entrypoint: list("Entrypoint"), command: list("Cmd") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_own_command_is_read_where_there_is_one_and_a_broken_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("box:1");
        let own = |tree: &Path| default_command(tree).map(|own| (own.entrypoint, own.command));
        assert_eq!(own(&tree), Ok((Vec::new(), Vec::new())));
        let file = folder.path().join("box:1.json");
        std::fs::write(&file, r#"{"config": {"Entrypoint": ["/a"], "Cmd": ["b"]}}"#).unwrap();
        assert_eq!(own(&tree), Ok((vec!["/a".to_owned()], vec!["b".to_owned()])));
        std::fs::write(&file, "{").unwrap();
        let Err(Refusal::Driver(why)) = own(&tree) else { panic!("it was read") };
        assert!(why.contains("box:1.json"), "{why}");
    }
}
