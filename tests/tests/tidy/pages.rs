//! Markdown pages.

use std::path::Path;

use crate::{files, none, root};

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in files("md") {
        let folder = root().join(path.parent().unwrap_or(Path::new("")));
        for link in links(&text) {
            let file = link.split(['#', '?']).next().unwrap_or_default();
            let is_relative = !link.contains("://") && !link.starts_with("mailto:");
            if is_relative && !file.is_empty() && !folder.join(file).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    none(&broken, "a relative link names a file of this repository");
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
