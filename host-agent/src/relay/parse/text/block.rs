//! Labels between braces: checked, hashed, and brought into their one form where they are not in it.

use super::{
    Block, Pair, ParseError, Parser, Span, has_known_escapes, is_name, put, repair_escapes,
    xxh3_64, xxh3_64_with_seed,
};

impl Parser<'_> {
    /// Everything between braces.
    pub(super) fn block(&mut self, may_name: bool) -> Result<Block, ParseError> {
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
}
