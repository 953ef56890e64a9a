//! Conditions of rules and routes: what must hold of a record, compiled once.
//!
//! **Invariants**: what is absent from a record fulfils no condition; conditions of one table hold together, patterns of one
//! condition in the alternative.

use std::borrow::Cow;

use regex::Regex;
use service::config::Problems;

use crate::logs::entry::Fields;
use crate::logs::record::{Level, Origin, Record, Value};
use crate::logs::shape::rules::RawWhen;

/// What must hold.
#[derive(Debug, Default)]
pub(in crate::logs) struct Conditions(Vec<Test>);

#[derive(Debug)]
enum Test {
    Origin(Origin, Vec<Glob>),
    Journal(Box<str>, Regex),
    Field(Box<str>, Regex),
    Message(Regex),
    MinLevel(Level),
    MaxLevel(Level),
}

/// Text with `*` for any characters.
#[derive(Debug)]
struct Glob {
    parts: Vec<Box<str>>,
}

/// What may be asked at a place where conditions stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::logs) enum Scope {
    /// Before records are made: origins and fields of the journal.
    Early,
    /// Of records while their entry is at hand.
    Record,
    /// Of records alone.
    Route,
}

impl Conditions {
    /// Reads a table; problems are noted below `key`.
    pub(in crate::logs) fn resolve(
        raw: &RawWhen,
        key: &str,
        scope: Scope,
        problems: &mut Problems,
    ) -> Self {
        let mut tests: Vec<Test> = origins(raw)
            .filter_map(|(origin, patterns)| {
                let globs = patterns?.as_slice().iter().map(|pattern| Glob::new(pattern));
                Some(Test::Origin(origin, globs.collect()))
            })
            .collect();
        let mut regex =
            |name: &str, text: &str| problems.take(&format!("{key}.{name}"), compile(text));
        for (name, text) in &raw.journal {
            let compiled = regex(&format!("journal.{name}"), text);
            tests.extend(compiled.map(|regex| Test::Journal(name.as_str().into(), regex)));
        }
        for (name, text) in &raw.fields {
            let compiled = regex(&format!("fields.{name}"), text);
            tests.extend(compiled.map(|regex| Test::Field(name.as_str().into(), regex)));
        }
        if let Some(text) = &raw.message {
            tests.extend(regex("message", text).map(Test::Message));
        }
        tests.extend(raw.min_level.map(Test::MinLevel));
        tests.extend(raw.max_level.map(Test::MaxLevel));
        let is_late = |test: &Test| !matches!(test, Test::Origin(..) | Test::Journal(..));
        if scope == Scope::Early && tests.iter().any(is_late) {
            let message = "multiline, json and level_word apply before there is a record: only names and `journal` can be asked";
            problems.add(key, message);
        }
        if scope == Scope::Route && !raw.journal.is_empty() {
            let message =
                "fields of the journal are gone by then: keep the field and ask for it in `fields`";
            problems.add(format!("{key}.journal"), message);
        }
        Self(tests)
    }

    /// Whether nothing is asked.
    pub(in crate::logs) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all holds. `entry`: the fields of the record's first entry, where they are at hand.
    pub(in crate::logs) fn hold(&self, record: &Record, entry: Option<&Fields>) -> bool {
        self.0.iter().all(|test| test.holds(record, entry))
    }
}

impl Test {
    fn holds(&self, record: &Record, entry: Option<&Fields>) -> bool {
        match self {
            Self::Origin(origin, globs) => record
                .origin(*origin)
                .is_some_and(|value| globs.iter().any(|glob| glob.fits(value))),
            Self::Journal(name, regex) => entry.is_some_and(|fields| {
                let mut own = fields.iter().filter(|(own, _)| **own == **name);
                own.any(|(_, value)| regex.is_match(&String::from_utf8_lossy(value)))
            }),
            Self::Field(name, regex) => {
                find(record, name).is_some_and(|value| matches(value, regex))
            }
            Self::Message(regex) => record.message().is_some_and(|text| regex.is_match(text)),
            Self::MinLevel(level) => record.level.is_some_and(|own| own >= *level),
            Self::MaxLevel(level) => record.level.is_some_and(|own| own <= *level),
        }
    }
}

/// The field of this name, else `a.b` as `b` of the map `a`.
fn find<'r>(record: &'r Record, name: &str) -> Option<Value<'r>> {
    record.get(name).or_else(|| {
        let mut path = name.split('.');
        path.clone().nth(1)?;
        let first = record.get(path.next()?)?;
        path.try_fold(first, |value, key| match value {
            Value::Map(map) => map.iter().find_map(|(own, value)| (own == key).then_some(value)),
            _ => None,
        })
    })
}

fn matches(value: Value<'_>, regex: &Regex) -> bool {
    let text: Cow<'_, str> = match value {
        Value::Text(text) => text.into(),
        Value::Bool(value) => value.to_string().into(),
        Value::Integer(value) => value.to_string().into(),
        Value::Unsigned(value) => value.to_string().into(),
        Value::Float(value) => value.to_string().into(),
        Value::List(list) => return list.iter().any(|value| matches(value, regex)),
        Value::Null | Value::Map(_) => return false,
    };
    regex.is_match(&text)
}

/// A regular expression of a rule.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        // The crate draws the place in several lines; its last one says what is wrong.
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("{text:?} is no regular expression: {last}")
    })
}

fn origins(raw: &RawWhen) -> impl Iterator<Item = (Origin, Option<&super::Patterns>)> {
    let patterns = |origin| match origin {
        Origin::System => &raw.system,
        Origin::Service => &raw.service,
        Origin::Track => &raw.track,
        Origin::Instance => &raw.instance,
        Origin::Namespace => &raw.namespace,
        Origin::Job => &raw.job,
        Origin::Group => &raw.group,
        Origin::Task => &raw.task,
        Origin::Container => &raw.container,
        Origin::Image => &raw.image,
        Origin::Host => &raw.host,
        Origin::Unit => &raw.unit,
        Origin::Identifier => &raw.identifier,
        Origin::Stream => &raw.stream,
    };
    Origin::ALL.into_iter().map(move |origin| (origin, patterns(origin).as_ref()))
}

impl Glob {
    fn new(pattern: &str) -> Self {
        Self { parts: pattern.split('*').map(Into::into).collect() }
    }

    fn fits(&self, text: &str) -> bool {
        let (first, rest) = match self.parts.as_slice() {
            [whole] => return text == &**whole,
            [first, rest @ ..] => (first, rest),
            [] => return false,
        };
        let (Some(text), Some((last, middle))) = (text.strip_prefix(&**first), rest.split_last())
        else {
            return false;
        };
        let Some(mut text) = text.strip_suffix(&**last) else { return false };
        for part in middle {
            match text.split_once(&**part) {
                Some((_, after)) => text = after,
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, fits) in [
            ("orders", "orders", true),
            ("orders", "orders-2", false),
            ("*", "", true),
            ("orders-*", "orders-", true),
            ("*-gateway", "trading-gateway", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("ab*b", "ab", false),
            ("a**", "a", true),
        ] {
            assert_eq!(Glob::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_bad_expression_says_what_is_wrong() {
        let message = compile("a(b").unwrap_err();
        assert_eq!(message, "\"a(b\" is no regular expression: unclosed group");
    }
}
