//! Rules of the repository that no compiler checks.
//!
//! In: the files of this checkout and cargo's own description of the workspace. Each rule lists all its breaches.
//!
//! | module | rules about |
//! |---|---|
//! | [`sources`] | Rust files: headers, orphans, the spine's imports, length, tests that hide |
//! | [`pages`] | Markdown: links |
//! | [`dependencies`] | what is linked: sources, versions, licences |
//!
//! Deliberately absent: whatever clippy or rustfmt can say.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod dependencies;
mod pages;
mod sources;

use std::path::{Path, PathBuf};

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file with this extension, by its path from the root, with its text.
fn files(extension: &str) -> Vec<(PathBuf, String)> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if path.is_dir() {
                if !is_hidden && name != "target" && name != "node_modules" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|own| own == extension) {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// Fails with all breaches of a rule.
fn none(breaches: &[String], rule: &str) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}
