//! One pass over an entry's fields: which of them mean something to the shaper, and which are sent as they are.
//!
//! What a name comes to is decided once and remembered, because the same thirty names come with every entry.

use std::hash::{BuildHasherDefault, Hasher};

use crate::logs::entry::Fields;
use crate::logs::shape::rules::Choice;

/// More names than these are decided anew each time: somebody makes them up.
const MOST_NAMES: usize = 4096;

/// Fields that the shaper reads, in the names of journald, Docker and the reader of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Known {
    Message,
    MessageId,
    Priority,
    Transport,
    SourceTime,
    Hostname,
    SystemdUnit,
    Unit,
    ObjectUnit,
    Pid,
    Uid,
    Identifier,
    Comm,
    Dropped,
    ContainerId,
    ContainerName,
    Image,
    PartialId,
    PartialOrdinal,
    PartialLast,
    LogEpoch,
    LogOrdinal,
    Allocation,
    Namespace,
    JobName,
    JobId,
    Group,
    Task,
    Stream,
    Remark,
}

const KNOWN: usize = Known::Remark as usize + 1;

impl Known {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "MESSAGE" => Self::Message,
            "MESSAGE_ID" => Self::MessageId,
            "PRIORITY" => Self::Priority,
            "_TRANSPORT" => Self::Transport,
            "_SOURCE_REALTIME_TIMESTAMP" => Self::SourceTime,
            "_HOSTNAME" => Self::Hostname,
            "_SYSTEMD_UNIT" => Self::SystemdUnit,
            "UNIT" => Self::Unit,
            "OBJECT_SYSTEMD_UNIT" => Self::ObjectUnit,
            "_PID" => Self::Pid,
            "_UID" => Self::Uid,
            "SYSLOG_IDENTIFIER" => Self::Identifier,
            "_COMM" => Self::Comm,
            "N_DROPPED" => Self::Dropped,
            "CONTAINER_ID_FULL" => Self::ContainerId,
            "CONTAINER_NAME" => Self::ContainerName,
            "IMAGE_NAME" => Self::Image,
            "CONTAINER_PARTIAL_ID" => Self::PartialId,
            "CONTAINER_PARTIAL_ORDINAL" => Self::PartialOrdinal,
            "CONTAINER_PARTIAL_LAST" => Self::PartialLast,
            "CONTAINER_LOG_EPOCH" => Self::LogEpoch,
            "CONTAINER_LOG_ORDINAL" => Self::LogOrdinal,
            "COM_HASHICORP_NOMAD_ALLOC_ID" | "NOMAD_ALLOC_ID" => Self::Allocation,
            "COM_HASHICORP_NOMAD_NAMESPACE" | "NOMAD_NAMESPACE" => Self::Namespace,
            "COM_HASHICORP_NOMAD_JOB_NAME" | "NOMAD_JOB_NAME" => Self::JobName,
            "COM_HASHICORP_NOMAD_JOB_ID" | "NOMAD_JOB_ID" => Self::JobId,
            "COM_HASHICORP_NOMAD_TASK_GROUP_NAME" | "NOMAD_GROUP_NAME" => Self::Group,
            "COM_HASHICORP_NOMAD_TASK_NAME" | "NOMAD_TASK" => Self::Task,
            "NOMAD_STREAM" => Self::Stream,
            "AYATORI_READ" => Self::Remark,
            _ => return None,
        })
    }
}

/// What a name comes to.
#[derive(Debug, Clone, Copy)]
struct Meaning {
    known: Option<Known>,
    /// Its place in [`Names::sent`].
    sent: Option<u32>,
}

/// The names that were seen so far, for one set of rules.
#[derive(Debug, Default)]
pub(super) struct Names {
    #[expect(clippy::disallowed_types, reason = "looked up for every field, never iterated")]
    meanings: std::collections::HashMap<Box<str>, Meaning, BuildHasherDefault<NameHasher>>,
    sent: Vec<Box<str>>,
}

/// xxh3 of the name; the terminator that `str` adds needs no mixing.
#[derive(Debug, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }

    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Names {
    /// Forgets all names: the rules are others now.
    pub(super) fn clear(&mut self) {
        self.meanings.clear();
        self.sent.clear();
    }

    /// The name under which a field is sent.
    pub(super) fn sent(&self, place: u32) -> &str {
        self.sent.get(place as usize).map(AsRef::as_ref).unwrap_or_default()
    }

    fn meaning(&mut self, name: &str, choice: &Choice) -> Meaning {
        if let Some(meaning) = self.meanings.get(name) {
            return *meaning;
        }
        let known = Known::from_name(name);
        let sent = match known {
            Some(Known::Message) => None,
            _ => choice.sent(name).map(|sent| match sent == name && choice.is_reserved(sent) {
                // journald lets no such name in; who writes journal files can.
                true => self.place(&format!("journal_{sent}")),
                false => self.place(sent),
            }),
        };
        let meaning = Meaning { known, sent };
        if self.meanings.len() < MOST_NAMES {
            self.meanings.insert(name.into(), meaning);
        }
        meaning
    }

    fn place(&mut self, sent: &str) -> u32 {
        let place = self.sent.iter().position(|known| **known == *sent).unwrap_or_else(|| {
            self.sent.push(sent.into());
            self.sent.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }
}

/// Where an entry's fields stand.
#[derive(Debug)]
pub(super) struct Scan {
    /// The first of each known field.
    known: [u32; KNOWN],
    /// Fields that are sent as they are, and their places in [`Names`].
    pub(super) sent: Vec<(u32, u32)>,
    /// Messages after the first.
    pub(super) more_messages: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl Default for Scan {
    fn default() -> Self {
        Self { known: [ABSENT; KNOWN], sent: Vec::new(), more_messages: Vec::new() }
    }
}

impl Scan {
    /// Reads the fields of another entry.
    pub(super) fn read(&mut self, fields: &Fields, names: &mut Names, choice: &Choice) {
        self.known = [ABSENT; KNOWN];
        self.sent.clear();
        self.more_messages.clear();
        for (index, (name, _)) in (0_u32..).zip(fields.iter()) {
            let meaning = names.meaning(name, choice);
            if let Some(known) = meaning.known
                && let Some(place) = self.known.get_mut(known as usize)
            {
                if *place == ABSENT {
                    *place = index;
                } else if known == Known::Message {
                    self.more_messages.push(index);
                }
            }
            if let Some(sent) = meaning.sent {
                self.sent.push((index, sent));
            }
        }
    }

    /// The first value of a known field.
    pub(super) fn get<'f>(&self, fields: &'f Fields, known: Known) -> Option<&'f [u8]> {
        let place = *self.known.get(known as usize)?;
        if place == ABSENT {
            return None;
        }
        Some(fields.at(place as usize)?.1)
    }

    /// The same as text, where it is text and says something.
    pub(super) fn text<'f>(&self, fields: &'f Fields, known: Known) -> Option<&'f str> {
        std::str::from_utf8(self.get(fields, known)?).ok().filter(|text| !text.is_empty())
    }

    /// The same as a number.
    pub(super) fn number(&self, fields: &Fields, known: Known) -> Option<u64> {
        self.text(fields, known)?.parse().ok()
    }
}
