//! Blocks of a file → the job's model.
//!
//! In: [`Node`]s. Out: the parts of a [`Job`]. Pure; called by [`Job::of_file`].

use super::{
    Check, Group, Job, Lifecycle, Meta, NOMAD, Network, Port, Reschedule, Service, Task, Template,
    Update,
};
use crate::lint::proxy::Proxy;
use jobspec::{Node, Read};

pub(super) fn job(node: &Node<'_>) -> Job {
    let update = node.block("update").as_ref().map(update);
    Job {
        label: node.label.clone(),
        line: node.line,
        kind: node.text("type"),
        name: node.text("name"),
        is_parameterized: node.block("parameterized").is_some(),
        groups: node.blocks("group").iter().map(|own| group(own, node, update.as_ref())).collect(),
    }
}

fn group(node: &Node<'_>, job: &Node<'_>, of_job: Option<&Update>) -> Group {
    let tasks: Vec<Node<'_>> = node.blocks("task");
    let of_tasks = tasks.iter().flat_map(|task| task.blocks("service"));
    let mut services: Vec<Service> =
        node.blocks("service").iter().map(|own| service(own, false)).collect();
    services.extend(of_tasks.map(|own| service(&own, true)));
    let own_or_jobs = |name: &str| node.block(name).or_else(|| job.block(name));
    let (restart, reschedule) = (own_or_jobs("restart"), own_or_jobs("reschedule"));
    Group {
        label: node.label.clone(),
        line: node.line,
        count: node.number("count"),
        shutdown_delay: node.duration("shutdown_delay"),
        network: node.block("network").as_ref().map(network),
        services,
        tasks: tasks.iter().map(task).collect(),
        update: merged(node.block("update").as_ref().map(update), of_job),
        restart_attempts: restart.map_or(Read::Absent, |own| own.number("attempts")),
        reschedule: Reschedule {
            attempts: reschedule.as_ref().map_or(Read::Absent, |own| own.number("attempts")),
            unlimited: reschedule.as_ref().map_or(Read::Absent, |own| own.flag("unlimited")),
        },
    }
}

fn update(node: &Node<'_>) -> Update {
    Update {
        line: node.line,
        max_parallel: node.number("max_parallel"),
        canary: node.number("canary"),
        auto_revert: node.flag("auto_revert"),
        health_check: node.text("health_check"),
        min_healthy_time: node.duration("min_healthy_time"),
        healthy_deadline: node.duration("healthy_deadline"),
        progress_deadline: node.duration("progress_deadline"),
    }
}

/// A group's block over its job's, key by key.
fn merged(own: Option<Update>, of_job: Option<&Update>) -> Option<Update> {
    let (Some(own), Some(of_job)) = (own.clone(), of_job) else {
        return own.or_else(|| of_job.cloned());
    };
    Some(Update {
        line: own.line,
        max_parallel: own.max_parallel.or_read(&of_job.max_parallel),
        canary: own.canary.or_read(&of_job.canary),
        auto_revert: own.auto_revert.or_read(&of_job.auto_revert),
        health_check: own.health_check.or_read(&of_job.health_check),
        min_healthy_time: own.min_healthy_time.or_read(&of_job.min_healthy_time),
        healthy_deadline: own.healthy_deadline.or_read(&of_job.healthy_deadline),
        progress_deadline: own.progress_deadline.or_read(&of_job.progress_deadline),
    })
}

fn network(node: &Node<'_>) -> Network {
    let port = |own: &Node<'_>| Port {
        label: own.label.clone(),
        line: own.line,
        fixed: own.number("static"),
        to: own.number("to"),
    };
    Network {
        line: node.line,
        mode: node.text("mode"),
        ports: node.blocks("port").iter().map(port).collect(),
    }
}

fn service(node: &Node<'_>, is_of_task: bool) -> Service {
    let block = |name| node.map(name).map(|(line, keys)| Meta { line, keys, has_unknown: false });
    let provider = node.text("provider");
    let is_nomads = provider.known().is_some_and(|provider| provider == NOMAD);
    let meta = |name, tags_name| if is_nomads { tags(node, tags_name) } else { block(name) };
    let strays = ["meta", "canary_meta"].map(block).into_iter().flatten();
    let stray = strays.filter(|_| is_nomads).find(Meta::is_mesh);
    let check = |own: &Node<'_>| Check {
        line: own.line,
        kind: own.text("type"),
        port: own.text("port"),
        on_update: own.text("on_update"),
    };
    Service {
        line: node.line,
        name: node.text("name"),
        port: node.text("port"),
        meta: meta("meta", "tags").unwrap_or_default(),
        canary_meta: meta("canary_meta", "canary_tags"),
        stray_meta: stray.map(|own| own.line),
        provider,
        checks: node.blocks("check").iter().map(check).collect(),
        weights: node.block("weights").map(|own| own.line),
        is_of_task,
    }
}

/// Keys of the mesh in a list of tags; other tags mean nothing to it.
fn tags(node: &Node<'_>, name: &str) -> Option<Meta> {
    let (line, tags) = (node.line_at(name), node.list(name));
    let known = tags.iter().flatten().filter_map(|tag| tag.split_once('='));
    let keys = known.map(|(key, value)| (key.to_owned(), Read::Known(value.to_owned(), line)));
    let has_unknown = tags.contains(&None);
    (!tags.is_empty()).then(|| Meta { line, keys: keys.collect(), has_unknown })
}

fn task(node: &Node<'_>) -> Task {
    let config = node.block("config");
    let of_config = |key: &str| config.as_ref().map_or(Read::Absent, |own| own.text(key));
    let list = |key: &str| config.as_ref().map(|own| own.list(key)).unwrap_or_default();
    let logging = config.as_ref().and_then(|own| own.block("logging"));
    let mut words = list("entrypoint");
    match of_config("command") {
        Read::Absent => {}
        Read::Known(command, _) => words.push(Some(command)),
        Read::Unknown(..) => words.push(None),
    }
    words.extend(list("args"));
    let image = of_config("image");
    let template = |own: &Node<'_>| Template {
        line: own.line,
        change_mode: own.text("change_mode"),
        once: own.flag("once"),
        data: own.text("data"),
    };
    Task {
        label: node.label.clone(),
        line: node.line,
        driver: node.text("driver"),
        lifecycle: node.block("lifecycle").map(|own| Lifecycle {
            line: own.line,
            hook: own.text("hook"),
            sidecar: own.flag("sidecar"),
        }),
        leader: node.flag("leader"),
        kill_timeout: node.duration("kill_timeout"),
        kill_signal: node.text("kill_signal"),
        templates: node.blocks("template").iter().map(template).collect(),
        proxy: Proxy::of(&words, image.known().map(String::as_str)),
        image,
        network_mode: of_config("network_mode"),
        log_driver: logging.map(|own| (own.line, own.text("type").or_read(&own.text("driver")))),
        logs_disabled: node.block("logs").map_or(Read::Absent, |own| own.flag("disabled")),
        words,
        words_line: config.as_ref().map_or(node.line, |own| own.line_at("args")),
        env: node.map("env").map(|(_, keys)| keys).unwrap_or_default(),
    }
}
