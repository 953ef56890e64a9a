//! `meshctl lint`: each rule with a job that keeps it and one that breaks it, the page of rules, the jobs of `jobs/`.
//!
//! The good job of every rule is a file of `jobs/`, in which nothing is found. The bad one is the same file with an
//! edit; what is found in it is committed below `tests/golden/lint/`.

mod breaches;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lab::parts::real_part_or_skip;
use meshctl::lint::report::{self, Finding, Style};
use meshctl::lint::rules::RULES;
use meshctl::lint::source::Source;
use meshctl::lint::{lint, page};

use self::breaches::BREACHES;
use crate::support::{assert_golden, meshctl};

const MAX_KILL_TIMEOUT: Duration = Duration::from_secs(30);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("jobs")
}

fn text(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap()
}

/// Every job file of `jobs/`.
fn jobs() -> Vec<String> {
    let names = std::fs::read_dir(folder()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".nomad.hcl")).collect();
    names.sort();
    assert!(names.len() >= 6, "{names:?}");
    names
}

fn findings(name: &str, text: String) -> Vec<Finding> {
    lint(&Source { name: name.to_owned(), text }, &BTreeMap::new(), MAX_KILL_TIMEOUT)
}

#[test]
fn each_rule_finds_what_breaks_it_and_nothing_else_does() {
    let mut seen = BTreeSet::new();
    for breach in BREACHES {
        let mut changed = text(breach.file);
        for (from, to) in breach.edits {
            assert!(changed.contains(from), "{}: {} has no {from:?}", breach.name, breach.file);
            changed = changed.replace(from, to);
        }
        let found = findings(breach.file, changed);
        let loud = found.iter().filter(|one| one.silenced.is_none()).map(|one| one.rule);
        let loud: BTreeSet<&str> = loud.collect();
        assert_eq!(loud, breach.rules.iter().copied().collect(), "{}: {found:#?}", breach.name);
        let style = Style { has_color: false, width: 100 };
        let report = report::text(&[(breach.file.to_owned(), found)], style);
        let edits = breach.edits.iter().map(|(from, to)| format!("- {from}\n+ {to}\n"));
        let edits: String = edits.collect();
        assert_golden(&format!("lint/{}.txt", breach.name), &format!("{edits}\n{report}"));
        seen.extend(breach.rules);
    }
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(rules, seen, "every rule has a job that breaks it");
}

/// The service's job with Nomad's own registry: what it says to the mesh are tags.
fn with_tags(tags: &str, canary_tags: &str) -> String {
    let job = text("service.nomad.hcl");
    let (before, rest) = job.split_once("      tags = [").unwrap();
    let (_, after) = rest.split_once("      # Through the sidecar:").unwrap();
    format!(
        "{before}      provider = \"nomad\"\n      tags = [{tags}]\n      canary_tags = [{canary_tags}]\n\n      #{after}"
    )
}

#[test]
fn what_nomads_own_services_say_to_the_mesh_is_read_from_their_tags() {
    const STABLE: &str =
        r#""v1", "mesh_system=${var.system}", "mesh_stats=${NOMAD_HOST_PORT_stats}""#;
    const CANARY: &str =
        r#""mesh_system=trading", "mesh_stats=${NOMAD_HOST_PORT_stats}", "mesh_track=canary""#;
    let said = |tags: &str, canary_tags: &str| -> Vec<String> {
        let found = findings("orders.nomad.hcl", with_tags(tags, canary_tags));
        found.into_iter().map(|one| format!("{}: {}", one.rule, one.message)).collect()
    };
    assert_eq!(said(STABLE, CANARY), [""; 0]);
    assert_eq!(
        said(STABLE, r#""mesh_system=trading""#),
        [
            "canary-track: service \"orders\" has canary_tags without mesh_track = canary",
            "meta-canary: canary_tags lacks mesh_stats",
        ]
    );
    assert_eq!(
        said(r#""v1""#, r#""v1""#),
        [
            "meta-missing: service \"orders\" stands behind the Envoy \"envoy\" and is not in the mesh"
        ]
    );
    // What is not known is said, and not judged.
    let rules = said("var.tags", "var.tags");
    assert!(rules.iter().all(|one| one.starts_with("unknown: ")) && !rules.is_empty(), "{rules:?}");
}

#[tokio::test]
async fn the_jobs_of_this_repository_break_no_rule_with_either_driver() {
    let files: Vec<String> =
        jobs().iter().map(|name| folder().join(name).display().to_string()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    for driver in ["docker", "exec"] {
        let driver = format!("driver={driver}");
        let flags = ["lint", "--deny-warnings", "--var", &driver];
        let outcome = meshctl(&[&flags, files.as_slice()].concat()).await;
        assert_eq!(outcome.exit_code(), 0, "{}", outcome.out);
    }
}

#[test]
fn the_jobs_variables_are_typed_and_described() {
    for name in jobs() {
        let text = text(&name);
        for block in text.split("\nvariable ").skip(1) {
            let block = block.split("\n}").next().unwrap();
            assert!(block.contains("\n  type "), "{name}: {block}");
            assert!(block.contains("\n  description = \""), "{name}: {block}");
        }
    }
}

#[test]
fn a_real_nomad_finds_the_jobs_valid() {
    let Some(nomad) = real_part_or_skip("a_real_nomad_finds_the_jobs_valid", "nomad") else {
        return;
    };
    for name in jobs() {
        for driver in ["docker", "exec"] {
            let mut command = Command::new(&nomad);
            command.args(["job", "validate"]);
            if text(&name).contains("variable \"driver\"") {
                command.args(["-var", &format!("driver={driver}")]);
            }
            let output = command.arg(folder().join(&name)).output().unwrap();
            assert!(output.status.success(), "{name}: {output:?}");
        }
    }
}

#[test]
fn the_page_of_rules_is_current() {
    const BEGIN: &str = "<!-- generated: begin -->\n";
    const END: &str = "<!-- generated: end -->\n";
    let file = folder().parent().unwrap().join("docs/lint.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (committed, after) = rest.split_once(END).unwrap();
    let tables = format!("\n{}\n\n", page::tables().trim());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, format!("{before}{BEGIN}{tables}{END}{after}")).unwrap();
        return;
    }
    assert!(committed == tables, "docs/lint.md is not current; UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn a_file_cut_off_anywhere_is_a_finding_and_nothing_worse() {
    for name in jobs() {
        let text = text(&name);
        let ends = (0..text.len()).step_by(61);
        for head in ends.filter_map(|end| text.get(..end)) {
            assert!(!findings(&name, head.to_owned()).is_empty(), "{name}: {head}");
        }
    }
}

#[tokio::test]
async fn what_hangs_on_a_variable_is_judged_with_the_value_that_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.nomad.hcl");
    let of_default = "  default     = \"trading\"\n";
    std::fs::write(&file, text("service.nomad.hcl").replace(of_default, "")).unwrap();
    let values = folder.path().join("values.hcl");
    std::fs::write(&values, "system = \"portfolio\"\ncontrol_planes = [\"10.0.0.5:18000\"]\n")
        .unwrap();
    let (file, values) = (file.display().to_string(), values.display().to_string());
    let strict = ["lint", "--deny-warnings", &file];
    for (flags, code, said) in [
        (vec![], 1, "not let through: errors 0, warnings 3"),
        (vec!["--var", "system=trading"], 0, ""),
        (vec!["--var-file", &values], 0, ""),
        (vec!["--var", "system=Trading"], 1, "not let through: errors "),
        (vec!["--var", "sistem=trading"], 2, "no file declares a variable \"sistem\""),
        (vec!["--var", "system"], 2, "write NAME=VALUE"),
        (vec!["--var-file", "/no/such/file"], 2, "cannot read /no/such/file"),
    ] {
        let outcome = meshctl(&[strict.as_slice(), flags.as_slice()].concat()).await;
        assert_eq!(outcome.exit_code(), code, "{flags:?}: {}", outcome.out);
        assert!(code == 0 || outcome.failure().contains(said), "{outcome:?}");
    }
    let outcome = meshctl(&["lint", &file]).await;
    assert_eq!(outcome.exit_code(), 0, "warnings alone do not fail: {}", outcome.out);
}

#[tokio::test]
async fn programs_get_every_finding_with_its_reason_and_silenced_ones_with_theirs() {
    let file = folder().join("control-plane.nomad.hcl").display().to_string();
    let outcome = meshctl(&["lint", "-o", "json", &file]).await;
    let found: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    let one = &found.as_array().unwrap()[0];
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!((&one["rule"], &one["level"]), (&"static-port".into(), &"error".into()));
    assert_eq!(one["text"], "      port \"xds\" {");
    assert!(one["silenced"].as_str().unwrap().starts_with("proxies find"), "{one}");
    assert!(one["why"].is_string() && one["fix"].is_string() && one["line"].is_u64(), "{one}");
}
