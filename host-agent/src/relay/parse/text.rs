//! The text formats: Prometheus 0.0.4 and OpenMetrics 1.0, with names in quotes as Prometheus 3 writes them.
//!
//! A line is read once, byte by byte or with memchr. What is usual stays where it is; what is not in its one form (spaces
//! between labels, a comma after the last, escapes that mean nothing) is written anew.

use super::family::{Families, Said, Source, put};
use super::labels::{has_known_escapes, pairs, repair_escapes, string_end, unescape};
use super::seen::Seen;
use super::value::{Spelling, number, seconds_to_ms, spelling};
use super::{Exposition, Format, Kind, ParseError, ParseLimits, Part, Sample, Span};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Reads a text body.
pub(super) fn parse(
    body: Vec<u8>,
    format: Format,
    limits: ParseLimits,
    watched: &[&str],
) -> Result<Exposition, ParseError> {
    let is_open = format == Format::OpenMetrics;
    let mut parser = Parser {
        body: &body,
        at: 0,
        line: 1,
        is_open,
        is_utf8: std::str::from_utf8(&body).is_ok(),
        limits,
        watched,
        extra: Vec::new(),
        families: Families::default(),
        samples: Vec::with_capacity((body.len() / 100).min(limits.samples)),
        seen: Seen::default(),
        duplicates: 0,
        scratch: Vec::new(),
    };
    parser.lines()?;
    let Parser { extra, families, samples, duplicates, .. } = parser;
    Ok(Exposition {
        format,
        extra,
        series: samples.len(),
        families: families.list,
        samples,
        metrics: Vec::new(),
        duplicates,
        conflicts: families.conflicts,
        body,
    })
}

struct Parser<'a> {
    body: &'a [u8],
    at: usize,
    line: usize,
    is_open: bool,
    is_utf8: bool,
    limits: ParseLimits,
    watched: &'a [&'a str],
    extra: Vec<u8>,
    families: Families,
    samples: Vec<Sample>,
    seen: Seen,
    duplicates: usize,
    /// The labels of the sample that is read.
    scratch: Vec<Pair>,
}

/// One label, by places in the body.
#[derive(Clone, Copy)]
struct Pair {
    name: Span,
    value: Span,
}

/// The labels between braces.
struct Block {
    /// A name in quotes among them.
    name: Option<Span>,
    /// The block in its one form.
    labels: Span,
    hash: u64,
    is_watched: bool,
    is_quoted: bool,
}

const IS_NAME: [bool; 256] = name_bytes();

/// Letters, digits, `_` and `:`; the first byte and the colon are looked at where it matters.
const fn name_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0u8;
    loop {
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
        {
            table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        }
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

fn is_name(byte: u8) -> bool {
    IS_NAME.get(usize::from(byte)).copied().unwrap_or(false)
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, reason: &'static str) -> Result<T, ParseError> {
        Err(ParseError::Syntax { line: self.line, reason })
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn span(&self, begin: usize, end: usize) -> Span {
        // Bodies are shorter than 2 GiB.
        let place = |at: usize| u32::try_from(at).unwrap_or(0);
        Span { begin: place(begin), length: place(end.saturating_sub(begin)) }
    }

    fn slice(&self, begin: usize, end: usize) -> &'a [u8] {
        self.body.get(begin..end).unwrap_or_default()
    }

    fn bytes(&self, span: Span) -> &[u8] {
        super::slice(self.body, &self.extra, span)
    }

    const fn source(&self) -> Source<'a> {
        Source { body: self.body, is_open: self.is_open }
    }

    fn lines(&mut self) -> Result<(), ParseError> {
        loop {
            self.blanks();
            match self.peek() {
                None if self.is_open => return self.fail("# EOF is missing at the end"),
                None => return Ok(()),
                Some(b'\n') if !self.is_open => {
                    self.at += 1;
                    self.line += 1;
                }
                Some(b'#') => {
                    if self.comment()? {
                        return Ok(());
                    }
                }
                Some(_) => self.sample()?,
            }
        }
    }

    /// Spaces and tabs, which only the text format has at will.
    fn blanks(&mut self) {
        while !self.is_open && matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Reads a line that begins with `#`; whether it was the end.
    fn comment(&mut self) -> Result<bool, ParseError> {
        let begin = self.at;
        let rest = self.body.get(begin..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).map(|length| begin + length);
        let line = self.slice(begin, end.unwrap_or(self.body.len()));
        let next = end.map_or(self.body.len(), |end| end + 1);
        if self.is_open {
            if line == b"# EOF" {
                if next != self.body.len() {
                    self.line += 1;
                    return self.fail("there is more after # EOF");
                }
                return Ok(true);
            }
            if end.is_none() {
                return self.fail("# EOF is missing at the end");
            }
        }
        self.at = begin + line.len();
        self.metadata(line, begin)?;
        self.at = next;
        self.line += 1;
        Ok(false)
    }

    fn metadata(&mut self, line: &'a [u8], begin: usize) -> Result<(), ParseError> {
        let mut at = 1;
        let skip = |at: &mut usize| {
            let from = *at;
            while matches!(line.get(*at), Some(b' ' | b'\t')) {
                *at += 1;
            }
            *at - from
        };
        let blanks = skip(&mut at);
        let word = line.get(at..at + 4).unwrap_or_default();
        at += word.len();
        let is_metadata = blanks > 0
            && matches!(word, b"HELP" | b"TYPE" | b"UNIT")
            && matches!(line.get(at), Some(b' ' | b'\t'));
        if self.is_open && !(is_metadata && blanks == 1) {
            return self.fail("expected # HELP, # TYPE, # UNIT or # EOF");
        }
        if !is_metadata || (word == b"UNIT" && !self.is_open) {
            return Ok(());
        }
        if skip(&mut at) != 1 && self.is_open {
            return self.fail("expected one space before a name");
        }
        let (name, after) = self.metadata_name(line, begin, at)?;
        let text = line.get(after..).unwrap_or_default();
        if self.is_open && text.first() != Some(&b' ') {
            return self.fail("expected a space and text after a name");
        }
        if !text.is_empty() && !matches!(text.first(), Some(b' ' | b'\t')) {
            return self.fail("expected a space after a name");
        }
        let text = text.get(1..).unwrap_or_default();
        let span = self.span(begin + line.len() - text.len(), begin + line.len());
        let said = match word {
            b"TYPE" => Said::Kind(self.kind(text)?),
            b"HELP" if !self.is_utf8 && std::str::from_utf8(text).is_err() => {
                return self.fail("a help text is not UTF-8");
            }
            b"HELP" => Said::Help(span),
            _ => {
                let name = self.bytes(name);
                let stem = name.strip_suffix(text).and_then(|stem| stem.strip_suffix(b"_"));
                if !text.is_empty() && stem.is_none() {
                    return self.fail("a unit is not the end of its metric's name");
                }
                Said::Unit(span)
            }
        };
        let source = self.source();
        self.families.said(name, said, source, &mut self.extra);
        Ok(())
    }

    /// The name in a line of metadata, and where it ends.
    fn metadata_name(
        &mut self,
        line: &'a [u8],
        begin: usize,
        at: usize,
    ) -> Result<(Span, usize), ParseError> {
        if line.get(at) == Some(&b'"') {
            let Some(end) = string_end(line, at + 1) else {
                return self.fail("a name in quotes has no end");
            };
            let name = self.quoted(self.span(begin + at + 1, begin + end))?;
            return Ok((name, end + 1));
        }
        let mut end = at;
        while line.get(end).copied().is_some_and(is_name) {
            end += 1;
        }
        if end == at || line.get(at).is_some_and(u8::is_ascii_digit) {
            return self.fail("expected a metric's name");
        }
        Ok((self.span(begin + at, begin + end), end))
    }

    /// A name in quotes, as it is meant.
    fn quoted(&mut self, name: Span) -> Result<Span, ParseError> {
        let escaped = super::slice(self.body, &self.extra, name);
        if escaped.is_empty() || (!self.is_utf8 && std::str::from_utf8(escaped).is_err()) {
            return self.fail("a name in quotes is empty or not UTF-8");
        }
        if memchr::memchr(b'\\', escaped).is_none() {
            return Ok(name);
        }
        let meant = unescape(escaped).into_owned();
        Ok(put(&meant, &mut self.extra))
    }

    fn kind(&self, text: &[u8]) -> Result<Kind, ParseError> {
        Ok(match text {
            b"counter" => Kind::Counter,
            b"gauge" => Kind::Gauge,
            b"histogram" => Kind::Histogram,
            b"summary" => Kind::Summary,
            b"untyped" if !self.is_open => Kind::Unknown,
            b"unknown" if self.is_open => Kind::Unknown,
            b"info" if self.is_open => Kind::Info,
            b"stateset" if self.is_open => Kind::StateSet,
            b"gaugehistogram" if self.is_open => Kind::GaugeHistogram,
            _ => return self.fail("a type that this format does not have"),
        })
    }
}

mod sample;
