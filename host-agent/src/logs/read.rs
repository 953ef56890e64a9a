//! Stage 1: the host's journals and the files of Nomad's tasks, as [`crate::logs::entry::Entry`] after another, with what was lost between them.
//!
//! In: `[logs.journal]`, `[logs.files]`, the saved [`crate::logs::position::Positions`]. Out: for the pipeline's thread, a [`Reader`], which is not
//! for several threads: [`Reader::next`] until it says [`Step::End`], then [`Reader::wait`].
//!
//! Every source has a lasting name, the key of its saved position:
//!
//! | name | is |
//! |---|---|
//! | `journal` | the host's journal: `/run/log/journal` and `/var/log/journal`, system and users |
//! | `journal:NAME` | the journal namespace `NAME` |
//! | `file:ALLOCATION/TASK.stdout`, `…stderr` | what a task of Nomad writes, over all files of its rotation |
//! | `files` | no entries: its position says that files were looked for, so that what is found later is read from its beginning |
//!
//! Fields of an entry of the journal are journald's, byte by byte, in its order, whatever they hold. Fields of a file's line:
//!
//! | field | value |
//! |---|---|
//! | `MESSAGE` | the line without its newline; a `\r` before it stays |
//! | `NOMAD_ALLOC_ID`, `NOMAD_TASK` | from the path |
//! | `NOMAD_STREAM` | `stdout` or `stderr` |
//! | `CONTAINER_PARTIAL_MESSAGE` | `true`: a piece of a line longer than `line_bytes`, and not its last one |
//! | `CONTAINER_PARTIAL_ID` | of every piece of such a line: the name of the first piece |
//! | `CONTAINER_PARTIAL_ORDINAL` | of every piece: 1, 2, … |
//! | `CONTAINER_PARTIAL_LAST` | of every piece: `true` for the last one, else `false` |
//! | `AYATORI_READ` | absent, or a remark of this stage: [`REMARK_UNREADABLE`], [`REMARK_UNENDED`] |
//!
//! Long lines borrow the field names of Docker's journald driver, so that the next stage joins both in one way.
//!
//! **Invariants**: an entry is handed out once in a run, in the order of its source; reading goes on at the saved position or
//! says how much is missing; a source that fails is named and never ends or delays the others.
//! **Absent**: any meaning of the fields, and the decision when a position is saved.

pub mod config;
mod files;
pub mod journal;
mod reader;
mod sources;

use std::io;

pub use reader::{Reader, Waker};

use crate::logs::entry::SourceId;
use journal::LibraryError;

/// Name of the field with this stage's remarks.
pub const REMARK: &str = "AYATORI_READ";
/// A remark: at least one field of the entry lies in a damaged part of its file and is missing.
pub const REMARK_UNREADABLE: &str = "unreadable";
/// A remark: the file ended without a newline and is gone or followed by another; the line may be cut.
pub const REMARK_UNENDED: &str = "unended";

/// What [`Reader::next`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `entry` holds the next entry.
    Entry {
        /// It lies at or before the saved position: only records that were open then take it.
        again: bool,
    },
    /// `entry` holds the id and cursor of an entry that configuration leaves out, without its fields: the position moves over it.
    Skipped,
    /// Entries are gone that were never read. Reading goes on after them.
    Lost(Loss),
    /// The source will bring no more: its file is gone and was read to its end. Once that is delivered, its position can go.
    Ended(SourceId),
    /// There is nothing more for now: [`Reader::wait`].
    End,
}

/// What is missing between two entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Of which source.
    pub source: SourceId,
    /// Why.
    pub cause: LossCause,
    /// How many entries: from the journal's sequence numbers. `None`: it cannot be known.
    pub entries: Option<u64>,
    /// Fewer may be missing than `entries` says, because some of them were none that `matches` asks for.
    pub is_at_most: bool,
    /// How many bytes of a file, where that is known.
    pub bytes: Option<u64>,
}

/// Why entries are missing. A closed set: it labels a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossCause {
    /// journald deleted them before they were read (`SystemMaxUse` and the like, or an operator's vacuum).
    Vacuumed,
    /// The journal of the position is gone as a whole and another one is in its place.
    Replaced,
    /// A damaged journal file holds them.
    Damaged,
    /// A file was deleted before it was read to its end.
    Deleted,
    /// A file was cut before it was read to its end.
    Truncated,
}

impl LossCause {
    /// Its name as a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vacuumed => "vacuumed",
            Self::Replaced => "replaced",
            Self::Damaged => "damaged",
            Self::Deleted => "deleted",
            Self::Truncated => "truncated",
        }
    }
}

/// Why reading does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The library is missing or too old.
    #[error("cannot read the journal")]
    Library(#[from] LibraryError),
    /// A journal cannot be opened.
    #[error(
        "cannot open {name}: run as root or in the group systemd-journal, and see that journald is running"
    )]
    Open {
        /// The source.
        name: String,
        /// What the library says.
        #[source]
        source: io::Error,
    },
    /// A journal that was open cannot be read.
    #[error("cannot read on in {name}: `journalctl --verify` finds damaged files")]
    Read {
        /// The source.
        name: String,
        /// What the library says.
        #[source]
        source: io::Error,
    },
    /// The system refuses to wait.
    #[error("cannot wait for new entries")]
    Wait(#[source] io::Error),
    /// A position, or what libsystemd says of an entry, is no cursor.
    #[error(
        "the position of {name} is none: stop the agent and remove the saved position to begin anew"
    )]
    Cursor {
        /// The source.
        name: String,
        /// The text.
        #[source]
        source: journal::CursorError,
    },
}
