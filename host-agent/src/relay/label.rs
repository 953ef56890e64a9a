//! Stage 4, first half: what each series of a target gets in front of its own labels, and what becomes of those it clashes with.
//!
//! **Invariants**: the target's labels win; a label of the exporter's with such a name is called `exported_…`, with the prefix
//! repeated until the name is free, as Prometheus does it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::parse::labels::{escape, pairs};
use super::wire::put_bytes;

/// The labels of a target, ready to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetLabels {
    by_name: BTreeMap<String, String>,
    text: Vec<u8>,
    proto: Vec<u8>,
}

/// Whether a label's name needs no quotes.
pub fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl TargetLabels {
    /// The labels that have a value.
    pub fn new(labels: BTreeMap<String, String>) -> Self {
        let mut made = Self { by_name: labels, ..Self::default() };
        made.by_name.retain(|_, value| !value.is_empty());
        for (name, value) in &made.by_name {
            if !made.text.is_empty() {
                made.text.push(b',');
            }
            made.text.extend_from_slice(name.as_bytes());
            made.text.extend_from_slice(b"=\"");
            escape(value.as_bytes(), &mut made.text);
            made.text.push(b'"');
            put_label(name.as_bytes(), value.as_bytes(), &mut made.proto);
        }
        made
    }

    /// With one more, unless it has that.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut labels = self.by_name.clone();
        labels.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        Self::new(labels)
    }

    /// The value of one; empty without it.
    pub fn get(&self, name: &str) -> &str {
        self.by_name.get(name).map_or("", String::as_str)
    }

    /// By name.
    pub const fn by_name(&self) -> &BTreeMap<String, String> {
        &self.by_name
    }

    /// The names, for whoever looks out for clashes.
    pub fn names(&self) -> Vec<&str> {
        self.by_name.keys().map(String::as_str).collect()
    }

    /// As they stand between braces.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// As `label` fields of a `Metric` message.
    pub fn proto(&self) -> &[u8] {
        &self.proto
    }

    /// A block of an exporter's labels with those renamed that clash.
    pub fn renamed<'a>(&self, block: &'a [u8]) -> Cow<'a, [u8]> {
        if self.by_name.is_empty() {
            return block.into();
        }
        let names: Vec<&[u8]> = pairs(block).map(|pair| pair.name).collect();
        let mut out = Vec::with_capacity(block.len() + 16);
        for pair in pairs(block) {
            if !out.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(&self.free_name(pair.name, &names));
            out.extend_from_slice(b"=\"");
            out.extend_from_slice(pair.value);
            out.push(b'"');
        }
        out.into()
    }

    /// The name that an exporter's label gets; `own` are all names of its sample.
    pub fn free_name<'a>(&self, name: &'a [u8], own: &[&[u8]]) -> Cow<'a, [u8]> {
        let is_taken = |name: &[u8]| {
            std::str::from_utf8(name).is_ok_and(|name| self.by_name.contains_key(name))
        };
        if !is_taken(name) {
            return name.into();
        }
        let mut free = [b"exported_", name].concat();
        while is_taken(&free) || own.contains(&free.as_slice()) {
            free.splice(0..0, *b"exported_");
        }
        free.into()
    }
}

/// Writes a `label` field of a `Metric` message.
pub fn put_label(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let mut label = Vec::with_capacity(name.len() + value.len() + 8);
    put_bytes(1, name, &mut label);
    put_bytes(2, value, &mut label);
    put_bytes(1, &label, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(of: &[(&str, &str)]) -> TargetLabels {
        TargetLabels::new(of.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn labels_without_a_value_are_none_and_values_are_escaped() {
        let target = labels(&[("job", "a\"b\\c\nd"), ("alloc", "")]);
        assert_eq!(target.text(), br#"job="a\"b\\c\nd""#);
        assert_eq!(target.names(), ["job"]);
    }

    #[test]
    fn a_clashing_label_is_exported_until_its_name_is_free() {
        let target =
            labels(&[("instance", "a:1"), ("exported_exported_job", "x"), ("job", "orders")]);
        let renamed = target.renamed(br#"job="x",exported_job="y",le="1",instance="z\"""#);
        assert_eq!(
            std::str::from_utf8(&renamed).unwrap(),
            r#"exported_exported_exported_job="x",exported_job="y",le="1",exported_instance="z\"""#
        );
    }
}
