//! The generated tables of `docs/agent-config.md`.
//!
//! In: the doc comments of every `Raw…` struct of the agent and the running defaults. `UPDATE_GOLDEN=1` rewrites the document.
//!
//! **Invariants**: every key of the default configuration is in a table, and no other key is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use host_agent::config::{Config, RawConfig};
use host_agent::logs::deliver::config::{RawFile, RawForward, RawServer, RawTls};
use host_agent::logs::deliver::metrics::DeliverMetrics;
use host_agent::logs::pipeline::metrics::LogMetrics;
use host_agent::traces::config::RawTail;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::Value;

const BEGIN: &str = "<!-- generated: begin -->\n";
/// Where the table of conditions stands; the others refer to it.
const CONDITIONS: &str = "logs.rules.when";
const END: &str = "<!-- generated: end -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A field of a struct, as its source has it.
#[derive(Debug, Clone)]
struct Field {
    name: String,
    kind: String,
    doc: String,
}

/// The fields of every struct of a source file, in their order.
fn structs(source: &str, all: &mut BTreeMap<String, Vec<Field>>) {
    let mut current: Option<String> = None;
    let (mut doc, mut renamed): (Vec<&str>, Option<String>) = (Vec::new(), None);
    for line in source.lines() {
        let code = line.trim().trim_start_matches("pub ");
        if let Some(name) = code.strip_prefix("struct ").and_then(|rest| rest.strip_suffix(" {")) {
            current = Some(name.to_owned());
        } else if line == "}" {
            current = None;
        } else if let Some(text) = code.strip_prefix("/// ") {
            doc.push(text);
            continue;
        } else if let Some(rest) = code.strip_prefix("#[serde(rename = \"") {
            renamed = rest.split_once('"').map(|(name, _)| name.to_owned());
            continue;
        } else if code.starts_with("#[") {
            continue;
        } else if let (Some(name), Some((field, kind))) = (&current, code.split_once(": ")) {
            all.entry(name.clone()).or_default().push(Field {
                name: renamed.take().unwrap_or_else(|| field.trim_start_matches("r#").to_owned()),
                kind: kind.trim_end_matches(',').to_owned(),
                doc: doc.join(" "),
            });
        }
        (doc, renamed) = (Vec::new(), None);
    }
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn every_struct() -> BTreeMap<String, Vec<Field>> {
    let mut files = vec![
        root().join("libs/service/src/logging.rs"),
        root().join("libs/consul/src/settings.rs"),
    ];
    sources(&root().join("host-agent/src"), &mut files);
    let mut all = BTreeMap::new();
    for file in files {
        structs(&std::fs::read_to_string(file).unwrap(), &mut all);
    }
    all
}

/// The type of a value that may be there several times, by name, or not at all.
fn inner(kind: &str) -> &str {
    let kind = kind.strip_prefix("BTreeMap<String, ").unwrap_or(kind);
    let kind = kind.strip_prefix("Vec<").or(kind.strip_prefix("Option<")).unwrap_or(kind);
    kind.trim_end_matches('>')
}

/// The defaults of tables that the default configuration does not have.
fn default_of(kind: &str) -> Option<Value> {
    let value = match kind {
        "RawForward" => serde_json::to_value(RawForward::default()),
        "RawServer" => serde_json::to_value(RawServer::default()),
        "RawTls" => serde_json::to_value(RawTls::default()),
        "RawFile" => serde_json::to_value(RawFile::default()),
        "RawTail" => serde_json::to_value(RawTail::default()),
        _ => return None,
    };
    Some(value.unwrap())
}

/// Writes the table of a struct, and those below it. `defaults` is `None` for what may be there several times.
fn table(
    path: &str,
    heading: &str,
    kind: &str,
    defaults: Option<&Value>,
    structs: &BTreeMap<String, Vec<Field>>,
    text: &mut String,
) {
    if kind == "RawWhen" && path != CONDITIONS {
        text.push_str(heading);
        text.push_str(&format!("Conditions, as in `[{CONDITIONS}]`.\n"));
        return;
    }
    let fields = structs.get(kind).unwrap_or_else(|| panic!("no struct {kind} for [{path}]"));
    let is_table = |field: &Field| {
        let inner = inner(&field.kind);
        structs.contains_key(inner) && (inner.starts_with("Raw") || inner == "LogConfig")
    };
    if let Some(object) = defaults.and_then(Value::as_object) {
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let missing: Vec<&String> =
            object.keys().filter(|key| !names.contains(&key.as_str())).collect();
        assert!(missing.is_empty(), "[{path}] lacks {missing:?}");
    }
    let keys: Vec<&Field> = fields.iter().filter(|field| !is_table(field)).collect();
    if !path.is_empty() {
        text.push_str(heading);
    }
    if !keys.is_empty() {
        text.push_str("| key | default | meaning |\n|---|---|---|\n");
    }
    for key in keys {
        assert!(!key.doc.is_empty(), "[{path}] {} has no doc comment", key.name);
        let default = match defaults.map(|defaults| &defaults[&key.name]) {
            None => String::new(),
            Some(Value::Null) => "none".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        text.push_str(&format!("| `{}` | {default} | {} |\n", key.name, key.doc));
    }
    for field in fields.iter().filter(|field| is_table(field)) {
        let below = [path, &field.name].join(".").trim_start_matches('.').to_owned();
        let inner = inner(&field.kind);
        let is_list = field.kind.starts_with("Vec<");
        let is_named = field.kind.starts_with("BTreeMap<");
        let below = if is_named { format!("{below}.NAME") } else { below };
        let name = if is_list { format!("[[{below}]]") } else { format!("[{below}]") };
        let heading = format!("\n### `{name}`\n\n{}\n\n", field.doc);
        // What may be there several times, or not at all, has the defaults of its type.
        let value = defaults.map(|defaults| &defaults[&field.name]);
        let own = if inner == field.kind { value.cloned() } else { default_of(inner) };
        table(&below, &heading, inner, own.as_ref(), structs, text);
    }
}

#[test]
fn the_configuration_s_documentation_is_current() {
    let defaults = serde_json::to_value(RawConfig::default()).unwrap();
    let mut made = String::new();
    table("", "", "RawConfig", Some(&defaults), &every_struct(), &mut made);
    check_generated("docs/agent-config.md", &made);
}

/// Holds the part between the markers against what it must be.
fn check_generated(document: &str, made: &str) {
    let file = root().join(document);
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (committed, after) = rest.split_once(END).unwrap();
    let made = format!("\n{}\n\n", made.trim());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
        return;
    }
    assert!(committed == made, "{} is not current; UPDATE_GOLDEN=1 rewrites it", file.display());
}

#[test]
fn the_example_configuration_can_be_used() {
    Config::read(Some(&root().join("host-agent/config.example.toml"))).unwrap();
}

/// Every metric of the logs part as a scrape shows it, with a series of each family.
fn metrics() -> String {
    let mut registry = Registry::default();
    let (logs, deliver) = (LogMetrics::new(&mut registry), DeliverMetrics::new(&mut registry));
    let pipeline = logs.pipeline("main");
    pipeline.dropped("rule");
    pipeline.lost("vacuumed", "journal", 1);
    deliver.destination("main").server("127.0.0.1:24224");
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    let (mut help, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        let word = |prefix| line.strip_prefix(prefix).and_then(|rest: &str| rest.split_once(' '));
        if let Some((_, rest)) = word("# HELP ") {
            help = rest.trim_end_matches('.').to_owned();
        } else if let Some((_, rest)) = word("# TYPE ") {
            kind = rest.to_owned();
        } else if let Some((name, labels)) = line.split_once('{') {
            let labels = labels.split("\",").filter_map(|label| label.split_once('='));
            let labels: Vec<String> = labels.map(|(label, _)| format!("`{label}`")).collect();
            table.push_str(&format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(" ")));
        }
    }
    table
}

#[test]
fn the_metrics_of_logs_are_documented() {
    check_generated("docs/logs.md", &metrics());
}
