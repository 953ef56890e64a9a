//! The files that Nomad's `exec` and `raw_exec` tasks write, as entries.
//!
//! In: [`FilesConfig`], the saved positions. Out: [`Step`]s of as many sources as there are streams. Called by the
//! [`super::Reader`].
//!
//! Files are looked at every `poll_ms` with plain calls. inotify would tell sooner, but its watches are few and shared with the
//! whole machine, it says nothing on some file systems, and what it misses when its queue overflows needs the look anyway.
//!
//! **Invariants**: each line once and in its order within a stream; a stream that never ends does not starve others; a file that
//! cannot be read is logged once a look and delays nobody.
//! **Absent**: what was written to a file and deleted with it while the agent did not run leaves no trace to count.

mod cursor;
mod scan;
mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use tracing::warn;

use self::cursor::Cursor;
use self::scan::StreamName;
use self::stream::{Line, Read1, Stream};
use super::config::FilesConfig;
use super::sources::Sources;
use super::{Loss, LossCause, REMARK, REMARK_UNENDED, Step};
use crate::logs::entry::{Entry, SourceId};
use crate::logs::position::{Positions, SourcePosition};

/// The source that says that files were looked for.
const MARK: &str = "files";
/// After so many lines of one stream the others have their turn.
const TURN: u32 = 256;

/// All streams. Belongs to one thread.
#[derive(Debug)]
pub(super) struct Files {
    config: FilesConfig,
    streams: BTreeMap<StreamName, Followed>,
    /// Streams that may have more, the one that is read first.
    ready: VecDeque<StreamName>,
    turn: u32,
    looked: Option<Instant>,
    text: Vec<u8>,
}

#[derive(Debug)]
struct Followed {
    source: SourceId,
    name: String,
    stream: Stream,
    /// Lines up to here come again.
    again: Option<Cursor>,
}

impl Files {
    /// Finds the streams; the second value are the positions to save now.
    pub(super) fn open(
        config: &FilesConfig,
        saved: &Positions,
        sources: &mut Sources,
    ) -> (Self, Vec<(SourceId, SourcePosition)>) {
        let mut files = Self {
            config: config.clone(),
            streams: BTreeMap::new(),
            ready: VecDeque::new(),
            turn: 0,
            looked: None,
            text: Vec::new(),
        };
        for (name, position) in &saved.sources {
            if let Some(stream) = StreamName::of_source(name) {
                files.take_up(stream, name, position, sources);
            }
        }
        let mut positions = Vec::new();
        let is_first = !saved.sources.contains_key(MARK);
        if is_first {
            let mark = SourcePosition { through: "seen".to_owned(), open: Vec::new() };
            positions.push((sources.id(MARK), mark));
        }
        files.look(sources);
        if is_first && !config.from_beginning {
            for followed in files.streams.values_mut().filter(|one| one.again.is_none()) {
                match followed.stream.end(&config.nomad_data_dir) {
                    Ok(Some(end)) => {
                        let name = followed.stream.name().clone();
                        let numbers = [end.file].into();
                        followed.stream = Stream::new(name, Some(end));
                        followed.stream.set_numbers(numbers);
                        let through = end.to_string();
                        positions
                            .push((followed.source, SourcePosition { through, open: Vec::new() }));
                    }
                    Ok(None) => {}
                    Err(error) => warn!(file = followed.name, %error, "A file cannot be read"),
                }
            }
        }
        (files, positions)
    }

    fn take_up(
        &mut self,
        stream: StreamName,
        name: &str,
        position: &SourcePosition,
        sources: &mut Sources,
    ) {
        let through = Cursor::parse(&position.through);
        if through.is_none() {
            warn!(
                file = name,
                position = position.through,
                "The position is none; reading from the beginning"
            );
        }
        let open = position.open.first().and_then(|open| Cursor::parse(open));
        // An open line is read again from its first byte.
        let begin = open.map(|open| Cursor { length: 0, line: 0, piece: 0, ..open });
        let again = open.and(through);
        let source = sources.id(name);
        let from = begin.or(through);
        let stream_key = stream.clone();
        let followed =
            Followed { source, name: name.to_owned(), stream: Stream::new(stream, from), again };
        self.streams.insert(stream_key, followed);
    }

    /// When files are looked at again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.looked.map(|looked| looked + self.config.poll)
    }

    /// Closes all files; reading goes on where it was.
    pub(super) fn release(&mut self) {
        for followed in self.streams.values_mut() {
            followed.stream.release();
        }
    }

    /// The next line of any stream.
    pub(super) fn next(&mut self, entry: &mut Entry, now_us: u64, sources: &mut Sources) -> Step {
        if self.ready.is_empty() && self.due().is_none_or(|due| due <= Instant::now()) {
            self.look(sources);
        }
        while let Some(name) = self.ready.front() {
            let Some(followed) = self.streams.get_mut(name) else {
                self.ready.pop_front();
                continue;
            };
            let (directory, longest) = (&self.config.nomad_data_dir, self.config.line_bytes);
            let source = followed.source;
            match followed.stream.next(directory, longest, &mut self.text) {
                Ok(Read1::Line(line)) => {
                    let again = followed.hand_out(&line, &self.text, now_us, entry);
                    self.turn += 1;
                    if self.turn >= TURN {
                        self.turn = 0;
                        self.ready.rotate_left(1);
                    }
                    return Step::Entry { again };
                }
                Ok(Read1::Lost(cause)) => return Step::Lost(loss(source, cause)),
                Ok(Read1::Nothing) => self.pass_on(),
                Ok(Read1::Gone) => {
                    let name = name.clone();
                    self.streams.remove(&name);
                    self.pass_on();
                    return Step::Ended(source);
                }
                Err(error) => {
                    warn!(file = followed.name, %error, "A file cannot be read");
                    followed.stream.release();
                    self.pass_on();
                }
            }
        }
        Step::End
    }

    fn pass_on(&mut self) {
        self.ready.pop_front();
        self.turn = 0;
    }

    /// Finds files that came or went.
    fn look(&mut self, sources: &mut Sources) {
        self.looked = Some(Instant::now());
        let found = match scan::scan(&self.config.nomad_data_dir) {
            Ok(found) => found,
            Err(error) => {
                let directory = self.config.nomad_data_dir.display();
                warn!(%directory, %error, "Nomad's allocations cannot be listed");
                return;
            }
        };
        for (allocation, error) in &found.unknown {
            warn!(allocation, %error, "An allocation's files cannot be listed");
        }
        for Followed { stream, .. } in self.streams.values_mut() {
            if !found.unknown.contains_key(&stream.name().allocation) {
                stream.set_numbers(found.streams.get(stream.name()).cloned().unwrap_or_default());
            }
        }
        for (stream, numbers) in found.streams {
            self.streams.entry(stream.clone()).or_insert_with(|| {
                let name = stream.source();
                let mut stream = Stream::new(stream, None);
                stream.set_numbers(numbers);
                Followed { source: sources.id(&name), name, stream, again: None }
            });
        }
        self.ready = self.streams.keys().cloned().collect();
    }
}

impl Followed {
    /// Fills the entry; whether it comes again.
    fn hand_out(&mut self, line: &Line, text: &[u8], now_us: u64, entry: &mut Entry) -> bool {
        let name = self.stream.name();
        entry.source = self.source;
        entry.id = line.cursor.id(&self.name, line.cursor.offset);
        entry.realtime_us = now_us;
        entry.cursor = line.cursor.to_string();
        let fields = &mut entry.fields;
        fields.clear();
        fields.push("MESSAGE", text);
        fields.push("NOMAD_ALLOC_ID", name.allocation.as_bytes());
        fields.push("NOMAD_TASK", name.task.as_bytes());
        fields.push("NOMAD_STREAM", name.output.as_bytes());
        if let Some((ordinal, is_last)) = line.piece {
            let id = line.cursor.id(&self.name, line.begin).to_string();
            if !is_last {
                fields.push("CONTAINER_PARTIAL_MESSAGE", b"true");
            }
            fields.push("CONTAINER_PARTIAL_ID", id.as_bytes());
            fields.push("CONTAINER_PARTIAL_ORDINAL", ordinal.to_string().as_bytes());
            fields.push("CONTAINER_PARTIAL_LAST", if is_last { b"true" } else { b"false" });
        }
        if line.is_unended {
            fields.push(REMARK, REMARK_UNENDED.as_bytes());
        }
        let is_again = self.again.is_some_and(|again| line.cursor.is_at_or_before(&again));
        if !is_again {
            self.again = None;
        }
        is_again
    }
}

fn loss(source: SourceId, cause: LossCause) -> Loss {
    Loss { source, cause, entries: None, is_at_most: false, bytes: None }
}
