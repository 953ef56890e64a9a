//! Named cases: `tests/golden/CASE/{input.json,rules.toml,output.json}`. `UPDATE_GOLDEN=1` writes the outputs anew.
//!
//! `input.json` is what `journalctl -o json --all` prints, `output.json` what `host-agent test-rules -o json` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_agent::logs::route::{RawRoute, Routes};
use host_agent::logs::shape::{RawRule, RawShape, Rules};
use host_agent::logs::test_rules::{Trial, expect::lines, input, instances};
use serde::Deserialize;
use service::config::Problems;
use similar::TextDiff;

/// `rules.toml`: the agent's tables, and what a trial is given beside them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    logs: RawLogs,
    destinations: Vec<String>,
    instances: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLogs {
    shape: RawShape,
    rules: Vec<RawRule>,
    routes: Vec<RawRoute>,
}

fn output(folder: &Path) -> String {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let case: Case = toml::from_str(&read("rules.toml")).unwrap();
    let mut problems = Problems::default();
    let rules = Rules::resolve(&case.logs.shape, &case.logs.rules, &mut problems);
    let names: Vec<&str> = case.destinations.iter().map(String::as_str).collect();
    let routes = Routes::resolve(&case.logs.routes, &names, &mut problems);
    let (rules, routes) = problems.finish(Some(folder), Some((Arc::new(rules), routes))).unwrap();
    let text = read("input.json");
    let entries: Vec<_> =
        lines(&text).map(|(number, line)| input::entry(line, number).unwrap()).collect();
    let given = case.instances.iter().map(|(id, who)| (id.as_str(), who.as_str()));
    let outcomes = Trial::new(&rules, &routes, names).run(&entries, &instances(given).unwrap());
    let outcomes = outcomes.iter().flatten();
    outcomes.map(|outcome| serde_json::to_string(outcome).unwrap() + "\n").collect()
}

#[test]
fn every_case_has_its_output() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folders = std::fs::read_dir(&golden).unwrap().map(|folder| folder.unwrap().path());
    let mut cases: Vec<PathBuf> = folders.filter(|path| path.join("rules.toml").exists()).collect();
    cases.sort();
    assert!(cases.len() >= 8, "{} has {} cases", golden.display(), cases.len());
    let mut differences = vec![];
    for case in cases {
        let (actual, file) = (output(&case), case.join("output.json"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &actual).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if actual != expected {
            let diff = TextDiff::from_lines(&expected, &actual);
            differences.push(format!("{}\n{}", case.display(), diff.unified_diff()));
        }
    }
    assert!(differences.is_empty(), "UPDATE_GOLDEN=1 rewrites:\n{}", differences.join("\n"));
}
