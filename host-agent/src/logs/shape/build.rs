//! A line becomes a record: text, JSON, level, names, chosen fields, and the marks of what was altered.
//!
//! In: an entry with its scan and the record in which its origins were written; the message when it was joined of several.
//! Out: the record, complete but for its marks, which the rules add to.

use crate::logs::entry::{Entry, Fields};
use crate::logs::record::{Level, Record, Rfc3339};
use crate::logs::shape::fields::{Known, Names, Scan};
use crate::logs::shape::join::Joined;
use crate::logs::shape::json::{self, Line, Object, Said};
use crate::logs::shape::level;
use crate::logs::shape::rules::{Handling, Own, RawJson, Rules};
use crate::logs::shape::text::{self, Clean, Marks};

/// How far an entry's own time may lie from the journal's before both are sent.
const SKEW_NS: u64 = 1_000_000_000;

/// A line: the first entry of a record, and what was joined to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineOf<'l> {
    pub(super) entry: &'l Entry,
    /// The message, where it is not the entry's.
    pub(super) message: Option<&'l [u8]>,
    pub(super) joined: Joined,
}

/// The shaper's memory for names and fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'s> {
    pub(super) scan: &'s Scan,
    pub(super) names: &'s Names,
}

/// When a line was written, nanoseconds since the epoch: what the writer's host stamped, else when the source took it.
pub(super) fn time_ns(entry: &Entry, scan: &Scan) -> u64 {
    let sent = scan.number(&entry.fields, Known::SourceTime);
    sent.unwrap_or(entry.realtime_us).saturating_mul(1000)
}

/// Adds the fields.
pub(super) fn fields(
    line: LineOf<'_>,
    seen: Seen<'_>,
    rules: &Rules,
    record: &mut Record,
    marks: &mut Marks,
) {
    let fields = &line.entry.fields;
    let handling = rules.handling(record, fields);
    record.entries = line.joined.entries;
    line.joined.mark(marks);
    if let Some(remark) = seen.scan.text(fields, Known::Remark) {
        marks.add_of("read", remark);
    }
    let bytes = line.message.or_else(|| seen.scan.get(fields, Known::Message)).unwrap_or_default();
    let kept = text::cut(bytes, rules.limits.message_bytes);
    let cut = line.joined.cut + (bytes.len() - kept.len()) as u64;
    if cut > 0 {
        marks.add("truncated");
    }
    let Clean { text: message, original } = text::message(kept, handling.strip_colours, marks);
    let object = object(&message, handling, marks);
    let said = object.as_ref().map(Object::said).unwrap_or_default();
    let level = find_level(&said, seen.scan, fields, handling, &message);
    record.level = level.map(|(level, _)| level);
    for (own, name) in rules.choice.own() {
        match own {
            Own::Message => record.add_message(name, said.message.as_deref().unwrap_or(&message)),
            Own::MessageBase64 => optional(record, name, original.as_deref()),
            Own::MoreMessages => more_messages(seen.scan, fields, name, record, marks),
            Own::Level => own_text(record, name, level.map(|(level, _)| level.as_str())),
            Own::LevelOriginal => {
                let other =
                    level.filter(|(level, word)| !level.as_str().eq_ignore_ascii_case(word));
                optional(record, name, other.map(|(_, word)| word));
            }
            Own::Origin(origin) => record.add_origin(name, *origin),
            Own::TruncatedBytes if cut > 0 => {
                record.name(name);
                record.unsigned(cut);
            }
            Own::ObservedTime => observed_time(line.entry, name, record),
            Own::RecordId => {
                record.name(name);
                record.own(record.id);
            }
            // The marks come when the rules have added theirs.
            Own::TruncatedBytes | Own::Marks => {}
        }
    }
    sent_fields(seen, fields, rules, record, marks);
    match (&object, handling.json) {
        (Some(object), RawJson::Under(name)) => object.under(name, record, marks),
        (Some(object), _) => {
            let is_sent = |name: &str| {
                let name = name.strip_suffix("_base64").unwrap_or(name);
                seen.scan.sent.iter().any(|(_, place)| seen.names.sent(*place) == name)
            };
            object.merge(&said, &rules.choice, &is_sent, record, marks);
        }
        (None, _) => {}
    }
    for (name, value) in &rules.set {
        record.name(name);
        record.text(value);
    }
}

/// Adds what was done to the record, as its last field.
pub(super) fn marks(rules: &Rules, record: &mut Record, marks: &Marks) {
    if marks.iter().len() == 0 {
        return;
    }
    let Some((_, name)) = rules.choice.own().iter().find(|(own, _)| *own == Own::Marks) else {
        return;
    };
    record.name(name);
    let list = record.begin_list();
    for mark in marks.iter() {
        record.own(mark);
    }
    record.end(list, marks.iter().len());
}

fn object<'m>(message: &'m str, handling: Handling<'_>, marks: &mut Marks) -> Option<Object<'m>> {
    if *handling.json == RawJson::Off {
        return None;
    }
    match json::read(message) {
        Line::Object(object) => Some(object),
        Line::TooLarge => {
            marks.add("json_not_parsed");
            None
        }
        Line::Text => None,
    }
}

/// JSON's, else syslog's, else the line's.
fn find_level<'m>(
    said: &'m Said<'_>,
    scan: &Scan,
    fields: &Fields,
    handling: Handling<'_>,
    message: &'m str,
) -> Option<(Level, &'m str)> {
    let said = said.level.as_ref().map(|(level, word)| (*level, word.as_ref()));
    said.or_else(|| level::from_priority(scan, fields))
        .or_else(|| level::from_words(message).filter(|_| handling.level_word))
}

fn optional(record: &mut Record, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        record.name(name);
        record.text(value);
    }
}

fn own_text(record: &mut Record, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        record.name(name);
        record.own(value);
    }
}

/// A program may say `MESSAGE` several times; the first one is the message.
fn more_messages(scan: &Scan, fields: &Fields, name: &str, record: &mut Record, marks: &mut Marks) {
    if scan.more_messages.is_empty() {
        return;
    }
    record.name(name);
    let list = record.begin_list();
    for index in &scan.more_messages {
        let bytes = fields.at(*index as usize).map(|(_, value)| value).unwrap_or_default();
        record.text(&text::value(bytes, name, marks).text);
    }
    record.end(list, scan.more_messages.len());
}

/// The journal's time, where the record has another.
fn observed_time(entry: &Entry, name: &str, record: &mut Record) {
    let observed = entry.realtime_us.saturating_mul(1000);
    if observed.abs_diff(record.time_ns) > SKEW_NS {
        record.name(name);
        record.own(Rfc3339(observed));
    }
}

/// Adds the journal's fields that are sent; one that comes several times as a list.
fn sent_fields(
    seen: Seen<'_>,
    fields: &Fields,
    rules: &Rules,
    record: &mut Record,
    marks: &mut Marks,
) {
    let most = rules.limits.message_bytes;
    let all = &seen.scan.sent;
    let value = |index: u32, name: &str, record: &mut Record, marks: &mut Marks| {
        let bytes = fields.at(index as usize).map(|(_, value)| value).unwrap_or_default();
        let kept = text::cut(bytes, most);
        if kept.len() < bytes.len() {
            marks.add_of("truncated", name);
        }
        let clean = text::value(kept, name, marks);
        record.text(&clean.text);
        clean.original
    };
    for (at, (index, place)) in all.iter().enumerate() {
        let is_same = |(_, other): &&(u32, u32)| other == place;
        if all.iter().take(at).any(|before| is_same(&before)) {
            continue;
        }
        let name = seen.names.sent(*place);
        let count = all.iter().skip(at).filter(is_same).count();
        record.name(name);
        if count == 1 {
            if let Some(original) = value(*index, name, record, marks) {
                record.name(&format!("{name}_base64"));
                record.text(&original);
            }
            continue;
        }
        let list = record.begin_list();
        let mut originals = Vec::new();
        for (index, _) in all.iter().skip(at).filter(is_same) {
            originals.extend(value(*index, name, record, marks));
        }
        record.end(list, count);
        if !originals.is_empty() {
            record.name(&format!("{name}_base64"));
            let list = record.begin_list();
            originals.iter().for_each(|original| record.text(original));
            record.end(list, originals.len());
        }
    }
}
