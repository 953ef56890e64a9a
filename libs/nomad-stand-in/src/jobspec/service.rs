//! The blocks of a network and of a service.

use serde_json::{Map, Value};

use super::job::IDENTITY;
use super::table::Kind::{Duration, Map as TextMap, Text, Texts, Truth, Whole};
use super::table::Shape::{self, Absent, Lists, Many, One};
use super::table::{Table, plain};

pub(super) static NETWORK: Table = Table {
    label: "",
    args: &[("mode", "Mode", Text), ("hostname", "Hostname", Text), ("mbits", "MBits", Whole)],
    blocks: &[
        ("port", "Ports", Many(&PORT)),
        ("dns", "DNS", One(&DNS)),
        ("cni", "CNI", Absent("there are no CNI plugins")),
    ],
    finish: Some(finish_network),
};

/// A port with a fixed number is reserved, another one dynamic.
fn finish_network(network: &mut Map<String, Value>) {
    let Some(Value::Array(ports)) = network.remove("Ports") else { return };
    let (fixed, dynamic): (Vec<Value>, Vec<Value>) =
        ports.into_iter().partition(|port| port.get("Value").is_some());
    for (key, ports) in [("ReservedPorts", fixed), ("DynamicPorts", dynamic)] {
        if !ports.is_empty() {
            network.insert(key.to_owned(), Value::Array(ports));
        }
    }
}

static PORT: Table = Table {
    label: "Label",
    args: &[
        ("static", "Value", Whole),
        ("to", "To", Whole),
        ("host_network", "HostNetwork", Text),
        ("ignore_collision", "IgnoreCollision", Truth),
    ],
    blocks: &[],
    finish: None,
};

static DNS: Table = plain(&[
    ("servers", "Servers", Texts),
    ("searches", "Searches", Texts),
    ("options", "Options", Texts),
]);

pub(super) static SERVICE: Table = Table {
    label: "",
    args: &[
        ("name", "Name", Text),
        ("port", "PortLabel", Text),
        ("provider", "Provider", Text),
        ("tags", "Tags", Texts),
        ("canary_tags", "CanaryTags", Texts),
        ("enable_tag_override", "EnableTagOverride", Truth),
        ("address_mode", "AddressMode", Text),
        ("address", "Address", Text),
        ("task", "TaskName", Text),
        ("on_update", "OnUpdate", Text),
        ("cluster", "Cluster", Text),
        ("kind", "Kind", Text),
        ("tagged_addresses", "TaggedAddresses", TextMap),
    ],
    blocks: &[
        ("meta", "Meta", Shape::Texts),
        ("canary_meta", "CanaryMeta", Shape::Texts),
        ("check", "Checks", Many(&CHECK)),
        ("check_restart", "CheckRestart", One(&CHECK_RESTART)),
        ("weights", "Weights", One(&WEIGHTS)),
        ("connect", "Connect", Absent("there is no service mesh of Consul's")),
        ("identity", "Identity", IDENTITY),
    ],
    finish: None,
};

static WEIGHTS: Table = plain(&[("passing", "Passing", Whole), ("warning", "Warning", Whole)]);

static CHECK_RESTART: Table = plain(&[
    ("limit", "Limit", Whole),
    ("grace", "Grace", Duration),
    ("ignore_warnings", "IgnoreWarnings", Truth),
]);

static CHECK: Table = Table {
    label: "",
    args: &[
        ("name", "Name", Text),
        ("type", "Type", Text),
        ("command", "Command", Text),
        ("args", "Args", Texts),
        ("path", "Path", Text),
        ("protocol", "Protocol", Text),
        ("port", "PortLabel", Text),
        ("expose", "Expose", Truth),
        ("address_mode", "AddressMode", Text),
        ("interval", "Interval", Duration),
        ("timeout", "Timeout", Duration),
        ("initial_status", "InitialStatus", Text),
        ("tls_server_name", "TLSServerName", Text),
        ("tls_skip_verify", "TLSSkipVerify", Truth),
        ("method", "Method", Text),
        ("body", "Body", Text),
        ("grpc_service", "GRPCService", Text),
        ("grpc_use_tls", "GRPCUseTLS", Truth),
        ("task", "TaskName", Text),
        ("success_before_passing", "SuccessBeforePassing", Whole),
        ("failures_before_critical", "FailuresBeforeCritical", Whole),
        ("failures_before_warning", "FailuresBeforeWarning", Whole),
        ("on_update", "OnUpdate", Text),
        ("notes", "Notes", Text),
    ],
    blocks: &[("header", "Header", Lists), ("check_restart", "CheckRestart", One(&CHECK_RESTART))],
    finish: None,
};
