//! Rust files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{files, none};

/// Lines before a file's own tests.
const LONGEST: usize = 600;

/// The stages of the control plane in the order of the data; each may import those before it.
const SPINE: [&str; 4] = ["registry", "catalog", "mesh", "xds"];
/// What wires the stages: above all of them.
const WIRING: [&str; 4] = ["app", "api", "cli", "config"];

/// A file's lines with neither comments nor its own tests, numbered from one.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn every_file_says_first_what_it_is() {
    let silent = files("rs").into_iter().filter(|(_, text)| !text.starts_with("//!"));
    let silent: Vec<String> = silent.map(|(path, _)| path.display().to_string()).collect();
    none(&silent, "a file begins with //!: what comes in, what goes out, who calls");
}

#[test]
fn every_file_belongs_to_a_crate() {
    let (files, manifests) = (files("rs"), files("toml"));
    let manifests = manifests.iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
    let packages: Vec<PathBuf> =
        manifests.filter_map(|(path, _)| path.parent().map(Path::to_owned)).collect();
    let is_root = |path: &Path| is_crate_root(path, &packages);
    let known: BTreeSet<&Path> = files.iter().map(|(path, _)| path.as_path()).collect();
    let mut reached: BTreeSet<PathBuf> = BTreeSet::new();
    let mut open: Vec<PathBuf> =
        known.iter().filter(|path| is_root(path)).map(|path| path.to_path_buf()).collect();
    while let Some(path) = open.pop() {
        let text = files.iter().find(|(own, _)| *own == path).map(|(_, text)| text.as_str());
        for module in text.unwrap_or_default().lines().filter_map(declared_module) {
            let folder = path.parent().unwrap_or(Path::new(""));
            let folder = if is_root(&path) { folder.to_owned() } else { path.with_extension("") };
            open.push(folder.join(format!("{module}.rs")));
        }
        reached.insert(path);
    }
    let orphans = known.into_iter().filter(|path| !reached.contains(*path));
    let orphans: Vec<String> = orphans.map(|path| path.display().to_string()).collect();
    none(&orphans, "a file is declared as a module, or removed");
}

/// Whether cargo starts to read a crate at this file.
fn is_crate_root(path: &Path, packages: &[PathBuf]) -> bool {
    let inside = packages.iter().filter_map(|package| path.strip_prefix(package).ok());
    let inside: Vec<&str> = inside
        .min_by_key(|rest| rest.components().count())
        .map(|rest| rest.iter().filter_map(|part| part.to_str()).collect())
        .unwrap_or_default();
    matches!(
        inside.as_slice(),
        ["build.rs"]
            | ["src", "lib.rs" | "main.rs"]
            | ["src", "bin", _]
            | ["tests" | "benches" | "examples" | "fuzz_targets", _]
            | ["tests" | "benches" | "examples", _, "main.rs"]
    )
}

fn declared_module(line: &str) -> Option<&str> {
    let line = line.trim();
    let restricted = line.strip_prefix("pub(").and_then(|rest| Some(rest.split_once(") ")?.1));
    let line = restricted.or(line.strip_prefix("pub ")).unwrap_or(line);
    line.strip_prefix("mod ")?.strip_suffix(';')
}

#[test]
fn imports_of_the_control_plane_go_down_the_spine() {
    let mut breaches = Vec::new();
    for (path, text) in files("rs") {
        let Ok(inside) = path.strip_prefix("control-plane/src") else { continue };
        let first = inside.components().next().map(|part| part.as_os_str().to_string_lossy());
        let stage = first.as_deref().map(|part| part.trim_end_matches(".rs")).unwrap_or_default();
        let Some(rank) = SPINE.iter().position(|known| *known == stage) else { continue };
        let forbidden: Vec<&str> = SPINE.into_iter().skip(rank + 1).chain(WIRING).collect();
        for (number, line) in code(&text) {
            let is_breach = |other: &&&str| {
                let named = format!("crate::{other}");
                line.split_once(&named).is_some_and(|(_, rest)| {
                    !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
                })
            };
            if let Some(other) = forbidden.iter().find(is_breach) {
                breaches.push(format!("{}:{number}: {stage} imports {other}", path.display()));
            }
        }
    }
    none(&breaches, "registry ← catalog ← mesh ← xds, and none of them knows the wiring");
}

#[test]
fn only_xds_speaks_envoy_s_types() {
    let mut breaches = Vec::new();
    for (path, text) in files("rs") {
        let Ok(inside) = path.strip_prefix("control-plane/src") else { continue };
        if inside.starts_with("xds") || inside == Path::new("xds.rs") {
            continue;
        }
        let named = code(&text)
            .filter(|(_, line)| line.contains("envoy_types") || line.contains("prost::"));
        breaches.extend(named.map(|(number, _)| format!("{}:{number}", path.display())));
    }
    none(&breaches, "envoy_types and prost are named below xds/ only");
}

#[test]
fn one_module_calls_c() {
    // Put together here, so that this file does not break its own rule.
    let word = ["un", "safe"].concat();
    let calls_c = Path::new("host-agent/src/logs/read/journal/sys.rs");
    let mut breaches = Vec::new();
    for (path, text) in files("rs").into_iter().filter(|(path, _)| path != calls_c) {
        let openings = [
            format!("{word} {{"),
            format!("{word} fn"),
            format!("{word} impl"),
            format!("{word} extern"),
        ];
        let is_used = |line: &str| openings.iter().any(|opening| line.contains(opening.as_str()));
        let is_lifted = |line: &str| line.contains(&format!("{word}_code"));
        let used = text.lines().enumerate().filter(|(_, line)| {
            !line.trim_start().starts_with("//") && (is_used(line) || is_lifted(line))
        });
        breaches.extend(used.map(|(index, _)| format!("{}:{}", path.display(), index + 1)));
    }
    none(&breaches, "only the binding of libsystemd is without the compiler's guarantees");
}

#[test]
fn no_file_is_too_long_to_read_at_once() {
    let length = |text: &str| text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    let long = files("rs").into_iter().map(|(path, text)| (path, length(&text)));
    let long = long.filter(|(_, lines)| *lines > LONGEST);
    let long: Vec<String> =
        long.map(|(path, lines)| format!("{}: {lines} lines", path.display())).collect();
    none(&long, "a file has at most 600 lines before its tests");
}

#[test]
fn nothing_is_left_for_later_and_no_test_hides() {
    // Put together here, so that this file does not break its own rule.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["#[ign", "ore"], ["#[should_", "panic"]];
    let marks: Vec<String> = marks.iter().map(|halves| halves.concat()).collect();
    let mut breaches = Vec::new();
    for (path, text) in files("rs").into_iter().chain(files("toml")).chain(files("md")) {
        for (index, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(*mark)) {
                breaches.push(format!("{}:{}: {mark}", path.display(), index + 1));
            }
        }
    }
    none(&breaches, "what is missing is an issue; a test runs or says SKIP");
}
