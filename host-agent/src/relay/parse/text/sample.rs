//! Lines that are samples: name, labels, value, timestamp, exemplar.

use super::{
    Block, ParseError, Parser, Part, Sample, Span, Spelling, is_name, number, pairs, put,
    seconds_to_ms, spelling, unescape, xxh3_64,
};

impl<'a> Parser<'a> {
    pub(super) fn sample(&mut self) -> Result<(), ParseError> {
        let begin = self.at;
        while self.peek().is_some_and(is_name) {
            self.at += 1;
        }
        if self.body.get(begin).is_some_and(u8::is_ascii_digit) {
            return self.fail("a name begins with a digit");
        }
        let mut name = self.span(begin, self.at);
        self.limit(self.at - begin)?;
        self.blanks();
        let mut block = Block {
            name: None,
            labels: Span::default(),
            hash: 0,
            is_watched: false,
            is_quoted: false,
        };
        if self.peek() == Some(b'{') {
            block = self.block(name.is_absent())?;
        }
        match block.name {
            Some(quoted) => name = quoted,
            None if name.is_absent() => return self.fail("expected a metric's name"),
            None => {}
        }
        let value = self.value(true)?;
        let mut sample = Sample {
            name,
            labels: block.labels,
            value,
            exemplar: Span::default(),
            timestamp_ms: None,
            part: Part::Value,
            is_watched: block.is_watched,
            is_quoted: block.is_quoted,
        };
        self.rest(&mut sample)?;
        let hash = xxh3_64(self.bytes(name)).wrapping_add(block.hash);
        self.add(sample, hash)
    }

    fn add(&mut self, mut sample: Sample, hash: u64) -> Result<(), ParseError> {
        let index = u32::try_from(self.samples.len()).unwrap_or(u32::MAX);
        let (samples, body, extra) = (&self.samples, self.body, &self.extra);
        let before = self.seen.find_or_insert(hash, index, |other| {
            samples.get(other as usize).is_some_and(|other| is_same(other, &sample, body, extra))
        });
        if let Some(before) = before {
            self.duplicates += 1;
            // With a timestamp each, they are a series' course, of which the newest counts.
            let before = self.samples.get_mut(before as usize);
            if let Some(before) = before.filter(|before| before.timestamp_ms < sample.timestamp_ms)
            {
                let part = before.part;
                *before = Sample { part, ..sample };
            }
            return Ok(());
        }
        if self.samples.len() >= self.limits.samples {
            return Err(ParseError::Samples(self.limits.samples));
        }
        let source = self.source();
        let (family, part) = self.families.of_sample(sample.name, source, &mut self.extra);
        sample.part = part;
        self.families.count(family, index);
        self.samples.push(sample);
        Ok(())
    }

    pub(super) fn limit(&self, bytes: usize) -> Result<(), ParseError> {
        if bytes > self.limits.label_bytes {
            return Err(ParseError::LabelBytes { line: self.line, limit: self.limits.label_bytes });
        }
        Ok(())
    }

    /// A number after a space; `is_value`: the sample's own.
    fn value(&mut self, is_value: bool) -> Result<Span, ParseError> {
        let (begin, token) = self.token()?;
        let end = begin + token.len();
        match spelling(token) {
            Some(Spelling::AsIs) => Ok(self.span(begin, end)),
            Some(Spelling::Other(spelling)) => Ok(put(spelling.as_bytes(), &mut self.extra)),
            None if is_value => self.fail("expected a number as value"),
            None => self.fail("expected a number in an exemplar"),
        }
    }

    /// What stands until the next space or the line's end, after the space that separates it.
    fn token(&mut self) -> Result<(usize, &'a [u8]), ParseError> {
        if self.is_open {
            if self.peek() != Some(b' ') {
                return self.fail("expected one space and a value");
            }
            self.at += 1;
        } else {
            self.blanks();
        }
        let begin = self.at;
        while self.peek().is_some_and(|byte| !matches!(byte, b' ' | b'\t' | b'\n')) {
            self.at += 1;
        }
        if begin == self.at {
            return self.fail("expected a value");
        }
        Ok((begin, self.slice(begin, self.at)))
    }

    /// What may come after a value: a timestamp, an exemplar, the end of the line.
    fn rest(&mut self, sample: &mut Sample) -> Result<(), ParseError> {
        self.blanks();
        let is_exemplar = |parser: &Self| {
            parser.is_open && parser.body.get(parser.at..).is_some_and(|r| r.starts_with(b" # {"))
        };
        if !matches!(self.peek(), None | Some(b'\n')) && !is_exemplar(self) {
            let is_open = self.is_open;
            let (_, token) = self.token()?;
            sample.timestamp_ms = if is_open {
                seconds_to_ms(token)
            } else {
                std::str::from_utf8(token).ok().and_then(|text| text.parse().ok())
            };
            if sample.timestamp_ms.is_none() {
                return self.fail("expected a timestamp or the line's end");
            }
            self.blanks();
        }
        if is_exemplar(self) {
            let name = self.bytes(sample.name);
            if ![&b"_total"[..], b"_bucket"].iter().any(|end| name.ends_with(end)) {
                return self.fail("an exemplar on what is neither a _total nor a _bucket");
            }
            sample.exemplar = self.exemplar()?;
        }
        match self.peek() {
            Some(b'\n') => {
                self.at += 1;
                self.line += 1;
                Ok(())
            }
            None if !self.is_open => Ok(()),
            None => self.fail("# EOF is missing at the end"),
            Some(_) => self.fail("expected the line's end"),
        }
    }

    fn exemplar(&mut self) -> Result<Span, ParseError> {
        self.at += 3;
        let begin = self.at;
        self.block(false)?;
        let value_begin = self.at;
        self.value(false)?;
        if self.peek() == Some(b' ') {
            let (_, token) = self.token()?;
            if number(token).is_none_or(|time| !time.is_finite()) {
                return self.fail("expected a timestamp in an exemplar");
            }
        }
        debug_assert!(value_begin <= self.at);
        Ok(self.span(begin, self.at))
    }
}

/// Whether two samples are the same series: the same name, and the same labels in any order.
fn is_same(one: &Sample, other: &Sample, body: &[u8], extra: &[u8]) -> bool {
    let bytes = |span| super::super::slice(body, extra, span);
    let labels = |span| {
        let block = pairs(bytes(span)).filter(|pair| !pair.value.is_empty());
        let mut all: Vec<_> = block.map(|pair| (pair.name, unescape(pair.value))).collect();
        all.sort_unstable();
        all
    };
    bytes(one.name) == bytes(other.name)
        && (bytes(one.labels) == bytes(other.labels) || labels(one.labels) == labels(other.labels))
}
