//! Lines that are samples: name, labels, value, timestamp, exemplar.

use super::{
    Block, Pair, ParseError, Parser, Part, Sample, Span, Spelling, has_known_escapes, is_name,
    number, pairs, put, repair_escapes, seconds_to_ms, spelling, unescape, xxh3_64,
    xxh3_64_with_seed,
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

    /// Everything between braces.
    fn block(&mut self, may_name: bool) -> Result<Block, ParseError> {
        self.at += 1;
        let begin = self.at;
        self.scratch.clear();
        let mut block = Block {
            name: None,
            labels: Span::default(),
            hash: 0,
            is_watched: false,
            is_quoted: false,
        };
        // Whether everything so far is in the one form, and where that form goes on.
        let mut is_plain = true;
        let mut next = begin;
        let mut is_after_comma = false;
        loop {
            self.blanks();
            if self.peek() == Some(b'}') {
                is_plain &= self.at == next && !is_after_comma;
                break;
            }
            is_plain &= self.at == next;
            if self.peek() == Some(b'"') {
                let inner = self.string()?;
                self.blanks();
                if self.peek() == Some(b'=') {
                    let name = self.quoted(inner)?;
                    is_plain &= !self.is_plain_name(name) && name == inner;
                    block.is_quoted |= !self.is_plain_name(name);
                    is_plain &= self.pair(name, &mut block)?;
                } else if may_name && block.name.is_none() && self.scratch.is_empty() {
                    let name = self.quoted(inner)?;
                    block.is_quoted |= !self.is_plain_metric_name(name);
                    block.name = Some(name);
                    is_plain = false;
                } else {
                    return self.fail("expected = after a label's name");
                }
            } else {
                let from = self.at;
                while self.peek().is_some_and(|byte| is_name(byte) && byte != b':') {
                    self.at += 1;
                }
                if from == self.at || self.body.get(from).is_some_and(u8::is_ascii_digit) {
                    return self.fail("expected a label's name");
                }
                is_plain &= self.pair(self.span(from, self.at), &mut block)?;
            }
            is_after_comma = self.separator(&mut is_plain)?;
            next = self.at;
        }
        block.labels = if is_plain { self.span(begin, self.at) } else { self.rewrite() };
        self.at += 1;
        self.check_unique()?;
        Ok(block)
    }

    /// What follows a label; whether it was a comma. Before the closing brace it stands still.
    fn separator(&mut self, is_plain: &mut bool) -> Result<bool, ParseError> {
        let end = self.at;
        self.blanks();
        *is_plain &= self.at == end;
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                if self.is_open && self.peek() == Some(b'}') {
                    return self.fail("expected a label after a comma");
                }
                Ok(true)
            }
            Some(b'}') => Ok(false),
            _ => self.fail("expected , or } after a label"),
        }
    }

    /// `="value"` after a name; whether it is in its one form.
    fn pair(&mut self, name: Span, block: &mut Block) -> Result<bool, ParseError> {
        let mut is_plain = true;
        let from = self.at;
        self.blanks();
        if self.peek() != Some(b'=') {
            return self.fail("expected = after a label's name");
        }
        self.at += 1;
        self.blanks();
        is_plain &= self.at == from + 1;
        if self.peek() != Some(b'"') {
            return self.fail("expected a label's value in quotes");
        }
        let value_begin = self.at + 1;
        let mut value = self.string()?;
        let escaped = self.slice(value_begin, self.at - 1);
        self.limit(escaped.len() + name.length as usize)?;
        if !self.is_utf8 && std::str::from_utf8(escaped).is_err() {
            return self.fail("a label's value is not UTF-8");
        }
        let has_odd = memchr::memchr2(b'\\', b'\n', escaped).is_some()
            && (!has_known_escapes(escaped) || memchr::memchr(b'\n', escaped).is_some());
        if has_odd {
            is_plain = false;
            let mut repaired = Vec::with_capacity(escaped.len() + 8);
            repair_escapes(escaped, &mut repaired);
            value = put(&repaired, &mut self.extra);
        }
        let value_bytes = super::super::slice(self.body, &self.extra, value);
        let name_bytes = super::super::slice(self.body, &self.extra, name);
        // A label without a value is no label.
        if !value_bytes.is_empty() {
            let hash = xxh3_64_with_seed(value_bytes, xxh3_64(name_bytes));
            block.hash = block.hash.wrapping_add(hash);
        }
        if name_bytes == b"__name__" {
            return self.fail("a label is called __name__");
        }
        block.is_watched |= self.watched.iter().any(|watched| watched.as_bytes() == name_bytes);
        if self.scratch.len() >= self.limits.labels {
            return Err(ParseError::Labels { line: self.line, limit: self.limits.labels });
        }
        self.scratch.push(Pair { name, value });
        Ok(is_plain)
    }

    /// A string in quotes; what is between them. Stands after it.
    fn string(&mut self) -> Result<Span, ParseError> {
        let begin = self.at + 1;
        let mut at = begin;
        loop {
            let rest = self.body.get(at..).unwrap_or_default();
            let Some(found) = memchr::memchr3(b'"', b'\\', b'\n', rest) else {
                return self.fail("a string has no end");
            };
            at += found;
            match self.body.get(at) {
                Some(b'"') => break,
                Some(b'\n') if self.is_open => return self.fail("a string goes over a line's end"),
                Some(b'\n') => {
                    self.line += 1;
                    at += 1;
                }
                _ => at += 2,
            }
        }
        self.at = at + 1;
        Ok(self.span(begin, at))
    }

    /// The labels read last, in their one form.
    fn rewrite(&mut self) -> Span {
        let mut block = Vec::new();
        for pair in &self.scratch {
            let name = super::super::slice(self.body, &self.extra, pair.name);
            let value = super::super::slice(self.body, &self.extra, pair.value);
            if !block.is_empty() {
                block.push(b',');
            }
            if self.is_plain_name(pair.name) {
                block.extend_from_slice(name);
            } else {
                block.push(b'"');
                super::super::labels::escape(name, &mut block);
                block.push(b'"');
            }
            block.extend_from_slice(b"=\"");
            block.extend_from_slice(value);
            block.push(b'"');
        }
        put(&block, &mut self.extra)
    }

    fn is_plain_name(&self, name: Span) -> bool {
        let bytes = self.bytes(name);
        !bytes.contains(&b':') && self.is_plain_metric_name(name)
    }

    fn is_plain_metric_name(&self, name: Span) -> bool {
        let bytes = self.bytes(name);
        bytes.iter().copied().all(is_name) && !bytes.first().is_some_and(u8::is_ascii_digit)
    }

    fn check_unique(&self) -> Result<(), ParseError> {
        for (position, pair) in self.scratch.iter().enumerate() {
            let name = self.bytes(pair.name);
            let mut earlier = self.scratch.iter().take(position);
            if earlier.any(|other| {
                other.name.length == pair.name.length && self.bytes(other.name) == name
            }) {
                return self.fail("a label is there twice");
            }
        }
        Ok(())
    }

    fn limit(&self, bytes: usize) -> Result<(), ParseError> {
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
