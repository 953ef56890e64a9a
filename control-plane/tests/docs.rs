//! The generated parts of the documents: `docs/config.md`, `docs/metrics.md`, and the example configuration.
//!
//! In: the doc comments and the defaults of the configuration, the metrics as they are registered. Out: tables between
//! the markers of the documents; `UPDATE_GOLDEN=1` rewrites them, otherwise a difference fails.
//!
//! **Invariants**: what comes from source text is held against the running value: every key against the default
//! configuration, every metric against the registry.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use control_plane::catalog::run::CatalogState;
use control_plane::catalog::{CatalogSnapshot, SourceState};
use control_plane::config::{Config, RawConfig};
use control_plane::metrics::CatalogMetrics;
use control_plane::xds::server::XdsMetrics;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::watch;

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Holds the part between the markers against what it must be.
fn check_generated(path: &str, table: &str) {
    let text = read(path);
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (committed, after) = rest.split_once(END).unwrap();
    let table = format!("\n{}\n\n", table.trim());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file(path), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(committed == table, "{path} is not current; UPDATE_GOLDEN=1 rewrites it\n{table}");
}

/// A field of a struct, as its source has it.
struct Field {
    name: String,
    kind: String,
    doc: String,
}

/// The fields of every struct of a source file, in their order.
fn structs(source: &str) -> BTreeMap<String, Vec<Field>> {
    let mut structs: BTreeMap<String, Vec<Field>> = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut doc: Vec<&str> = Vec::new();
    for line in source.lines() {
        let code = line.trim().trim_start_matches("pub ");
        if let Some(name) = code.strip_prefix("struct ").and_then(|rest| rest.strip_suffix(" {")) {
            current = Some(name.to_owned());
        } else if line == "}" {
            current = None;
        } else if let Some(text) = code.strip_prefix("/// ") {
            doc.push(text);
            continue;
        } else if let (Some(name), Some((field, kind))) = (&current, code.split_once(": ")) {
            structs.entry(name.clone()).or_default().push(Field {
                name: field.trim_start_matches("r#").to_owned(),
                kind: kind.trim_end_matches(',').to_owned(),
                doc: doc.join(" "),
            });
        }
        doc.clear();
    }
    structs
}

/// One table of the configuration file; `name` is empty for the keys before the first table.
struct Section {
    name: String,
    doc: String,
    keys: Vec<(Field, Value)>,
}

fn configuration() -> Vec<Section> {
    let mut structs = structs(&read("control-plane/src/config/raw.rs"));
    structs.extend(self::structs(&read("libs/service/src/logging.rs")));
    structs.extend(self::structs(&read("libs/consul/src/settings.rs")));
    structs.extend(self::structs(&read("libs/nomad/src/settings.rs")));
    let defaults = serde_json::to_value(RawConfig::default()).unwrap();
    let mut top = Section { name: String::new(), doc: String::new(), keys: Vec::new() };
    let mut sections = Vec::new();
    for field in structs.remove("RawConfig").unwrap() {
        let default = defaults.get(&field.name).unwrap().clone();
        let Some(keys) = structs.remove(&field.kind) else {
            top.keys.push((field, default));
            continue;
        };
        let keys: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let default = default.get(&key.name).unwrap().clone();
                (key, default)
            })
            .collect();
        assert_eq!(keys.len(), default.as_object().unwrap().len(), "{} misses keys", field.name);
        sections.push(Section { name: field.name, doc: field.doc, keys });
    }
    let count = top.keys.len() + sections.len();
    assert_eq!(count, defaults.as_object().unwrap().len(), "a table of RawConfig was not found");
    sections.insert(0, top);
    sections
}

#[test]
fn the_configuration_s_documentation_is_current() {
    let mut text = String::new();
    for Section { name, doc, keys } in configuration() {
        if !name.is_empty() {
            text.push_str(&format!("\n### `[{name}]`\n\n{doc}\n\n"));
        }
        text.push_str("| key | default | meaning |\n|---|---|---|\n");
        for (key, default) in keys {
            assert!(!key.doc.is_empty(), "{name}.{} has no doc comment", key.name);
            let default = match default {
                Value::Null => "none".to_owned(),
                value => format!("`{value}`"),
            };
            text.push_str(&format!("| `{}` | {default} | {} |\n", key.name, key.doc));
        }
    }
    check_generated("docs/config.md", &text);
}

#[test]
fn the_example_names_every_key_with_its_default_and_can_be_used() {
    let example = file("control-plane/config.example.toml");
    let raw: RawConfig = service::config::load(Some(&example)).unwrap();
    assert_eq!(raw, RawConfig::default());
    Config::read(Some(&example)).unwrap();

    let text = read("control-plane/config.example.toml");
    let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut table = "";
    for line in text.lines() {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => table = name,
            None => tables.entry(table).or_default().push(line),
        }
    }
    for Section { name, keys, .. } in configuration() {
        let lines = tables.get(name.as_str()).unwrap_or_else(|| panic!("[{name}] is missing"));
        for (key, default) in keys {
            let is_written = |line: &&str| match &default {
                Value::Null => line.starts_with(&format!("# {} = ", key.name)),
                value => **line == format!("{} = {value}", key.name),
            };
            assert!(lines.iter().any(is_written), "[{name}] {} is missing", key.name);
        }
    }
}

/// A metric as a scrape shows it.
#[derive(Debug)]
struct Metric {
    kind: String,
    labels: Vec<String>,
    help: String,
}

/// A catalog with a source, so that every family has a series.
fn registry() -> Registry {
    let sources = BTreeMap::from([("consul", SourceState { failing: None })]);
    let snapshot = CatalogSnapshot { sources: Arc::new(sources), ..CatalogSnapshot::default() };
    let state = CatalogState { snapshot: Arc::new(snapshot), ..CatalogState::default() };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(CatalogMetrics {
        state: watch::Sender::new(state).subscribe(),
        model: watch::Sender::new(Arc::default()).subscribe(),
        started: Instant::now(),
    }));
    XdsMetrics::new(&mut registry);
    registry
}

/// What the registry encodes: everything but families that have no series yet.
fn scraped(registry: &Registry) -> BTreeMap<String, Metric> {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let (mut help, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap().1.trim_end_matches('.').to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            kind = rest.split_once(' ').unwrap().1.to_owned();
        } else if !line.starts_with('#') {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('='));
            let labels = labels.map(|(label, _)| label.to_owned()).collect();
            let metric = Metric { kind: kind.clone(), labels, help: help.clone() };
            metrics.insert(name.to_owned(), metric);
        }
    }
    metrics
}

/// The streams' metrics as their source registers them, with the labels of families that have no series yet.
fn registered(registry: &Registry) -> BTreeMap<String, Metric> {
    let source = read("control-plane/src/xds/server/metrics.rs");
    let structs = structs(&source);
    let fields = structs.get("XdsMetrics").unwrap();
    let mut metrics = BTreeMap::new();
    let described = format!("{registry:?}");
    for call in source.split("xds.register(").skip(1) {
        let mut parts = call.split('"');
        let (name, help) = (parts.nth(1).unwrap(), parts.nth(1).unwrap());
        let descriptor = format!("Descriptor {{ name: {name:?}, help: {:?}", format!("{help}."));
        assert!(described.contains(&descriptor), "{name} is not registered so");
        let field = call.split_once("metrics.").unwrap().1.split_once('.').unwrap().0;
        let field = fields.iter().find(|known| known.name == field).unwrap();
        let family = field.kind.strip_prefix("Family<").and_then(|kind| kind.strip_suffix('>'));
        let (labels, kind) = match family.and_then(|family| family.split_once(", ")) {
            Some((labels, kind)) => {
                (structs.get(labels).unwrap().iter().map(|l| l.name.clone()).collect(), kind)
            }
            None => (Vec::new(), field.kind.as_str()),
        };
        let kind = kind.to_lowercase();
        let suffix = if kind == "counter" { "_total" } else { "" };
        let metric = Metric { kind, labels, help: help.to_owned() };
        metrics.insert(format!("mesh_xds_{name}{suffix}"), metric);
    }
    assert_eq!(described.matches("Descriptor {").count(), metrics.len(), "{metrics:#?}");
    metrics
}

#[test]
fn the_metrics_documentation_is_current() {
    let registry = registry();
    let mut metrics = scraped(&registry);
    metrics.extend(registered(&registry));
    let mut text = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, Metric { kind, labels, help }) in &metrics {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        text.push_str(&format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(" ")));
    }
    check_generated("docs/metrics.md", &text);
}

#[test]
fn every_reason_for_the_end_of_a_stream_is_explained() {
    let source = read("control-plane/src/xds/server/metrics.rs");
    let reasons = source.split_once("impl Ended {").unwrap().1.split_once("\n}\n").unwrap().0;
    let documented = read("docs/metrics.md");
    for reason in reasons.split('"').skip(1).step_by(2) {
        assert!(documented.contains(&format!("| `{reason}` |")), "docs/metrics.md lacks {reason}");
    }
}
