//! Lines that are JSON objects become fields.
//!
//! Every value is read as the text that it is, so numbers keep their digits (see [`crate::logs::record`]), and a key that comes
//! several times keeps all its values, in a list.
//!
//! **Invariants**: a line that is no JSON object, or exceeds a bound, stays a line; a value nested too deep stays JSON text;
//! a key never takes a name of the platform's.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::logs::record::{Level, Record};
use crate::logs::shape::rules::Choice;
use crate::logs::shape::text::Marks;

/// Longest line that is read as JSON, bytes.
pub(super) const MOST_BYTES: usize = 256 * 1024;
/// Most keys of an object.
const MOST_KEYS: usize = 256;
/// Deepest map or list.
const MOST_DEPTH: usize = 16;

/// Keys that hold the message, the best first: the words of many loggers.
const MESSAGE_KEYS: [&str; 4] = ["message", "msg", "@message", "short_message"];
/// Keys that hold the level.
const LEVEL_KEYS: [&str; 9] = [
    "level",
    "severity",
    "lvl",
    "loglevel",
    "log.level",
    "levelname",
    "@level",
    "severity_text",
    "log_level",
];

/// A JSON object in a line.
#[derive(Debug)]
pub(super) struct Object<'j> {
    pairs: Vec<(Cow<'j, str>, &'j RawValue)>,
}

/// What a line is.
#[derive(Debug)]
pub(super) enum Line<'j> {
    Text,
    /// It looks like an object and exceeds a bound.
    TooLarge,
    Object(Object<'j>),
}

/// What an object says of its record.
#[derive(Debug, Default)]
pub(super) struct Said<'j> {
    pub(super) message: Option<Cow<'j, str>>,
    pub(super) level: Option<(Level, Cow<'j, str>)>,
    /// The keys that said it; they are no fields beside it.
    taken: [Option<usize>; 2],
}

/// Reads a line.
pub(super) fn read(line: &str) -> Line<'_> {
    let trimmed = line.trim_ascii();
    if !trimmed.starts_with('{') || !trimmed.ends_with('}') {
        return Line::Text;
    }
    if trimmed.len() > MOST_BYTES {
        return Line::TooLarge;
    }
    match serde_json::from_str(trimmed) {
        Ok(object) => Line::Object(object),
        Err(error) if error.to_string().starts_with(TOO_MANY) => Line::TooLarge,
        Err(_) => Line::Text,
    }
}

impl<'j> Object<'j> {
    /// Finds message and level.
    pub(super) fn said(&self) -> Said<'j> {
        let mut said = Said::default();
        let find = |name: &str| self.pairs.iter().position(|(key, _)| key == name);
        for name in MESSAGE_KEYS {
            if let Some(place) = find(name)
                && let Some(text) = self.raw(place).and_then(text)
            {
                said.message = Some(text);
                said.taken[0] = Some(place);
                break;
            }
        }
        for name in LEVEL_KEYS {
            if let Some(place) = find(name)
                && let Some(level) = self.raw(place).and_then(level)
            {
                said.level = Some(level);
                said.taken[1] = Some(place);
                return said;
            }
        }
        // Elastic's common schema nests it.
        let nested = find("log").and_then(|place| self.raw(place));
        let nested = nested.and_then(|raw| serde_json::from_str::<Object<'j>>(raw).ok());
        said.level = nested.and_then(|log| {
            let (_, raw) = log.pairs.iter().find(|(key, _)| key == "level")?;
            level(raw.get())
        });
        said
    }

    fn raw(&self, place: usize) -> Option<&'j str> {
        self.pairs.get(place).map(|(_, raw)| raw.get())
    }

    /// Adds its keys as fields, but for those that `said` took. A name that the platform has, or that `is_sent` says another
    /// field has, gets `json_` before it, until it is free.
    pub(super) fn merge(
        &self,
        said: &Said<'_>,
        choice: &Choice,
        is_sent: &dyn Fn(&str) -> bool,
        record: &mut Record,
        marks: &mut Marks,
    ) {
        let mut made: Vec<String> = Vec::new();
        let is_taken = |place| said.taken.contains(&Some(place));
        let has_repeats = self.has_repeats();
        let has_key = |name: &str| self.pairs.iter().any(|(key, _)| key == name);
        for (place, (key, raw)) in self.pairs.iter().enumerate() {
            if is_taken(place) || (has_repeats && self.is_repeat(place, &is_taken)) {
                continue;
            }
            let mut name = Cow::Borrowed(choice.renamed(key));
            let is_renamed = *name != **key;
            let clashes = |name: &str| {
                choice.is_reserved(name) || is_sent(name) || made.iter().any(|own| own == name)
            };
            if clashes(&name) || (is_renamed && has_key(&name)) {
                while clashes(&name) || has_key(&name) {
                    name = Cow::Owned(format!("json_{name}"));
                }
                marks.add_of("renamed", key);
                made.push(name.clone().into_owned());
            } else if is_renamed {
                made.push(name.clone().into_owned());
            }
            record.name(&name);
            match has_repeats {
                true => self.write_all(place, 1, &is_taken, record, marks),
                false => write(raw.get(), 1, record, marks),
            }
        }
    }

    /// Adds it as one field.
    pub(super) fn under(&self, name: &str, record: &mut Record, marks: &mut Marks) {
        record.name(name);
        self.write(1, record, marks);
    }

    fn write(&self, depth: usize, record: &mut Record, marks: &mut Marks) {
        let map = record.begin_map();
        let has_repeats = self.has_repeats();
        let mut count = 0;
        for (place, (key, raw)) in self.pairs.iter().enumerate() {
            if has_repeats && self.is_repeat(place, &|_| false) {
                continue;
            }
            record.name(key);
            match has_repeats {
                true => self.write_all(place, depth + 1, &|_| false, record, marks),
                false => write(raw.get(), depth + 1, record, marks),
            }
            count += 1;
        }
        record.end(map, count);
    }

    fn has_repeats(&self) -> bool {
        (1..self.pairs.len()).any(|place| self.is_repeat(place, &|_| false))
    }

    /// Whether the key at `place` came before, among those that are not left out.
    fn is_repeat(&self, place: usize, is_left_out: &dyn Fn(usize) -> bool) -> bool {
        let Some((key, _)) = self.pairs.get(place) else { return false };
        let mut before = self.pairs.iter().take(place).enumerate();
        before.any(|(place, (own, _))| own == key && !is_left_out(place))
    }

    /// Adds the value of the key at `place`, or the list of its values when it comes again.
    fn write_all(
        &self,
        place: usize,
        depth: usize,
        is_left_out: &dyn Fn(usize) -> bool,
        record: &mut Record,
        marks: &mut Marks,
    ) {
        let Some((key, _)) = self.pairs.get(place) else { return };
        let values = self.pairs.iter().enumerate().skip(place);
        let values = values.filter(|(place, (own, _))| own == key && !is_left_out(*place));
        let values: Vec<&str> = values.map(|(_, (_, raw))| raw.get()).collect();
        if let [one] = values.as_slice() {
            return write(one, depth, record, marks);
        }
        marks.add_of("repeated_key", key);
        let list = record.begin_list();
        for value in &values {
            write(value, depth + 1, record, marks);
        }
        record.end(list, values.len());
    }
}

/// Adds a value. `depth`: how many maps and lists it stands in.
fn write(raw: &str, depth: usize, record: &mut Record, marks: &mut Marks) {
    match raw.as_bytes().first() {
        Some(b'"') => match text(raw) {
            Some(text) => record.text(&text),
            // Half a surrogate pair, which no UTF-8 can hold: the text stays escaped.
            None => {
                marks.add("json_escaped");
                record.text(raw.trim_matches('"'));
            }
        },
        Some(b't') => record.bool(true),
        Some(b'f') => record.bool(false),
        Some(b'n') => record.null(),
        Some(open @ (b'{' | b'[')) => {
            if depth > MOST_DEPTH || !write_inner(raw, *open == b'{', depth, record, marks) {
                marks.add("json_not_parsed");
                record.text(raw);
            }
        }
        _ => {
            if !record.number(raw) {
                marks.add("number_as_text");
            }
        }
    }
}

/// Adds a map or list; `false`: it exceeds a bound, and nothing was added.
fn write_inner(
    raw: &str,
    is_map: bool,
    depth: usize,
    record: &mut Record,
    marks: &mut Marks,
) -> bool {
    if is_map {
        let Ok(object) = serde_json::from_str::<Object<'_>>(raw) else { return false };
        object.write(depth, record, marks);
        return true;
    }
    let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(raw) else { return false };
    let list = record.begin_list();
    for value in &values {
        write(value.get(), depth + 1, record, marks);
    }
    record.end(list, values.len());
    true
}

/// The text of a JSON string.
fn text(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.starts_with('"') {
        return None;
    }
    // Most strings hold no escape; then the text lies between the quotes.
    match raw.get(1..raw.len().checked_sub(1)?)? {
        inner if !inner.contains('\\') => Some(Cow::Borrowed(inner)),
        _ => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
    }
}

/// The level that a value means, and how it is written.
fn level(raw: &str) -> Option<(Level, Cow<'_, str>)> {
    match text(raw) {
        Some(word) => Some((Level::from_word(&word)?, word)),
        None => Some((Level::from_number(raw.parse().ok()?)?, Cow::Borrowed(raw))),
    }
}

const TOO_MANY: &str = "more keys than are read";

impl<'de: 'j, 'j> Deserialize<'de> for Object<'j> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(16);
                while let Some((Key(key), value)) = map.next_entry()? {
                    if pairs.len() == MOST_KEYS {
                        return Err(A::Error::custom(TOO_MANY));
                    }
                    pairs.push((key, value));
                }
                Ok(Object { pairs })
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A key, borrowed from the line unless it holds escapes.
struct Key<'j>(Cow<'j, str>);

impl<'de: 'j, 'j> Deserialize<'de> for Key<'j> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
