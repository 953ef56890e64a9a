//! Fills a job's body up with Nomad's defaults, so that what is read back is what Nomad would answer.
//!
//! In: the JSON of a registration. Out: the same with every default written out. A value that is there is never touched.

use serde_json::{Map, Value, json};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Writes out the defaults of a job; `region` and `namespace` are the agent's and the request's.
pub(crate) fn fill(job: &mut Map<String, Value>, region: &str, namespace: &str) {
    let id = job.get("ID").cloned().unwrap_or(json!(""));
    defaults(
        job,
        json!({
            "Type": "service", "Priority": 50,
            "Datacenters": ["*"], "NodePool": "default", "AllAtOnce": false, "Constraints": null, "Affinities": null,
            "Spreads": null, "Update": null, "Periodic": null, "ParameterizedJob": null, "Meta": null, "Payload": null,
            "ParentID": "", "Dispatched": false, "TaskGroups": [], "Stop": false,
        }),
    );
    for (key, value) in [("Region", json!(region)), ("Namespace", json!(namespace)), ("Name", id)] {
        if text(job, key).is_empty() {
            job.insert(key.to_owned(), value);
        }
    }
    if let Some(parameterized) = object(job, "ParameterizedJob") {
        defaults(
            parameterized,
            json!({"Payload": "optional", "MetaRequired": null, "MetaOptional": null}),
        );
    }
    let kind = text(job, "Type");
    let mut update = job.get("Update").cloned().unwrap_or_default();
    if update.is_object() || kind == "service" {
        merge(&mut update, update_defaults());
        job.insert("Update".to_owned(), update.clone());
    }
    let (name, id) = (text(job, "Name"), text(job, "ID"));
    for group in objects(job, "TaskGroups") {
        fill_group(group, &kind, if name.is_empty() { &id } else { &name }, &update);
    }
}

fn fill_group(group: &mut Map<String, Value>, kind: &str, job: &str, update: &Value) {
    defaults(
        group,
        json!({
            "Name": "", "Count": 1, "Constraints": null, "Affinities": null, "Spreads": null, "Networks": null,
            "Services": null, "Volumes": null, "ShutdownDelay": null, "StopAfterClientDisconnect": null, "Meta": null,
            "Scaling": null, "Consul": {"Namespace": ""}, "Tasks": [],
            "EphemeralDisk": {"Sticky": false, "Migrate": false, "SizeMB": 300},
        }),
    );
    block(group, "RestartPolicy", restart_defaults(kind));
    if kind == "service" || kind == "batch" {
        block(group, "ReschedulePolicy", reschedule_defaults(kind));
    }
    if kind == "service" {
        block(
            group,
            "Migrate",
            json!({
                "MaxParallel": 1, "HealthCheck": "checks", "MinHealthyTime": 10 * SECOND, "HealthyDeadline": 5 * MINUTE,
            }),
        );
    }
    if update.is_object() || group.get("Update").is_some_and(Value::is_object) {
        block(group, "Update", update.clone());
        block(group, "Update", update_defaults());
    }
    for network in objects(group, "Networks") {
        fill_network(network);
    }
    let (name, restart) = (text(group, "Name"), group.get("RestartPolicy").cloned());
    for service in objects(group, "Services") {
        fill_service(service, &format!("{job}-{name}"), job, &name, "group");
    }
    for task in objects(group, "Tasks") {
        fill_task(task, job, &name, restart.clone().unwrap_or_default());
    }
}

fn fill_network(network: &mut Map<String, Value>) {
    defaults(
        network,
        json!({
            "Mode": "host", "Device": "", "CIDR": "", "IP": "", "DNS": null, "ReservedPorts": null, "DynamicPorts": null,
        }),
    );
    for key in ["ReservedPorts", "DynamicPorts"] {
        for port in objects(network, key) {
            defaults(port, json!({"Value": 0, "To": 0, "HostNetwork": "default"}));
        }
    }
}

fn fill_task(task: &mut Map<String, Value>, job: &str, group: &str, restart: Value) {
    defaults(
        task,
        json!({
            "Name": "", "Driver": "", "User": "", "Config": null, "Constraints": null, "Affinities": null, "Env": null,
            "Services": null, "Meta": null, "KillTimeout": 5 * SECOND, "Artifacts": null, "Leader": false,
            "ShutdownDelay": 0, "Templates": null, "DispatchPayload": null, "KillSignal": "", "Lifecycle": null,
            "LogConfig": {"MaxFiles": 10, "MaxFileSizeMB": 10, "Disabled": false},
        }),
    );
    block(
        task,
        "Resources",
        json!({
            "CPU": 100, "Cores": 0, "MemoryMB": 300, "MemoryMaxMB": 0, "DiskMB": 0, "Networks": null, "Devices": null,
        }),
    );
    block(task, "RestartPolicy", restart);
    if let Some(lifecycle) = object(task, "Lifecycle") {
        defaults(lifecycle, json!({"Hook": "", "Sidecar": false}));
    }
    for template in objects(task, "Templates") {
        defaults(
            template,
            json!({
                "SourcePath": "", "DestPath": "", "EmbeddedTmpl": "", "ChangeMode": "restart", "ChangeSignal": "",
                "Splay": 5 * SECOND, "Perms": "0644", "LeftDelim": "{{", "RightDelim": "}}", "Envvars": false,
            }),
        );
    }
    for artifact in objects(task, "Artifacts") {
        defaults(
            artifact,
            json!({
                "GetterSource": "", "GetterOptions": null, "GetterHeaders": null, "GetterMode": "any",
                "GetterInsecure": false, "RelativeDest": "local/",
            }),
        );
    }
    let name = text(task, "Name");
    for service in objects(task, "Services") {
        fill_service(service, &format!("{job}-{group}-{name}"), job, group, &name);
    }
}

fn fill_service(
    service: &mut Map<String, Value>,
    default: &str,
    job: &str,
    group: &str,
    task: &str,
) {
    defaults(
        service,
        json!({
            "Name": default, "PortLabel": "", "AddressMode": "auto", "Address": "", "Provider": "consul", "Tags": null,
            "CanaryTags": null, "Meta": null, "CanaryMeta": null, "TaggedAddresses": null, "EnableTagOverride": false,
            "Checks": null, "CheckRestart": null, "Connect": null, "OnUpdate": "require_healthy",
        }),
    );
    let name = [("${JOB}", job), ("${TASKGROUP}", group), ("${GROUP}", group), ("${TASK}", task)]
        .into_iter()
        .fold(text(service, "Name"), |name, (key, value)| name.replace(key, value))
        .replace("${BASE}", default);
    service.insert("Name".to_owned(), json!(name));
    let on_update = text(service, "OnUpdate");
    for check in objects(service, "Checks") {
        let label = format!("service: \"{name}\" check");
        defaults(
            check,
            json!({
                "Name": label, "Type": "", "Command": "", "Args": null, "Path": "", "Protocol": "", "PortLabel": "",
                "Expose": false, "AddressMode": "", "Interval": 10 * SECOND, "Timeout": 5 * SECOND, "InitialStatus": "",
                "TLSSkipVerify": false, "Method": "", "Header": null, "CheckRestart": null, "GRPCService": "",
                "GRPCUseTLS": false, "TaskName": "", "SuccessBeforePassing": 0, "FailuresBeforeCritical": 0, "Body": "",
                "OnUpdate": on_update,
            }),
        );
        if text(check, "Name").is_empty() {
            check.insert("Name".to_owned(), json!(label));
        }
        if text(check, "OnUpdate").is_empty() {
            check.insert("OnUpdate".to_owned(), json!(on_update));
        }
    }
}

fn update_defaults() -> Value {
    json!({
        "Stagger": 30 * SECOND, "MaxParallel": 1, "HealthCheck": "checks", "MinHealthyTime": 10 * SECOND,
        "HealthyDeadline": 5 * MINUTE, "ProgressDeadline": 10 * MINUTE, "AutoRevert": false, "AutoPromote": false,
        "Canary": 0,
    })
}

fn restart_defaults(kind: &str) -> Value {
    let is_batch = kind == "batch" || kind == "sysbatch";
    let (attempts, interval) = if is_batch { (3, 24 * HOUR) } else { (2, 30 * MINUTE) };
    json!({
        "Attempts": attempts, "Interval": interval, "Delay": 15 * SECOND, "Mode": "fail", "RenderTemplates": false,
    })
}

fn reschedule_defaults(kind: &str) -> Value {
    if kind == "batch" {
        return json!({
            "Attempts": 1, "Interval": 24 * HOUR, "Delay": 5 * SECOND, "DelayFunction": "constant", "MaxDelay": 0,
            "Unlimited": false,
        });
    }
    json!({
        "Attempts": 0, "Interval": 0, "Delay": 30 * SECOND, "DelayFunction": "exponential", "MaxDelay": HOUR,
        "Unlimited": true,
    })
}

/// Sets each key of `defaults` that is absent or null.
fn defaults(object: &mut Map<String, Value>, defaults: Value) {
    let Value::Object(defaults) = defaults else { return };
    for (key, value) in defaults {
        let slot = object.entry(key).or_insert(Value::Null);
        if slot.is_null() {
            *slot = value;
        }
    }
}

/// As [`defaults`], for the block `key`, which is made when it is absent.
fn block(object: &mut Map<String, Value>, key: &str, values: Value) {
    let slot = object.entry(key).or_insert(Value::Null);
    merge(slot, values);
}

fn merge(slot: &mut Value, values: Value) {
    if !slot.is_object() {
        *slot = json!({});
    }
    if let Value::Object(inner) = slot {
        defaults(inner, values);
    }
}

fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    parent.get_mut(key)?.as_object_mut()
}

fn objects<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let list = parent.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn text(object: &Map<String, Value>, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
