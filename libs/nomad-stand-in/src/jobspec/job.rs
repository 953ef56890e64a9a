//! The blocks of a job and of a group.

use serde_json::{Map, Value, json};

use super::service::{NETWORK, SERVICE};
use super::table::Kind::{Any, Duration, Text, Texts, Truth, Whole};
use super::table::Shape::{self, Absent, Free, Many, Named, One};
use super::table::{Table, plain};
use super::task::{TASK, VOLUME};

pub(super) const VAULT: Shape = Absent("no secrets are fetched here");
pub(super) const IDENTITY: Shape = Absent("no workload identities are made here");

pub(super) static JOB: Table = Table {
    label: "ID",
    args: &[
        ("id", "ID", Text),
        ("name", "Name", Text),
        ("region", "Region", Text),
        ("namespace", "Namespace", Text),
        ("type", "Type", Text),
        ("priority", "Priority", Whole),
        ("all_at_once", "AllAtOnce", Truth),
        ("datacenters", "Datacenters", Texts),
        ("node_pool", "NodePool", Text),
        ("consul_token", "ConsulToken", Text),
        ("vault_token", "VaultToken", Text),
    ],
    blocks: &[
        ("affinity", "Affinities", Many(&AFFINITY)),
        ("constraint", "Constraints", Many(&CONSTRAINT)),
        ("group", "TaskGroups", Many(&GROUP)),
        ("meta", "Meta", Shape::Texts),
        ("migrate", "Migrate", One(&MIGRATE)),
        ("multiregion", "Multiregion", Absent("there is one region")),
        ("parameterized", "ParameterizedJob", One(&PARAMETERIZED)),
        ("periodic", "Periodic", One(&PERIODIC)),
        ("reschedule", "Reschedule", One(&RESCHEDULE)),
        ("spread", "Spreads", Many(&SPREAD)),
        ("task", "Tasks", Many(&TASK)),
        ("update", "Update", One(&UPDATE)),
        ("vault", "Vault", VAULT),
    ],
    finish: Some(finish_job),
};

/// A job is called as its label says, and a task outside of a group is a group of its own.
fn finish_job(job: &mut Map<String, Value>) {
    if let Some(id) = job.get("ID").cloned() {
        job.entry("Name").or_insert(id);
    }
    let Some(Value::Array(tasks)) = job.remove("Tasks") else { return };
    let own = tasks
        .into_iter()
        .map(|task| json!({"Name": task.get("Name"), "Count": 1, "Tasks": [task]}));
    let groups = job.entry("TaskGroups").or_insert_with(|| json!([]));
    if let Value::Array(groups) = groups {
        groups.extend(own);
    }
}

static GROUP: Table = Table {
    label: "Name",
    args: &[
        ("count", "Count", Whole),
        ("shutdown_delay", "ShutdownDelay", Duration),
        ("stop_after_client_disconnect", "StopAfterClientDisconnect", Duration),
        ("max_client_disconnect", "MaxClientDisconnect", Duration),
        ("prevent_reschedule_on_lost", "PreventRescheduleOnLost", Truth),
    ],
    blocks: &[
        ("affinity", "Affinities", Many(&AFFINITY)),
        ("constraint", "Constraints", Many(&CONSTRAINT)),
        ("consul", "Consul", One(&CONSUL)),
        ("disconnect", "Disconnect", One(&DISCONNECT)),
        ("ephemeral_disk", "EphemeralDisk", One(&EPHEMERAL_DISK)),
        ("meta", "Meta", Shape::Texts),
        ("migrate", "Migrate", One(&MIGRATE)),
        ("network", "Networks", Many(&NETWORK)),
        ("reschedule", "ReschedulePolicy", One(&RESCHEDULE)),
        ("restart", "RestartPolicy", One(&RESTART)),
        ("scaling", "Scaling", One(&SCALING)),
        ("service", "Services", Many(&SERVICE)),
        ("spread", "Spreads", Many(&SPREAD)),
        ("task", "Tasks", Many(&TASK)),
        ("update", "Update", One(&UPDATE)),
        ("vault", "Vault", VAULT),
        ("volume", "Volumes", Named(&VOLUME)),
    ],
    finish: None,
};

static UPDATE: Table = plain(&[
    ("stagger", "Stagger", Duration),
    ("max_parallel", "MaxParallel", Whole),
    ("health_check", "HealthCheck", Text),
    ("min_healthy_time", "MinHealthyTime", Duration),
    ("healthy_deadline", "HealthyDeadline", Duration),
    ("progress_deadline", "ProgressDeadline", Duration),
    ("canary", "Canary", Whole),
    ("auto_revert", "AutoRevert", Truth),
    ("auto_promote", "AutoPromote", Truth),
]);

static MIGRATE: Table = plain(&[
    ("max_parallel", "MaxParallel", Whole),
    ("health_check", "HealthCheck", Text),
    ("min_healthy_time", "MinHealthyTime", Duration),
    ("healthy_deadline", "HealthyDeadline", Duration),
]);

pub(super) static RESTART: Table = plain(&[
    ("interval", "Interval", Duration),
    ("attempts", "Attempts", Whole),
    ("delay", "Delay", Duration),
    ("mode", "Mode", Text),
    ("render_templates", "RenderTemplates", Truth),
]);

static RESCHEDULE: Table = plain(&[
    ("attempts", "Attempts", Whole),
    ("interval", "Interval", Duration),
    ("delay", "Delay", Duration),
    ("delay_function", "DelayFunction", Text),
    ("max_delay", "MaxDelay", Duration),
    ("unlimited", "Unlimited", Truth),
]);

static DISCONNECT: Table = plain(&[
    ("lost_after", "LostAfter", Duration),
    ("replace", "Replace", Truth),
    ("reconcile", "Reconcile", Text),
    ("stop_on_client_after", "StopOnClientAfter", Duration),
]);

static EPHEMERAL_DISK: Table =
    plain(&[("sticky", "Sticky", Truth), ("migrate", "Migrate", Truth), ("size", "SizeMB", Whole)]);

static PARAMETERIZED: Table = plain(&[
    ("payload", "Payload", Text),
    ("meta_required", "MetaRequired", Texts),
    ("meta_optional", "MetaOptional", Texts),
]);

static PERIODIC: Table = plain(&[
    ("enabled", "Enabled", Truth),
    ("cron", "Spec", Text),
    ("crons", "Specs", Texts),
    ("prohibit_overlap", "ProhibitOverlap", Truth),
    ("time_zone", "TimeZone", Text),
]);

static CONSUL: Table = plain(&[
    ("namespace", "Namespace", Text),
    ("cluster", "Cluster", Text),
    ("partition", "Partition", Text),
]);

static SCALING: Table = Table {
    label: "",
    args: &[("enabled", "Enabled", Truth), ("min", "Min", Whole), ("max", "Max", Whole)],
    blocks: &[("policy", "Policy", Free)],
    finish: None,
};

/// `constraint` with its short forms, such as `distinct_hosts = true`.
pub(super) static CONSTRAINT: Table = Table {
    label: "",
    args: &[
        ("attribute", "LTarget", Text),
        ("operator", "Operand", Text),
        ("value", "RTarget", Text),
        ("version", "version", Text),
        ("semver", "semver", Text),
        ("regexp", "regexp", Text),
        ("set_contains", "set_contains", Text),
        ("distinct_hosts", "distinct_hosts", Any),
        ("distinct_property", "distinct_property", Text),
    ],
    blocks: &[],
    finish: Some(finish_constraint),
};

fn finish_constraint(own: &mut Map<String, Value>) {
    for short in
        ["version", "semver", "regexp", "set_contains", "distinct_hosts", "distinct_property"]
    {
        let Some(value) = own.remove(short) else { continue };
        own.insert("Operand".to_owned(), short.into());
        match short {
            "distinct_hosts" => {}
            "distinct_property" => drop(own.insert("LTarget".to_owned(), value)),
            _ => drop(own.insert("RTarget".to_owned(), value)),
        }
    }
    own.entry("Operand").or_insert_with(|| "=".into());
}

pub(super) static AFFINITY: Table = Table {
    label: "",
    args: &[
        ("attribute", "LTarget", Text),
        ("operator", "Operand", Text),
        ("value", "RTarget", Text),
        ("weight", "Weight", Whole),
        ("version", "version", Text),
        ("semver", "semver", Text),
        ("regexp", "regexp", Text),
    ],
    blocks: &[],
    finish: Some(finish_constraint),
};

static SPREAD: Table = Table {
    label: "",
    args: &[("attribute", "Attribute", Text), ("weight", "Weight", Whole)],
    blocks: &[("target", "SpreadTarget", Many(&TARGET))],
    finish: None,
};

static TARGET: Table = Table {
    label: "Value",
    args: &[("value", "Value", Text), ("percent", "Percent", Whole)],
    blocks: &[],
    finish: None,
};
