//! Writing a record: fields are appended in the order in which they are sent, values of lists and maps after them.
//!
//! Only `shape/` writes, and only into the record that it emits; text is far below 4 GiB, because messages and fields are cut.

use std::fmt::{self, Write};

use super::{Node, Origin, Record, Span, number, slice};
use crate::logs::entry::{RecordId, SourceId};

/// A list or map that is being written.
#[derive(Debug)]
#[must_use = "a list or map is ended"]
pub(in crate::logs) struct Opened {
    node: usize,
    is_map: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            id: RecordId { sequence: 0, number: 0 },
            source: SourceId(0),
            time_ns: 0,
            level: None,
            entries: 0,
            text: String::new(),
            nodes: Vec::new(),
            origins: [None; Origin::ALL.len()],
            message: None,
        }
    }
}

impl Record {
    /// Empties it for the next one and keeps its memory.
    pub(in crate::logs) fn begin(&mut self, id: RecordId, source: SourceId, time_ns: u64) {
        (self.id, self.source, self.time_ns) = (id, source, time_ns);
        (self.level, self.entries) = (None, 1);
        self.text.clear();
        self.nodes.clear();
        self.origins = [None; Origin::ALL.len()];
        self.message = None;
    }

    /// Adds the message as a field of this name.
    pub(in crate::logs) fn add_message(&mut self, name: &str, value: &str) {
        self.name(name);
        self.text(value);
        if let Some(Node::Text(span)) = self.nodes.last() {
            self.message = Some(*span);
        }
    }

    /// Adds what the agent itself says: no rule rewrites it.
    pub(in crate::logs) fn own(&mut self, value: impl fmt::Display) {
        let begin = self.position_of_end();
        // Writing to a string cannot fail.
        let _written = write!(self.text, "{value}");
        let end = self.position_of_end();
        self.nodes.push(Node::Own(Span { begin, end }));
    }

    /// Says one part of who wrote it; the field is added by [`Self::add_origin`].
    pub(in crate::logs) fn set_origin(&mut self, origin: Origin, value: &str) {
        let span = self.store(value);
        if let Some(slot) = self.origins.get_mut(origin as usize) {
            *slot = Some(span);
        }
    }

    /// Adds what is known of an origin as a field of this name.
    pub(in crate::logs) fn add_origin(&mut self, name: &str, origin: Origin) {
        if let Some(Some(span)) = self.origins.get(origin as usize).copied() {
            self.name(name);
            self.nodes.push(Node::Own(span));
        }
    }

    /// Begins a field, or a value of a map; exactly one value follows.
    pub(in crate::logs) fn name(&mut self, name: &str) {
        let span = self.store(name);
        self.nodes.push(Node::Name(span));
    }

    /// Adds text.
    pub(in crate::logs) fn text(&mut self, value: &str) {
        let span = self.store(value);
        self.nodes.push(Node::Text(span));
    }

    /// Adds a number of JSON's grammar; `false`: it is sent as text, because digits would be lost.
    pub(in crate::logs) fn number(&mut self, value: &str) -> bool {
        match number::exact(value) {
            Some(node) => {
                self.nodes.push(node);
                true
            }
            None => {
                self.text(value);
                false
            }
        }
    }

    /// Adds a count.
    pub(in crate::logs) fn unsigned(&mut self, value: u64) {
        self.nodes.push(i64::try_from(value).map_or(Node::Unsigned(value), Node::Integer));
    }

    /// Adds yes or no.
    pub(in crate::logs) fn bool(&mut self, value: bool) {
        self.nodes.push(Node::Bool(value));
    }

    /// Adds `null`.
    pub(in crate::logs) fn null(&mut self) {
        self.nodes.push(Node::Null);
    }

    /// Begins a list; its values follow.
    pub(in crate::logs) fn begin_list(&mut self) -> Opened {
        self.nodes.push(Node::List { count: 0, nodes: 0 });
        Opened { node: self.nodes.len() - 1, is_map: false }
    }

    /// Begins a map; names with their values follow.
    pub(in crate::logs) fn begin_map(&mut self) -> Opened {
        self.nodes.push(Node::Map { count: 0, nodes: 0 });
        Opened { node: self.nodes.len() - 1, is_map: true }
    }

    /// Ends a list or map of `count` values.
    pub(in crate::logs) fn end(&mut self, opened: Opened, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let nodes = u32::try_from(self.nodes.len() - opened.node - 1).unwrap_or(u32::MAX);
        if let Some(node) = self.nodes.get_mut(opened.node) {
            *node = match opened.is_map {
                true => Node::Map { count, nodes },
                false => Node::List { count, nodes },
            };
        }
    }

    /// Takes a field out.
    pub(in crate::logs) fn remove(&mut self, name: &str) -> bool {
        let Some(at) = self.position(name) else { return false };
        let after = at + 1 + self.width(at + 1);
        if let Some(Node::Text(span)) = self.nodes.get(at + 1)
            && self.message == Some(*span)
        {
            self.message = None;
        }
        self.nodes.drain(at..after);
        true
    }

    /// Gives a field another name, unless there is one of that name.
    pub(in crate::logs) fn rename(&mut self, from: &str, to: &str) -> bool {
        if self.position(to).is_some() {
            return false;
        }
        let Some(at) = self.position(from) else { return false };
        let span = self.store(to);
        if let Some(node) = self.nodes.get_mut(at) {
            *node = Node::Name(span);
        }
        true
    }

    /// Whether there is a field of this name.
    pub(in crate::logs) fn has(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Rewrites texts and numbers, those in lists and maps too, but neither names nor what the agent itself says. What
    /// `rewrite` returns takes the value's place, as text.
    pub(in crate::logs) fn rewrite(
        &mut self,
        mut rewrite: impl FnMut(&str) -> Option<String>,
    ) -> bool {
        let mut is_changed = false;
        for index in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(index).copied() else { break };
            let text = match node {
                Node::Text(span) => rewrite(slice(&self.text, span)),
                Node::Integer(value) => rewrite(&value.to_string()),
                Node::Unsigned(value) => rewrite(&value.to_string()),
                Node::Float(value) => rewrite(&value.to_string()),
                _ => None,
            };
            let Some(text) = text else { continue };
            let span = self.store(&text);
            if let Some(place) = self.nodes.get_mut(index) {
                *place = Node::Text(span);
            }
            if let Node::Text(old) = node
                && self.message == Some(old)
            {
                self.message = Some(span);
            }
            is_changed = true;
        }
        is_changed
    }

    fn position(&self, name: &str) -> Option<usize> {
        let mut at = 0;
        while let Some(Node::Name(span)) = self.nodes.get(at) {
            if slice(&self.text, *span) == name {
                return Some(at);
            }
            at += 1 + self.width(at + 1);
        }
        None
    }

    /// Nodes of the value at `at`.
    fn width(&self, at: usize) -> usize {
        match self.nodes.get(at) {
            Some(Node::List { nodes, .. } | Node::Map { nodes, .. }) => 1 + *nodes as usize,
            _ => 1,
        }
    }

    fn store(&mut self, value: &str) -> Span {
        let begin = self.position_of_end();
        self.text.push_str(value);
        Span { begin, end: self.position_of_end() }
    }

    fn position_of_end(&self) -> u32 {
        u32::try_from(self.text.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::record::Value;

    fn sample() -> Record {
        let mut record = Record::default();
        record.begin(RecordId { sequence: 1, number: 2 }, SourceId(0), 3);
        record.set_origin(Origin::Service, "orders");
        record.add_message("message", "hello");
        record.add_origin("service", Origin::Service);
        record.add_origin("system", Origin::System);
        record.name("order");
        let map = record.begin_map();
        record.name("id");
        assert!(record.number("7"));
        record.name("lines");
        let list = record.begin_list();
        record.bool(true);
        record.null();
        assert!(!record.number("18446744073709551616"));
        record.end(list, 3);
        record.end(map, 2);
        record.name("end");
        record.text("");
        record
    }

    fn json(record: &Record) -> String {
        serde_json::to_string(record).unwrap()
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = sample();
        assert_eq!(
            json(&record),
            r#"{"message":"hello","service":"orders","order":{"id":7,"lines":[true,null,"18446744073709551616"]},"end":""}"#
        );
        assert_eq!((record.len(), record.origin(Origin::Service)), (4, Some("orders")));
        assert_eq!(record.origin(Origin::System), None);
        let Some(Value::Map(map)) = record.get("order") else { panic!("no map") };
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn fields_are_removed_renamed_and_rewritten_in_place() {
        let mut record = sample();
        assert!(!record.rename("message", "end"));
        assert!(record.rename("message", "msg"));
        assert_eq!(record.message(), Some("hello"));
        assert!(
            record.rewrite(|text| text.contains(['1', '7']).then(|| text.replace(['1', '7'], "x")))
        );
        assert!(!record.rewrite(|_| None));
        assert_eq!(
            json(&record),
            r#"{"msg":"hello","service":"orders","order":{"id":"x","lines":[true,null,"x8446x440x3x0955x6x6"]},"end":""}"#
        );
        assert!(record.remove("order") && !record.remove("order"));
        assert_eq!(json(&record), r#"{"msg":"hello","service":"orders","end":""}"#);
        assert!(record.rewrite(|text| (text == "hello").then(|| "bye".to_owned())));
        assert_eq!(record.message(), Some("bye"));
        assert!(record.remove("msg"));
        assert_eq!(record.message(), None);
    }
}
