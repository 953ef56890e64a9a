//! The published schema's verdict on a document, in words that name what was found and what would be right.
//!
//! In: the document as JSON. Out: problems. Called by `document.rs`.
//!
//! **Invariants**: what the schema refuses is refused here, and nothing else is.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde_json::Value;

use super::{Findings, KeyPath, Step};
use crate::duration::SpanError;
use crate::keys::{self, FolderError};
use crate::name::NameError;
use crate::schema;

static SCHEMA: LazyLock<Value> = LazyLock::new(schema::value);

/// `None` only if the schema were not one, which a test excludes.
static VALIDATOR: LazyLock<Option<Validator>> =
    LazyLock::new(|| jsonschema::validator_for(&SCHEMA).ok());

/// Adds a problem for everything that the schema refuses.
pub(super) fn check(document: &Value, findings: &mut Findings<'_>) {
    let Some(validator) = VALIDATOR.as_ref() else {
        return findings.add(&KeyPath::default(), "the schema of documents cannot be compiled");
    };
    for error in validator.iter_errors(document) {
        explain(&error, document, findings);
    }
}

fn explain(error: &ValidationError<'_>, document: &Value, findings: &mut Findings<'_>) {
    let path = key_path(error, document);
    let found = error.instance();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_keys(error);
            for key in unexpected {
                findings.add(&path.clone().key(key), unknown_key(key, &known));
            }
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            findings.add(&path.key(key), "is missing");
        }
        ValidationErrorKind::Type { kind } => {
            findings
                .add(&path, format!("expected {}, found {}", type_words(kind), describe(found)));
        }
        ValidationErrorKind::Pattern { pattern } => findings.add(&path, bad_text(pattern, found)),
        ValidationErrorKind::Minimum { limit } => {
            findings.add(&path, format!("expected {limit} or more, found {found}"));
        }
        ValidationErrorKind::Maximum { limit } => {
            findings.add(&path, format!("expected {limit} or less, found {found}"));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            explain_choice(&path, found, context, document, findings);
        }
        _ => findings.add(&path, error.to_string()),
    }
}

/// No alternative fits: speaks of the one that was meant when that can be seen, else of all.
fn explain_choice(
    path: &KeyPath,
    found: &Value,
    choices: &[Vec<ValidationError<'static>>],
    document: &Value,
    findings: &mut Findings<'_>,
) {
    let is_inside = |error: &&ValidationError<'_>| key_path(error, document).0.len() > path.0.len();
    let meant: Vec<_> =
        choices.iter().filter(|errors| errors.iter().all(|e| is_inside(&e))).collect();
    if let [errors] = meant.as_slice() {
        return errors.iter().for_each(|error| explain(error, document, findings));
    }
    let (mut words, mut keys, mut types) = (Vec::new(), BTreeSet::new(), Vec::new());
    for error in choices.iter().flatten() {
        match error.kind() {
            ValidationErrorKind::Constant { expected_value } => {
                words.extend(expected_value.as_str())
            }
            ValidationErrorKind::Required { property } => keys.extend(property.as_str()),
            ValidationErrorKind::Type { kind } => types.push(type_words(kind)),
            _ => {}
        }
    }
    let found_words = describe(found);
    if !words.is_empty() {
        let hint = found.as_str().map_or(String::new(), |word| did_you_mean(word, &words));
        let expected = if words.len() == 1 { "expected" } else { "expected one of" };
        findings.add(path, format!("{expected} {}, found {found_words}{hint}", words.join(", ")));
    } else if let Value::Object(object) = found {
        // Each alternative is one key; the ones it lacks are those that the other alternatives name.
        for error in choices.iter().flatten() {
            keys.extend(known_keys(error));
        }
        let known: Vec<&str> = keys.into_iter().collect();
        let unknown: Vec<_> = object.keys().filter(|key| !known.contains(&key.as_str())).collect();
        for key in &unknown {
            findings.add(&path.clone().key(key), unknown_key(key, &known));
        }
        if unknown.is_empty() {
            findings.add(path, format!("expected exactly one of the keys {}", known.join(", ")));
        }
    } else {
        types.dedup();
        findings.add(path, format!("expected {}, found {found_words}", types.join(" or ")));
    }
}

fn key_path(error: &ValidationError<'_>, document: &Value) -> KeyPath {
    let mut path = KeyPath::default();
    let mut value = Some(document);
    for part in error.instance_path().as_str().split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        match (value, part.parse::<usize>()) {
            (Some(Value::Array(items)), Ok(index)) => {
                value = items.get(index);
                path.0.push(Step::Index(index));
            }
            (object, _) => {
                value = object.and_then(|object| object.get(&part));
                path.0.push(Step::Key(part));
            }
        }
    }
    path
}

/// The keys that the part of the schema at fault knows.
fn known_keys(error: &ValidationError<'_>) -> Vec<&'static str> {
    let keyword = error.schema_path().as_str();
    let parent = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
    let keys = SCHEMA.pointer(parent).and_then(|schema| schema.get("properties"));
    keys.and_then(Value::as_object)
        .into_iter()
        .flat_map(|keys| keys.keys())
        .map(String::as_str)
        .collect()
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return NameError { value: key.to_owned() }.to_string();
    }
    let hint = did_you_mean(key, known);
    match hint.is_empty() {
        true => format!("unknown key; known here: {}", known.join(", ")),
        false => format!("unknown key{hint}"),
    }
}

fn did_you_mean(word: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|other| (distance(word, other), *other)).min();
    match nearest {
        Some((distance, other)) if distance <= 1 + other.len() / 3 => {
            format!("; did you mean {other}?")
        }
        _ => String::new(),
    }
}

/// Levenshtein distance; bounded, because keys come from outside.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            *cell = replaced.min(diagonal + 1).min(left + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

fn bad_text(pattern: &str, found: &Value) -> String {
    let value = found.as_str().unwrap_or_default().to_owned();
    if pattern.contains("(ms|s|m|h)") {
        SpanError { value }.to_string()
    } else if pattern.contains(r"(\*\.)?") {
        format!("{value:?} is not a host name: lower case, no port; *. may stand before it")
    } else if pattern.contains(keys::ROOT) {
        FolderError { value }.to_string()
    } else {
        NameError { value }.to_string()
    }
}

fn type_words(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => type_word(*kind).to_owned(),
        TypeKind::Multiple(kinds) => kinds.iter().map(type_word).collect::<Vec<_>>().join(" or "),
    }
}

const fn type_word(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "keys",
        JsonType::String => "text",
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing: write a value or take the key out".to_owned(),
        Value::Bool(value) => format!("{value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 40 => "a long text".to_owned(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "keys".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_compiles() {
        assert!(VALIDATOR.is_some());
    }

    #[test]
    fn the_nearest_known_key_is_offered_when_it_is_near() {
        assert_eq!(did_you_mean("timeuot", &["retries", "timeout"]), "; did you mean timeout?");
        assert_eq!(did_you_mean("colour", &["retries", "timeout"]), "");
    }
}
