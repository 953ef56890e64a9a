//! All sources of a pipeline as one: takes turns between them and waits for any of them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::config::{FilesConfig, JournalConfig};
use super::files::Files;
use super::journal::{Journal, SdJournal};
use super::sources::Sources;
use super::{ReadError, Step};
use crate::logs::entry::{Entry, SourceId};
use crate::logs::position::{Positions, SourcePosition};

/// After so many entries of one source the others have their turn.
const TURN: u32 = 256;
/// journald tells of new entries only every 250 ms, though they can be read at once. So while entries come the reader looks
/// by itself, this often …
const BUSY: Duration = Duration::from_millis(10);
/// … and else this often.
const IDLE: Duration = Duration::from_millis(100);
/// So long after the last entry it counts as idle.
const BUSY_FOR: Duration = Duration::from_secs(1);

/// Wakes a [`Reader`] that waits, from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    /// Ends the wait that goes on, or else the next one.
    pub fn wake(&self) {
        // Fails only when it was woken 2^64 times without being looked at.
        self.0.write(1).ok();
    }
}

/// All sources. Belongs to one thread.
#[derive(Debug)]
pub struct Reader {
    journals: Vec<Journal>,
    files: Option<Files>,
    sources: Sources,
    /// The source that is read: journals, then the files.
    turn: usize,
    taken: u32,
    waker: Waker,
    last: Option<Instant>,
}

impl Reader {
    /// Opens the sources at the saved positions, or where a first start begins; `now_us` is the wall clock.
    ///
    /// The second value are the positions of sources that had none: save them before reading, so that they are not begun anew
    /// after a crash.
    ///
    /// # Errors
    /// When libsystemd is missing, a journal cannot be opened, or a saved position is none.
    pub fn open(
        journal: Option<&JournalConfig>,
        files: Option<&FilesConfig>,
        saved: &Positions,
        now_us: u64,
    ) -> Result<(Self, Vec<(SourceId, SourcePosition)>), ReadError> {
        let mut sources = Sources::default();
        let mut positions = Vec::new();
        let mut journals = Vec::new();
        if let Some(config) = journal {
            let library = SdJournal::load()?;
            let namespaces = config.namespaces.iter().map(|name| Some(name.as_str()));
            for namespace in std::iter::once(None).chain(namespaces) {
                let name = namespace.map_or("journal".to_owned(), |name| format!("journal:{name}"));
                let (id, saved) = (sources.id(&name), saved.sources.get(&name));
                let (journal, position) =
                    Journal::open(&library, config, namespace, id, saved, now_us)?;
                journals.push(journal);
                positions.extend(saved.is_none().then_some((id, position)));
            }
        }
        let files = files.map(|config| {
            let (files, begun) = Files::open(config, saved, &mut sources);
            positions.extend(begun);
            files
        });
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let event = event.map_err(|errno| ReadError::Wait(errno.into()))?;
        let waker = Waker(Arc::new(event));
        let reader = Self { journals, files, sources, turn: 0, taken: 0, waker, last: None };
        Ok((reader, positions))
    }

    /// A source's lasting name.
    pub fn name(&self, source: SourceId) -> &str {
        self.sources.name(source)
    }

    /// Ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Takes the next entry, of whichever source has one. `now_us` is the wall clock, the time of files' lines.
    ///
    /// # Errors
    /// When a journal cannot be read. The next call goes on with the next source; this one is tried again in its turn.
    pub fn next(&mut self, entry: &mut Entry, now_us: u64) -> Result<Step, ReadError> {
        let count = self.journals.len() + usize::from(self.files.is_some());
        for _ in 0..=count {
            if self.taken >= TURN {
                self.pass_on(count);
            }
            let step = match self.journals.get_mut(self.turn) {
                Some(journal) => journal.next(entry),
                None => Ok(self
                    .files
                    .as_mut()
                    .map_or(Step::End, |files| files.next(entry, now_us, &mut self.sources))),
            };
            match step {
                Ok(Step::End) => self.pass_on(count),
                Ok(step) => {
                    self.taken += 1;
                    return Ok(step);
                }
                Err(error) => {
                    self.pass_on(count);
                    return Err(error);
                }
            }
        }
        // Entries that came since the last wait make it busy; asking the clock for each would cost more than it tells.
        Ok(Step::End)
    }

    fn pass_on(&mut self, count: usize) {
        self.turn = if self.turn + 1 < count { self.turn + 1 } else { 0 };
        if self.taken > 0 {
            self.last = Some(Instant::now());
        }
        self.taken = 0;
    }

    /// Waits until a source may have more, the waker is used, or the time is over.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub fn wait(&mut self, longest: Duration) -> Result<(), ReadError> {
        let is_busy = self.last.is_some_and(|last| last.elapsed() < BUSY_FOR);
        let mut span = longest.min(if is_busy { BUSY } else { IDLE });
        if let Some(due) = self.files.as_ref().and_then(Files::due) {
            span = span.min(due.saturating_duration_since(Instant::now()));
        }
        let waker = Arc::clone(&self.waker.0);
        let woken = waker.as_fd();
        let journals = self.journals.iter_mut().filter_map(Journal::descriptor);
        let all: Vec<BorrowedFd<'_>> = journals.chain([woken]).collect();
        let mut all: Vec<PollFd<'_>> =
            all.into_iter().map(|one| PollFd::new(one, PollFlags::POLLIN)).collect();
        // Rounded up, so that what is due is due afterwards.
        let timeout =
            PollTimeout::try_from(span + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        match poll(&mut all, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(ReadError::Wait(errno.into())),
        }
        match self.waker.0.read() {
            Ok(_) | Err(nix::errno::Errno::EAGAIN) => Ok(()),
            Err(errno) => Err(ReadError::Wait(io::Error::from(errno))),
        }
    }

    /// Closes all files, so that the disk space of deleted ones is freed: for a pipeline that pauses. The next call opens
    /// them again and goes on where it was; what was deleted meanwhile is then lost, and counted.
    pub fn release(&mut self) {
        self.journals.iter_mut().for_each(Journal::release);
        if let Some(files) = &mut self.files {
            files.release();
        }
    }
}
