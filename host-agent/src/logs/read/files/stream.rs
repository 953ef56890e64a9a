//! One stream: the lines of a task's `stdout` or `stderr`, over all files of its rotation.
//!
//! In: file numbers from a scan. Out: lines with their cursors. The file that is read stays open, so that one that is deleted
//! is still read to its end. Nomad counts files up and removes the lowest; others cut files or put new ones in their place.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::cursor::{Cursor, HEAD, Head};
use super::scan::{self, StreamName};
use crate::logs::read::LossCause;

const READ: usize = 64 * 1024;

/// The file that is read.
#[derive(Debug)]
struct Tail {
    file: File,
    inode: u64,
    number: u64,
    generation: u64,
    head: Head,
    /// Nothing was handed out of it, so its first line may still grow.
    is_fresh: bool,
    /// Offset of the first byte of `buffer`.
    offset: u64,
    buffer: VecDeque<u8>,
    /// How much of `buffer` has no newline.
    searched: usize,
    /// The line whose pieces are handed out: its offset, and how many came.
    line: Option<(u64, u64)>,
}

/// A line, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) cursor: Cursor,
    /// Where its line begins.
    pub(super) begin: u64,
    /// Which piece it is, from 1, and whether the last one; `None`: a whole line.
    pub(super) piece: Option<(u64, bool)>,
    /// The file ended in the middle of it.
    pub(super) is_unended: bool,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read1 {
    /// `text` holds a line.
    Line(Line),
    /// Something was deleted or cut before it was read.
    Lost(LossCause),
    /// There is nothing more now.
    Nothing,
    /// There is no file any more, and all was read.
    Gone,
}

/// A stream of a task.
#[derive(Debug)]
pub(super) struct Stream {
    name: StreamName,
    tail: Option<Tail>,
    /// Where to begin when no file is open.
    from: Option<Cursor>,
    /// When the file was closed there was more to read.
    has_unread: bool,
    numbers: BTreeSet<u64>,
}

impl Stream {
    /// Reading begins after `from`, if that is still there.
    pub(super) fn new(name: StreamName, from: Option<Cursor>) -> Self {
        Self { name, tail: None, from, has_unread: false, numbers: BTreeSet::new() }
    }

    pub(super) fn name(&self) -> &StreamName {
        &self.name
    }

    /// Takes the numbers of the files that are there.
    pub(super) fn set_numbers(&mut self, numbers: BTreeSet<u64>) {
        self.numbers = numbers;
    }

    /// Closes its file; reading goes on where it was.
    pub(super) fn release(&mut self) {
        if let Some(tail) = self.tail.take() {
            let is_longer = tail.file.metadata().map_or(true, |file| file.len() > tail.offset);
            self.has_unread = is_longer || self.numbers.range(tail.number + 1..).next().is_some();
            let (line, piece) = tail.line.unwrap_or_default();
            self.from = Some(Cursor {
                file: tail.number,
                offset: tail.offset,
                length: 0,
                generation: tail.generation,
                head: tail.head,
                line,
                piece,
            });
        }
    }

    /// The position after all that its files hold now.
    pub(super) fn end(&self, data_dir: &Path) -> io::Result<Option<Cursor>> {
        let Some(&number) = self.numbers.last() else { return Ok(None) };
        let opened = scan::open(data_dir, &self.name.path(data_dir, number))?;
        let head = Head::of(&begin_of(&opened.file)?);
        Ok(Some(Cursor { file: number, offset: opened.size, head, ..Cursor::default() }))
    }

    /// The next line into `text`.
    pub(super) fn next(
        &mut self,
        data_dir: &Path,
        longest: usize,
        text: &mut Vec<u8>,
    ) -> io::Result<Read1> {
        if self.tail.is_none() {
            match self.open(data_dir)? {
                Some(cause) => return Ok(Read1::Lost(cause)),
                None if self.tail.is_none() => return Ok(Read1::Gone),
                None => {}
            }
        }
        let Some(tail) = &mut self.tail else { return Ok(Read1::Nothing) };
        loop {
            if let Some(line) = tail.take(longest, text, false) {
                return Ok(Read1::Line(line));
            }
            if tail.fill()? == 0 {
                break;
            }
        }
        self.at_end(data_dir, longest, text)
    }

    /// The open file has no more: it may grow, be followed, be cut, be replaced or be gone.
    fn at_end(&mut self, data_dir: &Path, longest: usize, text: &mut Vec<u8>) -> io::Result<Read1> {
        let Some(tail) = &mut self.tail else { return Ok(Read1::Nothing) };
        let path = self.name.path(data_dir, tail.number);
        let there = scan::unless_absent(fs::symlink_metadata(&path))?;
        let is_cut = tail.file.metadata()?.len() < tail.end();
        let is_replaced = there.as_ref().is_some_and(|there| there.ino() != tail.inode);
        let next = self.numbers.range(tail.number + 1..).next().copied();
        if !is_cut && !is_replaced && there.is_some() && next.is_none() {
            return Ok(Read1::Nothing);
        }
        // It was seen that nothing more is written here; what came before that is read first.
        if !is_cut && tail.fill()? > 0 {
            return self.next(data_dir, longest, text);
        }
        if let Some(line) = tail.take(longest, text, true) {
            return Ok(Read1::Line(line));
        }
        let (number, generation) = (tail.number, tail.generation);
        self.tail = None;
        let is_anew = is_cut || is_replaced;
        let Some(next) = next.or_else(|| is_anew.then_some(number)) else { return Ok(Read1::Gone) };
        let (file, generation) = if is_anew { (number, generation + 1) } else { (next, 0) };
        self.from = Some(Cursor { file, generation, ..Cursor::default() });
        if !is_anew && next > number + 1 {
            return Ok(Read1::Lost(LossCause::Deleted));
        }
        self.next(data_dir, longest, text)
    }

    /// Opens where reading begins; the cause, when something before that is gone.
    fn open(&mut self, data_dir: &Path) -> io::Result<Option<LossCause>> {
        while let Some(from) = self.from {
            if !self.numbers.contains(&from.file) {
                let next = self.numbers.range(from.file..).next();
                // Lower numbers only: the directory was set up anew.
                let next = next.or(self.numbers.first()).copied();
                self.from = next.map(|file| Cursor {
                    file,
                    generation: if file < from.file { from.generation + 1 } else { 0 },
                    ..Cursor::default()
                });
                let is_lost = next.is_some() || std::mem::take(&mut self.has_unread);
                return Ok(is_lost.then_some(LossCause::Deleted));
            }
            if !self.begin(data_dir, from.file, from.generation)? {
                continue;
            }
            self.from = None;
            let Some(tail) = &mut self.tail else { return Ok(None) };
            let is_same = from.head.is_of(&begin_of(&tail.file)?);
            if !is_same || tail.file.metadata()?.len() < from.end() {
                tail.generation += 1;
                return Ok(Some(LossCause::Truncated));
            }
            tail.offset = from.end();
            tail.file.seek(SeekFrom::Start(tail.offset))?;
            if tail.offset > 0 {
                (tail.head, tail.is_fresh) = (from.head, false);
            }
            tail.line = (from.piece > 0).then_some((from.line, from.piece));
            return Ok(None);
        }
        match self.numbers.first().copied() {
            Some(first) if !self.begin(data_dir, first, 0)? => Ok(Some(LossCause::Deleted)),
            _ => Ok(None),
        }
    }

    /// Opens a file at its first byte; false when it is gone since it was listed.
    fn begin(&mut self, data_dir: &Path, number: u64, generation: u64) -> io::Result<bool> {
        let opened = scan::open(data_dir, &self.name.path(data_dir, number));
        let Some(opened) = scan::unless_absent(opened)? else {
            self.numbers.remove(&number);
            return Ok(false);
        };
        self.tail = Some(Tail {
            file: opened.file,
            inode: opened.inode,
            number,
            generation,
            head: Head::default(),
            is_fresh: true,
            offset: 0,
            buffer: VecDeque::new(),
            searched: 0,
            line: None,
        });
        Ok(true)
    }
}

impl Tail {
    fn end(&self) -> u64 {
        self.offset + u64::try_from(self.buffer.len()).unwrap_or(u64::MAX)
    }

    /// Reads on; 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; READ];
        let count = self.file.read(&mut bytes)?;
        self.buffer.extend(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// Takes a line, or a piece of the longest size; with `is_last` what is left.
    fn take(&mut self, longest: usize, text: &mut Vec<u8>, is_last: bool) -> Option<Line> {
        let found = self.newline(longest);
        let (length, is_ended) = match found {
            Some(at) => (at + 1, true),
            None if self.buffer.len() > longest => (longest, false),
            None if is_last && !self.buffer.is_empty() => (self.buffer.len(), true),
            None => return None,
        };
        text.clear();
        text.extend(self.buffer.drain(..length));
        self.searched = 0;
        if self.is_fresh {
            (self.head, self.is_fresh) = (Head::of(text), false);
        }
        let (begin, pieces) = self.line.unwrap_or((self.offset, 0));
        let piece = (!is_ended || pieces > 0).then_some((pieces + 1, is_ended));
        self.line = (!is_ended).then_some((begin, pieces + 1));
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let (line, number) = self.line.unwrap_or_default();
        let cursor = Cursor {
            file: self.number,
            offset: self.offset,
            length,
            generation: self.generation,
            head: self.head,
            line,
            piece: number,
        };
        self.offset += length;
        if found.is_some() {
            text.pop();
        }
        Some(Line { cursor, begin, piece, is_unended: is_ended && found.is_none() })
    }

    /// A newline within what one piece may hold.
    fn newline(&mut self, longest: usize) -> Option<usize> {
        let bytes = self.buffer.make_contiguous();
        let window = bytes.get(self.searched..bytes.len().min(longest + 1)).unwrap_or_default();
        let found = memchr::memchr(b'\n', window).map(|at| at + self.searched);
        self.searched += window.len();
        found
    }
}

fn begin_of(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEAD];
    let mut length = 0;
    loop {
        let rest = bytes.get_mut(length..).unwrap_or_default();
        match file.read_at(rest, u64::try_from(length).unwrap_or(u64::MAX))? {
            0 => break,
            count => length += count,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}
