//! Opening a journal and going to where reading begins: at a first start, at a saved position, after an error.
//!
//! In: configuration, position, and the facts that [`super::start::plan`] decides by. Out: a [`Journal`] and the position that
//! is to be saved at once, so that a first start is a first start only once.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use super::files::Listing;
use super::own::OwnLines;
use super::sequence::Sequences;
use super::start::{Facts, Plan, plan};
use super::sys::{Handle, SdJournal};
use super::{Boots, Journal, Replay};
use crate::logs::entry::SourceId;
use crate::logs::position::SourcePosition;
use crate::logs::read::ReadError;
use crate::logs::read::config::{FirstStart, JournalConfig};

/// The position of a journal that was empty at the first start.
const HEAD: &str = "head";
const MACHINE_ID: &str = "/etc/machine-id";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const ROOTS: [&str; 2] = ["/run/log/journal", "/var/log/journal"];

/// From where a handle that is opened reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The first entry.
    Head,
    /// This entry, or the first one after it.
    At(Cursor),
    /// The first entry after this one.
    After(Cursor),
    /// The first entry of this time or later, microseconds since the epoch.
    Time(u64),
}

/// Which journal.
#[derive(Debug, Clone)]
pub(super) struct Place {
    directory: Option<PathBuf>,
    namespace: Option<String>,
}

impl Place {
    pub(super) fn new(directory: Option<PathBuf>, namespace: Option<String>) -> Self {
        Self { directory, namespace }
    }

    /// Where its files lie.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let roots = match &self.directory {
            Some(directory) => vec![directory.clone()],
            None => ROOTS.map(PathBuf::from).to_vec(),
        };
        let mut found: Vec<PathBuf> = roots.iter().flat_map(|root| self.below(root)).collect();
        if self.namespace.is_none() {
            found.extend(self.directory.clone());
        }
        found
    }

    /// Subdirectories are named `MACHINE` or `MACHINE.NAMESPACE`.
    fn below(&self, root: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        let is_ours = |name: &str| {
            let (machine, namespace) =
                name.split_once('.').map_or((name, None), |(machine, rest)| (machine, Some(rest)));
            machine.len() == 32
                && machine.bytes().all(|byte| byte.is_ascii_hexdigit())
                && namespace == self.namespace.as_deref()
        };
        let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
        ours.map(|entry| entry.path()).collect()
    }

    fn open(&self, library: &SdJournal) -> io::Result<Handle> {
        match (&self.directory, &self.namespace) {
            (None, namespace) => library.open(namespace.as_deref()),
            (Some(directory), None) => library.open_directory(directory),
            (Some(directory), Some(namespace)) => {
                let machine = fs::read_to_string(MACHINE_ID)?;
                library.open_directory(&directory.join(format!("{}.{namespace}", machine.trim())))
            }
        }
    }
}

impl Journal {
    /// Opens the host's journal, or a namespace, and goes to where `saved` says, or where a first start begins.
    ///
    /// The second value is the position to save now.
    ///
    /// # Errors
    /// When the journal cannot be opened, or the position is none of a journal.
    pub fn open(
        library: &SdJournal,
        config: &JournalConfig,
        namespace: Option<&str>,
        source: SourceId,
        saved: Option<&SourcePosition>,
        now_us: u64,
    ) -> Result<(Self, SourcePosition), ReadError> {
        let name = namespace.map_or("journal".to_owned(), |name| format!("journal:{name}"));
        let boot = boot_id().map_err(|source| ReadError::Open { name: name.clone(), source })?;
        let mut journal = Self {
            name,
            source,
            library: library.clone(),
            place: Place::new(config.directory.clone(), namespace.map(str::to_owned)),
            matches: config.matches.clone(),
            boot,
            handle: None,
            from: From::Head,
            boots: Boots::All,
            is_standing: false,
            sequences: Sequences::default(),
            replay: None,
            is_replaced: false,
            losses: VecDeque::new(),
            own: OwnLines::new(&config.own_unit, config.own_lines_per_minute),
            failures: 0,
            listed: None,
            text: String::new(),
        };
        let position = match saved {
            None => journal.begin(config.begin, now_us)?,
            Some(position) => {
                if position.through != HEAD {
                    journal.take_up(position)?;
                }
                position.clone()
            }
        };
        Ok((journal, position))
    }

    /// The handle, opened where reading goes on.
    pub(super) fn handle(&mut self) -> Result<&mut Handle, ReadError> {
        let handle = match self.handle.take() {
            Some(handle) => handle,
            None => self
                .opened()
                .map_err(|source| ReadError::Open { name: self.name.clone(), source })?,
        };
        Ok(self.handle.insert(handle))
    }

    fn opened(&self) -> io::Result<Handle> {
        let mut handle = self.place.open(&self.library)?;
        self.set_matches(&mut handle)?;
        match self.from {
            From::Head => handle.seek_head().map(drop)?,
            From::At(cursor) | From::After(cursor) => handle.seek_cursor(&cursor.to_string())?,
            From::Time(time_us) => handle.seek_realtime(time_us)?,
        }
        Ok(handle)
    }

    fn set_matches(&self, handle: &mut Handle) -> io::Result<()> {
        for (index, group) in self.matches.iter().enumerate() {
            if index > 0 {
                handle.add_disjunction()?;
            }
            for one in group {
                handle.add_match(one.as_bytes())?;
            }
        }
        if self.boots == Boots::This {
            handle.add_conjunction()?;
            handle.add_match(format!("_BOOT_ID={:032x}", self.boot).as_bytes())?;
        }
        Ok(())
    }

    /// The first start.
    fn begin(&mut self, begin: FirstStart, now_us: u64) -> Result<SourcePosition, ReadError> {
        let name = self.name.clone();
        let failed = |source| ReadError::Open { name: name.clone(), source };
        let mut handle = self.place.open(&self.library).map_err(failed)?;
        let first = match begin {
            FirstStart::End => None,
            FirstStart::Boot => Some(self.first_of_boot(&mut handle).map_err(failed)?),
            FirstStart::Ago(span) => {
                let from =
                    now_us.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
                handle.seek_realtime(from).map_err(failed)?;
                Some(forward(&mut handle).map_err(failed)?)
            }
        };
        // Where there is nothing of that age, what is written next is the first.
        if let Some(Some(first)) = first {
            self.from = From::At(first);
            return Ok(SourcePosition {
                through: before(&mut handle, &first).map_err(failed)?,
                open: Vec::new(),
            });
        }
        let Some(last) = last(&mut handle).map_err(failed)? else {
            return Ok(SourcePosition { through: HEAD.to_owned(), open: Vec::new() });
        };
        self.from = From::After(last);
        self.sequences.begin_after(last);
        Ok(SourcePosition { through: last.to_string(), open: Vec::new() })
    }

    /// A start with a saved position.
    fn take_up(&mut self, position: &SourcePosition) -> Result<(), ReadError> {
        let name = self.name.clone();
        let read = |text: &String| {
            Cursor::parse(text).map_err(|source| ReadError::Cursor { name: name.clone(), source })
        };
        let through = read(&position.through)?;
        let open = position.open.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let failed = |source| ReadError::Open { name: name.clone(), source };
        let facts = self.facts().map_err(failed)?;
        let plan = plan(&through, &facts);
        if !matches!(plan, Plan::Seek { is_replaced: false }) {
            tracing::warn!(journal = self.name, %through, ?plan, "The journal is not what it was at the saved position");
        }
        let seek = |journal: &mut Self| {
            journal.from = open.first().map_or(From::After(through), |first| From::At(*first));
            journal.sequences.begin_after(through);
            journal.replay =
                Some(Replay { through, open: open.clone(), is_wanted: !open.is_empty() });
        };
        match plan {
            Plan::Seek { is_replaced } => {
                seek(self);
                self.is_replaced = is_replaced;
            }
            Plan::ThisBoot { is_rest_first: true, is_replaced } => {
                seek(self);
                self.boots = Boots::OlderFirst;
                self.is_replaced = is_replaced;
            }
            Plan::ThisBoot { is_rest_first: false, is_replaced } => {
                self.boots = Boots::This;
                self.is_replaced = is_replaced;
                if through.boot == self.boot {
                    seek(self);
                }
            }
            Plan::Whole => self.is_replaced = true,
        }
        Ok(())
    }

    /// The older boots are read; now all of this one.
    pub(super) fn turn_to_this_boot(&mut self) {
        self.boots = Boots::This;
        self.from = From::Head;
        self.replay = None;
        self.sequences.forget();
        self.release();
    }

    fn facts(&self) -> io::Result<Facts> {
        let mut handle = self.place.open(&self.library)?;
        let tails = Listing::of(&self.place.directories()).tails();
        let first_of_boot = self.first_of_boot(&mut handle)?;
        handle.flush_matches();
        Ok(Facts { boot: self.boot, first_of_boot, last: last(&mut handle)?, tails })
    }

    fn first_of_boot(&self, handle: &mut Handle) -> io::Result<Option<Cursor>> {
        handle.add_match(format!("_BOOT_ID={:032x}", self.boot).as_bytes())?;
        handle.seek_head()?;
        let first = forward(handle)?;
        handle.flush_matches();
        Ok(first)
    }
}

fn forward(handle: &mut Handle) -> io::Result<Option<Cursor>> {
    if handle.next()? == 0 { Ok(None) } else { here(handle).map(Some) }
}

fn last(handle: &mut Handle) -> io::Result<Option<Cursor>> {
    handle.seek_tail()?;
    if handle.previous()? == 0 { Ok(None) } else { here(handle).map(Some) }
}

/// The position just before an entry, as text.
fn before(handle: &mut Handle, first: &Cursor) -> io::Result<String> {
    handle.seek_cursor(&first.to_string())?;
    let is_there = handle.next()? > 0 && handle.previous()? > 0;
    if is_there { here(handle).map(|cursor| cursor.to_string()) } else { Ok(HEAD.to_owned()) }
}

fn here(handle: &mut Handle) -> io::Result<Cursor> {
    let mut text = String::new();
    handle.cursor(&mut text)?;
    Cursor::parse(&text).map_err(io::Error::other)
}

fn boot_id() -> io::Result<u128> {
    let text = fs::read_to_string(BOOT_ID)?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).map_err(io::Error::other)
}
