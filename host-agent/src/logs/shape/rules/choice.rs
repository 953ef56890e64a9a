//! Which fields are sent, and under which names.
//!
//! Fields of the journal are sent unless a pattern leaves them out; the longest pattern that fits a name decides, `keep` wins
//! a tie. Built-in patterns leave out what journald, Docker and systemd add to every entry. The platform's own fields
//! are sent unless `leave_out` names them.

use std::collections::{BTreeMap, BTreeSet};

use service::config::Problems;

use crate::logs::record::Origin;
use crate::logs::shape::rules::RawShape;

/// Noise to those who read logs; what of it means something is among the platform's fields.
const NOISE: [&str; 15] = [
    "_*",
    "AYATORI_*",
    "CODE_*",
    "COM_HASHICORP_NOMAD_*",
    "CONTAINER_*",
    "COREDUMP_*",
    "IMAGE_NAME",
    "INVOCATION_ID",
    "NOMAD_*",
    "OBJECT_*",
    "PRIORITY",
    "SYSLOG_*",
    "TID",
    "UNIT",
    "USER_*",
];

/// A field that the platform makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::logs::shape) enum Own {
    Message,
    MessageBase64,
    MoreMessages,
    Level,
    LevelOriginal,
    Origin(Origin),
    TruncatedBytes,
    ObservedTime,
    RecordId,
    Marks,
}

impl Own {
    fn all() -> impl Iterator<Item = Self> {
        let first = [
            Self::Message,
            Self::MessageBase64,
            Self::MoreMessages,
            Self::TruncatedBytes,
            Self::Level,
            Self::LevelOriginal,
        ];
        let last = [Self::ObservedTime, Self::RecordId, Self::Marks];
        first.into_iter().chain(Origin::ALL.map(Self::Origin)).chain(last)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::MessageBase64 => "message_base64",
            Self::MoreMessages => "more_messages",
            Self::Level => "level",
            Self::LevelOriginal => "level_original",
            Self::Origin(origin) => origin.name(),
            Self::TruncatedBytes => "truncated_bytes",
            Self::ObservedTime => "observed_time",
            Self::RecordId => "record_id",
            Self::Marks => "marks",
        }
    }
}

/// Which fields are sent, and how they are called.
#[derive(Debug)]
pub(in crate::logs) struct Choice {
    /// The platform's fields that are sent, with their names.
    own: Vec<(Own, Box<str>)>,
    keep: Vec<String>,
    leave_out: Vec<String>,
    rename: BTreeMap<String, String>,
    /// Names that nothing else may take.
    reserved: BTreeSet<Box<str>>,
}

impl Choice {
    pub(super) fn resolve(raw: &RawShape, problems: &mut Problems) -> Self {
        for (key, patterns) in [("keep", &raw.keep), ("leave_out", &raw.leave_out)] {
            for pattern in patterns {
                if pattern.is_empty() || pattern.trim_end_matches('*').contains('*') {
                    let message =
                        format!("{pattern:?}: write a name, or a beginning followed by *");
                    problems.add(format!("logs.shape.{key}"), message);
                }
            }
        }
        if raw.leave_out.iter().any(|name| name == "message") {
            problems.add("logs.shape.leave_out", "the message is always sent: drop the record");
        }
        let renamed = |name: &str| raw.rename.get(name).map_or(name, String::as_str).into();
        let own: Vec<(Own, Box<str>)> = Own::all()
            .filter(|own| !raw.leave_out.iter().any(|name| name == own.name()))
            .map(|own| (own, renamed(own.name())))
            .collect();
        let mut reserved: BTreeSet<Box<str>> = Own::all().map(|own| own.name().into()).collect();
        let mut taken = BTreeSet::new();
        for (own, name) in &own {
            if !taken.insert(name.clone()) || name.is_empty() {
                let key = format!("logs.shape.rename.{}", own.name());
                problems.add(key, format!("{name:?} is the name of another field, or empty"));
            }
        }
        reserved.extend(taken);
        let is_own = |name: &str| Own::all().any(|own| own.name() == name);
        let mut targets = BTreeSet::new();
        let renames = raw.rename.iter().filter(|(from, _)| !is_own(from));
        let renames = renames.map(|(from, to)| (format!("rename.{from}"), to));
        for (key, name) in renames.chain(raw.set.keys().map(|name| (format!("set.{name}"), name))) {
            let message = match name {
                name if reserved.contains(name.as_str()) => "the platform's own field",
                name if !targets.insert(name.as_str()) => "the name of another field",
                name if !name.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                    "without a lower-case letter, as names in the journal are"
                }
                _ => continue,
            };
            let message = format!("{name:?} is {message}: choose another name");
            problems.add(format!("logs.shape.{key}"), message);
        }
        reserved.extend(raw.set.keys().map(|name| name.as_str().into()));
        Self {
            own,
            keep: raw.keep.clone(),
            leave_out: raw.leave_out.clone(),
            rename: raw.rename.clone(),
            reserved,
        }
    }

    /// The name under which a field of the journal is sent, if it is.
    pub(in crate::logs::shape) fn sent<'n>(&'n self, name: &'n str) -> Option<&'n str> {
        let longest = |patterns: &mut dyn Iterator<Item = &str>| {
            patterns.filter(|pattern| fits(pattern, name)).map(str::len).max()
        };
        let keep = longest(&mut self.keep.iter().map(String::as_str)).unwrap_or(0);
        let noise = longest(&mut NOISE.into_iter());
        let leave_out = longest(&mut self.leave_out.iter().map(String::as_str)).max(noise);
        if leave_out.is_some_and(|leave_out| leave_out > keep) {
            return None;
        }
        Some(self.renamed(name))
    }

    /// The name that `rename` gives.
    pub(in crate::logs::shape) fn renamed<'n>(&'n self, name: &'n str) -> &'n str {
        if self.rename.is_empty() {
            return name;
        }
        self.rename.get(name).map_or(name, String::as_str)
    }

    /// Whether the platform or a constant has this name.
    pub(in crate::logs::shape) fn is_reserved(&self, name: &str) -> bool {
        self.reserved.contains(name)
    }

    /// Whether neither the platform nor a field of the journal can have this name.
    pub(super) fn is_free(&self, name: &str) -> bool {
        !self.is_reserved(name)
            && !self.rename.values().any(|own| own == name)
            && name.bytes().any(|byte| byte.is_ascii_lowercase())
    }

    /// The platform's fields in the order in which they are sent.
    pub(in crate::logs::shape) fn own(&self) -> &[(Own, Box<str>)] {
        &self.own
    }
}

/// Whether a pattern fits: a name, or a beginning and `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pattern_decides() {
        let raw = RawShape {
            keep: vec!["_PID".into(), "CODE_*".into(), "X_A*".into()],
            leave_out: vec!["X_*".into(), "CODE_FUNC".into()],
            rename: BTreeMap::from([("_PID".into(), "pid".into())]),
            ..RawShape::default()
        };
        let mut problems = Problems::default();
        let choice = Choice::resolve(&raw, &mut problems);
        problems.finish(None, Some(())).unwrap();
        for (name, sent) in [
            ("ORDER", Some("ORDER")),
            ("_PID", Some("pid")),
            ("_UID", None),
            ("CODE_FILE", Some("CODE_FILE")),
            ("CODE_FUNC", None),
            ("X_B", None),
            ("X_A", Some("X_A")),
            ("PRIORITY", None),
        ] {
            assert_eq!(choice.sent(name), sent, "{name}");
        }
    }
}
