//! What the documents show can be typed: commands parse, make targets exist, System documents are right.
//!
//! In: every Markdown file of the repository. Whether links lead somewhere is another test's question.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use contract::{document, schema};
use meshctl::cli::Cli;
use serde_json::Value;

const FOLDERS: [&str; 6] = ["", "control-plane", "docs", "docs/decisions", "jobs", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Markdown file with its text.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for folder in FOLDERS {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                pages.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(pages.len() > 5, "the documents are not where this test looks");
    pages
}

/// The fenced blocks of a page: language, text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

/// The code spans of a page outside its blocks.
fn spans(page: &str) -> Vec<&str> {
    let prose = page.split("\n```").step_by(2);
    prose.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

/// The lines of a block, those that end with a backslash joined with the next.
fn lines(block: &str) -> Vec<String> {
    block.replace("\\\n", " ").lines().map(str::to_owned).collect()
}

/// The words of a command as a shell would split them, up to a comment or the next command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in line.trim().trim_start_matches("$ ").chars().chain([' ']) {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, ' ') => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(letter),
        }
    }
    let is_end = |word: &String| word.starts_with('#') || ["|", ">", "&&", ";"].contains(&&**word);
    let end = words.iter().position(is_end).unwrap_or(words.len());
    words.truncate(end);
    let is_variable = |word: &&String| {
        word.split_once('=')
            .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
    };
    let variables = words.iter().take_while(is_variable).count();
    words.split_off(variables)
}

#[test]
fn every_meshctl_command_that_the_documents_show_can_be_typed() {
    let mut count = 0;
    for (page, text) in pages() {
        let shell = blocks(&text).into_iter().filter(|(language, _)| *language == "sh");
        for line in shell.flat_map(|(_, block)| lines(block)) {
            let words = words(&line);
            if words.first().is_some_and(|first| first == "meshctl") {
                count += 1;
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{page}: {line}\n{error}");
                }
            }
        }
    }
    assert!(count > 5, "only {count} commands were found");
}

#[test]
fn every_make_target_that_the_documents_name_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '.', '#']))
        .filter_map(|line| line.split_once(':'))
        .filter(|(_, rest)| !rest.starts_with('='))
        .flat_map(|(targets, _)| targets.split_whitespace())
        .collect();
    let mut count = 0;
    for (page, text) in pages() {
        let shown = blocks(&text).into_iter().flat_map(|(_, block)| lines(block));
        for line in shown.chain(spans(&text).into_iter().map(str::to_owned)) {
            let words = words(&line);
            let Some((first, rest)) = words.split_first() else { continue };
            if first != "make" {
                continue;
            }
            for target in rest.iter().filter(|word| !word.contains('=')) {
                count += 1;
                assert!(targets.contains(target.as_str()), "{page}: {line}: no target {target}");
            }
        }
    }
    assert!(count > 5, "only {count} targets were found");
}

#[test]
fn every_system_document_that_the_documents_show_is_right() {
    let mut count = 0;
    for (page, text) in pages() {
        for (_, block) in blocks(&text) {
            if block.starts_with("kind: System\n") {
                count += 1;
                if let Err(problems) = document::parse(block, None) {
                    panic!("{page}: {problems:?}");
                }
            }
        }
    }
    assert!(count > 0, "no System document was found");
}

#[test]
fn every_key_of_a_system_document_is_explained() {
    fn keys(schema: &Value, found: &mut BTreeSet<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            found.extend(properties.keys().cloned());
        }
        match schema {
            Value::Object(parts) => parts.values().for_each(|part| keys(part, found)),
            Value::Array(parts) => parts.iter().for_each(|part| keys(part, found)),
            _ => {}
        }
    }
    let schema: Value = serde_json::from_str(&schema::json_schema()).unwrap();
    let mut found = BTreeSet::new();
    keys(&schema, &mut found);
    let page = std::fs::read_to_string(root().join("docs/systems.md")).unwrap();
    let named: BTreeSet<&str> =
        spans(&page).into_iter().flat_map(|span| span.split(['.', ' ', ':'])).collect();
    let missing: Vec<_> = found.iter().filter(|key| !named.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "docs/systems.md does not explain {missing:?}");
}
