//! The late part of rules: what is done to a record, in the order of the rules, until one drops it.

use std::borrow::Cow;

use regex::Regex;
use service::config::Problems;
use xxhash_rust::xxh3::xxh3_64;

use super::conditions::compile;
use super::{Choice, RawRule, Rules};
use crate::logs::entry::{Fields, RecordId};
use crate::logs::record::Record;
use crate::logs::shape::text::Marks;

/// What a rule does to a record.
#[derive(Debug)]
pub(super) struct Late {
    redact: Vec<Regex>,
    replacement: Box<str>,
    set: Vec<(Box<str>, Box<str>)>,
    remove: Vec<Box<str>>,
    rename: Vec<(Box<str>, Box<str>)>,
    fate: Fate,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Stay,
    Drop,
    OneIn(u32),
}

impl Late {
    pub(super) fn resolve(
        raw: &RawRule,
        key: &str,
        choice: &Choice,
        problems: &mut Problems,
    ) -> Option<Self> {
        let redact: Vec<Regex> = raw
            .redact
            .iter()
            .filter_map(|pattern| {
                let regex = problems.take(&format!("{key}.redact"), compile(pattern))?;
                if regex.is_match("") {
                    let message = format!("{pattern:?} matches nothing at all, and so everywhere");
                    problems.add(format!("{key}.redact"), message);
                }
                Some(regex)
            })
            .collect();
        for name in raw.set.keys().chain(raw.rename.values()) {
            if name.is_empty() || choice.is_reserved(name) {
                let message = format!(
                    "{name:?} is the platform's own field, a constant, or empty: choose another"
                );
                problems.add(key, message);
            }
        }
        let fate = match (raw.drop, raw.keep_one_in) {
            (false, None) => Fate::Stay,
            (true, None) => Fate::Drop,
            (false, Some(count)) if count >= 2 => Fate::OneIn(count),
            (false, Some(_)) => {
                problems.add(format!("{key}.keep_one_in"), "at least 2");
                Fate::Stay
            }
            (true, Some(_)) => {
                problems.add(key, "either drop or keep_one_in");
                Fate::Drop
            }
        };
        let is_nothing = raw.redact.is_empty()
            && raw.set.is_empty()
            && raw.remove.is_empty()
            && raw.rename.is_empty()
            && matches!(fate, Fate::Stay);
        let pair = |(from, to): (&String, &String)| (from.as_str().into(), to.as_str().into());
        (!is_nothing).then(|| Self {
            redact,
            replacement: format!("[redacted:{}]", raw.name).into(),
            set: raw.set.iter().map(pair).collect(),
            remove: raw.remove.iter().map(|name| name.as_str().into()).collect(),
            rename: raw.rename.iter().map(pair).collect(),
            fate,
        })
    }

    fn change(&self, rule: &str, record: &mut Record, marks: &mut Marks) {
        if !self.redact.is_empty() && self.redact(record) {
            marks.add_of("redacted", rule);
            // The original bytes would tell what was redacted.
            let originals: Vec<String> = record
                .fields()
                .filter(|(name, _)| name.ends_with("_base64"))
                .map(|(name, _)| name.to_owned())
                .collect();
            for name in originals {
                record.remove(&name);
                marks.add_of("removed", &name);
            }
        }
        for name in &self.remove {
            record.remove(name);
        }
        for (from, to) in &self.rename {
            if record.has(from) && !record.rename(from, to) {
                marks.add_of("not_renamed", from);
            }
        }
        for (name, value) in &self.set {
            record.remove(name);
            record.name(name);
            record.text(value);
        }
    }

    fn redact(&self, record: &mut Record) -> bool {
        record.rewrite(|text| {
            let mut text = Cow::Borrowed(text);
            for regex in &self.redact {
                if let Cow::Owned(replaced) =
                    regex.replace_all(&text, regex::NoExpand(&self.replacement))
                {
                    text = Cow::Owned(replaced);
                }
            }
            match text {
                Cow::Borrowed(_) => None,
                Cow::Owned(text) => Some(text),
            }
        })
    }
}

impl Rules {
    /// Applies all rules to a record; the name of the rule that dropped it.
    pub(in crate::logs::shape) fn apply(
        &self,
        record: &mut Record,
        entry: &Fields,
        marks: &mut Marks,
    ) -> Option<&str> {
        for rule in &self.rules {
            let Some(late) = &rule.late else { continue };
            if !rule.is_for(record, Some(entry)) {
                continue;
            }
            match late.fate {
                Fate::Drop => return Some(&rule.name),
                Fate::OneIn(count) if !is_sampled(record.id, count) => return Some(&rule.name),
                Fate::Stay | Fate::OneIn(_) => late.change(&rule.name, record, marks),
            }
        }
        None
    }
}

/// Whether a record is the one of `count`: the same answer for every destination, and again after a restart.
fn is_sampled(id: RecordId, count: u32) -> bool {
    let mut bytes = [0; 24];
    let (sequence, number) = bytes.split_at_mut(16);
    sequence.copy_from_slice(&id.sequence.to_be_bytes());
    number.copy_from_slice(&id.number.to_be_bytes());
    xxh3_64(&bytes).is_multiple_of(u64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_about_its_share_and_always_the_same() {
        let sampled = |sequence| {
            let ids = (0..100_000).map(|number| RecordId { sequence, number });
            ids.filter(|id| is_sampled(*id, 10)).count()
        };
        assert!((9_500..10_500).contains(&sampled(1)), "{}", sampled(1));
        assert_eq!(sampled(7), sampled(7));
    }
}
