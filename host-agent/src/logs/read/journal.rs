//! One journal: entry after entry from a saved position on, with what is missing.
//!
//! In: [`super::config::JournalConfig`], the source's [`crate::logs::position::SourcePosition`]. Out: [`Step`]s. Called by the [`super::Reader`].
//!
//! ```text
//!  sys     libsystemd, the only unsafe          cursor    what a cursor says
//!  files   headers of journal files             sequence  which numbers are missing
//!  start   where reading is taken up            headroom  how near journald is to deleting
//!  begin   facts, seeking, opening again        own       the agent's own lines
//! ```
//!
//! libsystemd keeps every file open, so what is vacuumed while it is read can still be read; files that came or went are looked
//! at only at the end of what is known. [`Journal::release`] lets go of them.
//!
//! **Invariants**: the order is libsystemd's, and numbers judge it, never the wall clock; an error opens the journal again at the
//! entry after the last one that was handed out, never at its head; damaged files cost a bounded number of tries.

mod begin;
mod cursor;
mod files;
mod headroom;
mod own;
mod sequence;
mod start;
mod sys;

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::warn;

use self::begin::{From, Place};
use self::cursor::Cursor;
use self::files::Listing;
use self::own::OwnLines;
use self::sequence::{Passage, Sequences};
use self::sys::Handle;
use super::{Loss, LossCause, REMARK, REMARK_UNREADABLE, ReadError, Step};
use crate::logs::entry::{Entry, SourceId};

pub use self::cursor::CursorError;
pub use self::headroom::{Headroom, Settings, headroom};
pub use self::sys::{LibraryError, SdJournal};

/// How often headers are read to know what files held.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// So many errors in a row are answered by opening the journal again at the same entry.
const TRIES: u32 = 3;
/// So many more by seeking past it by time; then the error is the caller's.
const TRIES_PAST: u32 = 6;

/// One journal, host's or namespace's. Belongs to one thread.
#[derive(Debug)]
pub struct Journal {
    name: String,
    source: SourceId,
    library: SdJournal,
    place: Place,
    matches: Vec<Vec<String>>,
    boot: u128,
    handle: Option<Handle>,
    from: From,
    boots: Boots,
    /// The handle stands at an entry that was not handed out.
    is_standing: bool,
    sequences: Sequences,
    replay: Option<Replay>,
    is_replaced: bool,
    losses: VecDeque<Loss>,
    own: OwnLines,
    failures: u32,
    listed: Option<Instant>,
    text: String,
}

/// Whose entries are read. Others than all of them only after the clock was set back, see [`start`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boots {
    All,
    /// Those before this one, then this one.
    OlderFirst,
    This,
}

/// Entries up to the saved position come again for the sake of records that were open.
#[derive(Debug)]
struct Replay {
    through: Cursor,
    /// Those that did not come yet.
    open: Vec<Cursor>,
    /// There were open records.
    is_wanted: bool,
}

impl Journal {
    /// Goes to the next entry.
    ///
    /// # Errors
    /// When the journal cannot be opened, or stays unreadable; trying again later is safe.
    pub fn next(&mut self, entry: &mut Entry) -> Result<Step, ReadError> {
        loop {
            if let Some(loss) = self.losses.pop_front() {
                return Ok(Step::Lost(loss));
            }
            if !self.is_standing {
                match self.advance() {
                    Ok(true) => {}
                    Ok(false) if self.losses.is_empty() => return Ok(Step::End),
                    Ok(false) => continue,
                    Err(error) => {
                        self.recover(error)?;
                        continue;
                    }
                }
            }
            match self.examine(entry) {
                Ok(Some(step)) => {
                    self.failures = 0;
                    return Ok(step);
                }
                Ok(None) => {}
                Err(error) => self.recover(error)?,
            }
        }
    }

    /// What becomes readable when files change; `None` while the journal is closed.
    pub fn descriptor(&mut self) -> Option<BorrowedFd<'_>> {
        self.handle.as_mut()?.descriptor().ok()
    }

    /// Closes all files, so that the disk space of deleted ones is freed. Reading goes on where it was.
    pub fn release(&mut self) {
        self.handle = None;
        self.is_standing = false;
    }

    /// Bytes on disk, and the times of its first and last entry, microseconds since the epoch.
    ///
    /// # Errors
    /// When the journal cannot be opened or measured.
    pub fn extent(&mut self) -> Result<(u64, Option<(u64, u64)>), ReadError> {
        let handle = self.handle()?;
        let usage = handle.usage().and_then(|bytes| Ok((bytes, handle.cutoff()?)));
        usage.map_err(|source| self.failed(source))
    }

    /// Moves the handle; false at the end of everything.
    fn advance(&mut self) -> Result<bool, ReadError> {
        if self.step()? {
            return Ok(true);
        }
        // Headers first: what they say now is passed once the end is reached after that.
        let is_filtered = !self.matches.is_empty();
        let is_due = self.listed.is_none_or(|then| then.elapsed() >= LIST_EVERY);
        let listing = is_due.then(|| Listing::of(&self.place.directories()));
        let noticed = self.handle()?.process();
        noticed.map_err(|source| self.failed(source))?;
        if self.step()? {
            return Ok(true);
        }
        if let Some(listing) = listing {
            self.listed = Some(Instant::now());
            self.sequences.note(&listing);
            if is_filtered {
                self.sequences.pass_all(&listing.tails());
            }
        }
        if self.boots == Boots::OlderFirst {
            self.turn_to_this_boot();
            return self.advance();
        }
        self.say_replaced(None);
        Ok(false)
    }

    fn step(&mut self) -> Result<bool, ReadError> {
        let moved = self.handle()?.next();
        self.is_standing = moved.map_err(|source| self.failed(source))? > 0;
        Ok(self.is_standing)
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Read { name: self.name.clone(), source }
    }

    /// Judges the entry under the handle; `None`: look again.
    fn examine(&mut self, entry: &mut Entry) -> Result<Option<Step>, ReadError> {
        let Some(handle) = &mut self.handle else { return Ok(None) };
        let text = handle.cursor(&mut self.text);
        text.map_err(|source| self.failed(source))?;
        let cursor = Cursor::parse(&self.text)
            .map_err(|source| ReadError::Cursor { name: self.name.clone(), source })?;
        let is_left_out = match self.from {
            From::After(last) => cursor.is_same_entry(&last),
            From::At(_) | From::Head | From::Time(_) => false,
        };
        if is_left_out || (self.boots == Boots::OlderFirst && cursor.boot == self.boot) {
            self.is_standing = false;
            return Ok(None);
        }
        self.say_replaced(Some(&cursor));
        if let Some(again) = self.replay(&cursor, entry)? {
            return Ok(again);
        }
        match self.sequences.compare(&cursor) {
            Passage::Repeated => {
                self.is_standing = false;
                return Ok(None);
            }
            Passage::Jump { from, to } => {
                self.jump(cursor.sequence, (from, to));
                return Ok(None);
            }
            Passage::Switch { from } => self.switch(from),
            Passage::Next => {}
        }
        if !self.losses.is_empty() {
            return Ok(None);
        }
        self.sequences.accept(cursor);
        self.hand_out(&cursor, entry, false).map(Some)
    }

    /// Hands out what lies at or before the saved position, if there are open records; `Some(None)`: passed over.
    fn replay(
        &mut self,
        cursor: &Cursor,
        entry: &mut Entry,
    ) -> Result<Option<Option<Step>>, ReadError> {
        let Some(replay) = &mut self.replay else { return Ok(None) };
        // Open records whose first entry is not there any more.
        let is_gone = |open: &&Cursor| open.is_at_or_before(cursor) && !open.is_same_entry(cursor);
        let gone = replay.open.iter().take_while(is_gone).count();
        replay.open.drain(..gone);
        if replay.open.first().is_some_and(|open| open.is_same_entry(cursor)) {
            replay.open.remove(0);
        }
        let (is_wanted, is_again) = (replay.is_wanted, cursor.is_at_or_before(&replay.through));
        if gone > 0 {
            self.lose(LossCause::Vacuumed, u64::try_from(gone).ok(), false);
        }
        if !is_again {
            self.replay = None;
            return Ok(None);
        }
        if is_wanted {
            return self.hand_out(cursor, entry, true).map(|step| Some(Some(step)));
        }
        self.is_standing = false;
        Ok(Some(None))
    }

    fn hand_out(
        &mut self,
        cursor: &Cursor,
        entry: &mut Entry,
        again: bool,
    ) -> Result<Step, ReadError> {
        entry.source = self.source;
        entry.id = cursor.id();
        entry.realtime_us = cursor.realtime_us;
        entry.cursor.clone_from(&self.text);
        entry.fields.clear();
        let mut is_own = false;
        if let Some(handle) = &mut self.handle {
            let own = self.own.field();
            let read = handle.fields(|pair| {
                is_own |= pair == own;
                entry.fields.push_pair(pair);
            });
            if let Err(error) = read {
                warn!(journal = self.name, cursor = self.text, %error, "An entry is damaged");
                entry.fields.push(REMARK, REMARK_UNREADABLE.as_bytes());
            }
        }
        self.is_standing = false;
        self.from = From::After(*cursor);
        if is_own && !again && !self.own.allow(cursor.realtime_us) {
            entry.fields.clear();
            return Ok(Step::Skipped);
        }
        Ok(Step::Entry { again })
    }

    fn jump(&mut self, sequence: u128, (from, to): (u64, u64)) {
        let listing = Listing::of(&self.place.directories());
        let is_filtered = !self.matches.is_empty();
        for missing in self.sequences.judge(sequence, (from, to), &listing, is_filtered) {
            self.lose(missing.cause, Some(missing.entries), is_filtered);
        }
        self.sequences.note(&listing);
        self.sequences.pass(sequence, to);
    }

    fn switch(&mut self, from: u128) {
        let listing = Listing::of(&self.place.directories());
        if let Some(rest) = self.sequences.rest(from, &listing) {
            self.lose(rest.cause, Some(rest.entries), !self.matches.is_empty());
        }
        self.sequences.note(&listing);
    }

    /// Says once that the position's journal is gone, unless its entry is there under another number.
    fn say_replaced(&mut self, first: Option<&Cursor>) {
        if !std::mem::take(&mut self.is_replaced) {
            return;
        }
        let through = self.replay.as_ref().map(|replay| replay.through);
        let is_copied =
            first.zip(through).is_some_and(|(first, through)| through.is_same_entry(first));
        if !is_copied {
            self.lose(LossCause::Replaced, None, false);
        }
    }

    fn lose(&mut self, cause: LossCause, entries: Option<u64>, is_at_most: bool) {
        self.losses.push_back(Loss {
            source: self.source,
            cause,
            entries,
            is_at_most,
            bytes: None,
        });
    }

    /// Opens the journal again after an error; the error itself when that did not help.
    fn recover(&mut self, error: ReadError) -> Result<(), ReadError> {
        self.release();
        if matches!(error, ReadError::Open { .. }) {
            return Err(error);
        }
        self.failures += 1;
        if self.failures > TRIES_PAST {
            return Err(error);
        }
        if self.failures > TRIES
            && let From::After(last) | From::At(last) = self.from
        {
            self.from = From::Time(last.realtime_us + u64::from(self.failures - TRIES));
        }
        let error = service::ErrorChain(&error).to_string();
        warn!(journal = self.name, error, "The journal could not be read; opening it again");
        Ok(())
    }
}

/// Directories where files of a journal lie, for [`headroom`].
pub fn directories(directory: Option<&PathBuf>, namespace: Option<&str>) -> Vec<PathBuf> {
    Place::new(directory.cloned(), namespace.map(str::to_owned)).directories()
}
