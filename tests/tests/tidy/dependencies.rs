//! What is linked.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::{none, root};

/// Of these a second version would mean two incompatible worlds in one process.
const ONE_VERSION: [&str; 5] = ["axum", "hyper", "prost", "rustls", "tonic"];

/// Licences that go with Apache-2.0 and ask for no more than a notice.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn locked() -> Vec<toml::Table> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let packages = lock.get("package").and_then(toml::Value::as_array).unwrap();
    packages.iter().filter_map(|package| package.as_table().cloned()).collect()
}

fn text<'a>(package: &'a toml::Table, key: &str) -> &'a str {
    package.get(key).and_then(toml::Value::as_str).unwrap_or_default()
}

#[test]
fn everything_comes_from_the_registry() {
    let from_git = locked().into_iter().filter(|package| text(package, "source").contains("git+"));
    let from_git: Vec<String> = from_git.map(|package| text(&package, "name").to_owned()).collect();
    none(&from_git, "no dependency is a git checkout");
}

#[test]
fn the_large_ones_are_there_once() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in locked() {
        let version = text(&package, "version").to_owned();
        versions.entry(text(&package, "name").to_owned()).or_default().insert(version);
    }
    let twice = versions
        .into_iter()
        .filter(|(name, all)| ONE_VERSION.contains(&name.as_str()) && all.len() > 1);
    let twice: Vec<String> = twice.map(|(name, all)| format!("{name}: {all:?}")).collect();
    none(&twice, "one version of each of these");
}

#[test]
fn every_licence_is_allowed() {
    // What other platforms would need is not here to be read.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &platform])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata.get("packages").and_then(Value::as_array).unwrap();
    let word = |package: &Value, key: &str| {
        package.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let refused = packages.iter().filter(|package| !is_allowed(&word(package, "license")));
    let refused: Vec<String> = refused
        .map(|package| format!("{}: {:?}", word(package, "name"), word(package, "license")))
        .collect();
    none(&refused, "a licence is one of ALLOWED");
}

/// Whether an SPDX expression leaves a choice that is allowed. `AND` binds closer than `OR`.
fn is_allowed(expression: &str) -> bool {
    // An old way to write OR.
    let expression = expression.replace('/', " OR ");
    any(&expression, " OR ", |choice| {
        !any(choice, " AND ", |part| {
            let part = part.trim();
            let inner = part.strip_prefix('(').and_then(|part| part.strip_suffix(')'));
            !inner.map_or_else(|| ALLOWED.contains(&part), is_allowed)
        })
    })
}

/// Whether one of the pieces between separators, outside parentheses, is so.
fn any(expression: &str, separator: &str, is_so: impl Fn(&str) -> bool) -> bool {
    let mut begin = 0;
    for (at, _) in expression.match_indices(separator) {
        let before = expression.get(begin..at).unwrap_or_default();
        if before.matches('(').count() == before.matches(')').count() {
            if is_so(before) {
                return true;
            }
            begin = at + separator.len();
        }
    }
    is_so(expression.get(begin..).unwrap_or_default())
}

#[test]
fn an_expression_is_allowed_when_one_choice_of_it_is() {
    for allowed in
        ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-3.0) AND Unicode-3.0", "(ISC)"]
    {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0"] {
        assert!(!is_allowed(refused), "{refused}");
    }
}
