//! Markdown pages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{files, none, root};

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in files("md") {
        let folder = root().join(path.parent().unwrap_or(Path::new("")));
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&path) } else { folder.join(file) };
            let leads = match heading {
                "" => target.exists(),
                _ => std::fs::read_to_string(&target)
                    .is_ok_and(|page| anchors(&page).contains(heading)),
            };
            if !leads {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    none(
        &broken,
        "a relative link names a file of this repository, and a heading that the file has",
    );
}

/// What a page's headings are called in links, as GitHub calls them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut is_code, mut seen) = (false, BTreeMap::new());
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let title = line.trim_start_matches('#');
        if is_code || title == line || !title.starts_with(' ') {
            continue;
        }
        let mut anchor = title.trim().to_lowercase().replace(' ', "-");
        anchor.retain(|letter| letter.is_alphanumeric() || letter == '-' || letter == '_');
        let times = seen.entry(anchor.clone()).and_modify(|times| *times += 1).or_insert(0);
        anchors.insert(if *times == 0 { anchor } else { format!("{anchor}-{times}") });
    }
    anchors
}

/// The targets of `[text](target)` outside code.
fn links(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut links = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Every second piece is between backticks.
        for piece in line.split('`').step_by(2) {
            let targets = piece.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            links.extend(targets);
        }
        // A link whose text is code: its target begins a piece.
        let pieces = line.split('`').step_by(2).skip(1);
        links.extend(pieces.filter_map(|piece| piece.strip_prefix("](")?.split(')').next()));
    }
    links.sort_unstable();
    links.dedup();
    links
}

#[test]
fn links_are_found_beside_code_and_not_in_it() {
    let text = "[a](one.md) `[b](two.md)` [`c`](three.md#part)\n```\n[d](four.md)\n```\n";
    assert_eq!(links(text), ["one.md", "three.md#part"]);
}

#[test]
fn headings_are_called_as_a_browser_finds_them() {
    let text = "# The `[logs.shape]` table\n## Consul's rules\n## A: b, c\n```\n# no\n```\n## A: b, c\n#no\n";
    let called = ["a-b-c", "a-b-c-1", "consuls-rules", "the-logsshape-table"];
    assert_eq!(anchors(text), called.map(str::to_owned).into());
}
