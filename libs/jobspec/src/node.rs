//! A block of a job file with what its attributes are worth: the border between HCL and the job's model.
//!
//! In: a body and its scope. Out: [`Read`] values with their lines, blocks with `dynamic` ones unrolled. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use hcl::Value;
use hcl::edit::Span;
use hcl::edit::expr::Expression;
use hcl::edit::structure::{Block, Body};

use crate::scope::{Scope, plain};
use crate::source::Source;

/// What an attribute says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Read<T> {
    /// It is not there, or `null`.
    #[default]
    Absent,
    /// It says this.
    Known(T, usize),
    /// It cannot be known here, or is of the wrong type; where and why.
    Unknown(usize, String),
}

impl<T> Read<T> {
    /// The value, if it is known.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value, _) => Some(value),
            Self::Absent | Self::Unknown(..) => None,
        }
    }

    /// The value, where an absent one means `default`; `None`: unknown.
    pub fn or(&self, default: T) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::Absent => Some(default),
            Self::Known(value, _) => Some(value.clone()),
            Self::Unknown(..) => None,
        }
    }

    /// Whether nothing is said.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Where it is said; `otherwise` when it is not.
    pub const fn line(&self, otherwise: usize) -> usize {
        match self {
            Self::Absent => otherwise,
            Self::Known(_, line) | Self::Unknown(line, _) => *line,
        }
    }

    /// This, or what `other` says when this says nothing.
    pub fn or_read(self, other: &Self) -> Self
    where
        T: Clone,
    {
        if self.is_absent() { other.clone() } else { self }
    }
}

/// What `${…}` may begin with beside a variable of the file: Nomad fills it in when it places an allocation.
const NOMADS_OWN: [&str; 5] = ["attr", "device", "env", "meta", "node"];

/// A block, or the file itself.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    pub(crate) source: &'a Source,
    pub(crate) body: &'a Body,
    pub(crate) scope: Scope,
    /// The block itself, or the `content` of a `dynamic` one; `None`: the file.
    pub(crate) block: Option<&'a Block>,
    /// Its first label.
    pub label: String,
    /// Where it begins.
    pub line: usize,
}

impl<'a> Node<'a> {
    /// The file.
    pub const fn of_file(source: &'a Source, body: &'a Body, scope: Scope) -> Self {
        Self { source, body, scope, block: None, label: String::new(), line: 1 }
    }

    fn inside(&self, block: &'a Block, at: usize, label: String, scope: Scope) -> Self {
        let (source, body) = (self.source, &block.body);
        Self { source, body, scope, block: Some(block), label, line: at }
    }

    fn line_of(&self, at: &impl Span) -> usize {
        at.span().map_or(self.line, |span| self.source.line_of(span.start))
    }

    /// The blocks of this name, those that a `dynamic` block makes included. One whose `for_each` is unknown makes none.
    pub fn blocks(&self, name: &str) -> Vec<Self> {
        let mut nodes = Vec::new();
        for block in self.body.blocks() {
            let label = block.labels.first().map(|label| label.as_str().to_owned());
            let line = self.line_of(block);
            if block.has_ident(name) {
                let label = label.unwrap_or_default();
                nodes.push(self.inside(block, line, label, self.scope.clone()));
            } else if block.has_ident("dynamic") && label.as_deref() == Some(name) {
                nodes.extend(self.unroll(block, name, line));
            }
        }
        nodes
    }

    fn unroll(&self, block: &'a Block, name: &str, line: usize) -> Vec<Self> {
        let own = self.inside(block, line, String::new(), self.scope.clone());
        let iterator = block.body.get_attribute("iterator").map(|own| own.value.to_string());
        let iterator = iterator.map_or_else(|| name.to_owned(), |own| own.trim().to_owned());
        let items: Vec<(Value, Value)> = match own.value("for_each") {
            Read::Known(Value::Array(items), _) => {
                items.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect()
            }
            Read::Known(Value::Object(items), _) => {
                let mut items: Vec<(String, Value)> = items.into_iter().collect();
                items.sort_by(|left, right| left.0.cmp(&right.0));
                items.into_iter().map(|(key, item)| (key.into(), item)).collect()
            }
            _ => Vec::new(),
        };
        let mut nodes = Vec::new();
        for (key, value) in items {
            let each = [("key".to_owned(), key), ("value".to_owned(), value)];
            let scope = self.scope.with(&iterator, Value::Object(each.into_iter().collect()));
            for content in block.body.get_blocks("content") {
                let inner = self.inside(block, line, String::new(), scope.clone());
                let label = inner.list("labels").into_iter().flatten().next().unwrap_or_default();
                nodes.push(self.inside(content, line, label, scope.clone()));
            }
        }
        nodes
    }

    /// The first block of this name.
    pub fn block(&self, name: &str) -> Option<Self> {
        self.blocks(name).into_iter().next()
    }

    fn value(&self, key: &str) -> Read<Value> {
        let Some(attribute) = self.body.get_attribute(key) else { return Read::Absent };
        let line = self.line_of(attribute);
        match self.scope.value(&attribute.value) {
            Ok(Value::Null) => Read::Absent,
            Ok(value) => Read::Known(value, line),
            Err(why) => Read::Unknown(line, why),
        }
    }

    fn read<T>(&self, key: &str, what: &str, convert: impl Fn(&Value) -> Option<T>) -> Read<T> {
        match self.value(key) {
            Read::Absent => Read::Absent,
            Read::Unknown(line, why) => Read::Unknown(line, why),
            Read::Known(value, line) => convert(&value).map_or_else(
                || Read::Unknown(line, format!("{key} is not {what}: {value}")),
                |value| Read::Known(value, line),
            ),
        }
    }

    /// A text; a number or a truth counts as one, as it does for Nomad.
    pub fn text(&self, key: &str) -> Read<String> {
        self.read(key, "a text", plain)
    }

    /// A whole number.
    pub fn number(&self, key: &str) -> Read<u64> {
        self.read(key, "a whole number", |value| plain(value)?.parse().ok())
    }

    /// A truth.
    pub fn flag(&self, key: &str) -> Read<bool> {
        self.read(key, "true or false", |value| plain(value)?.parse().ok())
    }

    /// A length of time as Go writes it: `10s`, `1m30s`, `1.5h`; a number counts nanoseconds.
    pub fn duration(&self, key: &str) -> Read<Duration> {
        self.read(key, "a duration such as 10s", |value| match value {
            Value::Number(number) => number.as_u64().map(Duration::from_nanos),
            other => crate::duration::parse(other.as_str()?),
        })
    }

    /// The items of a list, each by itself: `None` is one that is not known.
    pub fn list(&self, key: &str) -> Vec<Option<String>> {
        let Some(attribute) = self.body.get_attribute(key) else { return Vec::new() };
        if let Expression::Array(items) = &attribute.value {
            let item = |item| self.scope.value(item).ok().as_ref().and_then(plain);
            return items.iter().map(item).collect();
        }
        match self.scope.value(&attribute.value) {
            Ok(Value::Array(items)) => items.iter().map(plain).collect(),
            Ok(_) => Vec::new(),
            Err(_) => vec![None],
        }
    }

    /// A block of free keys, or an attribute that is a map; with the line where it begins.
    pub fn map(&self, name: &str) -> Option<(usize, BTreeMap<String, Read<String>>)> {
        if let Some(block) = self.block(name) {
            let keys = block.body.attributes().map(|own| own.key.as_str().to_owned());
            return Some((block.line, keys.map(|key| (key.clone(), block.text(&key))).collect()));
        }
        let line = self.line_of(self.body.get_attribute(name)?);
        let Read::Known(Value::Object(map), _) = self.value(name) else {
            return Some((line, BTreeMap::new()));
        };
        let read = |value: &Value| match plain(value) {
            Some(text) => Read::Known(text, line),
            None => Read::Unknown(line, "no text".to_owned()),
        };
        Some((line, map.iter().map(|(key, value)| (key.clone(), read(value))).collect()))
    }

    /// Where an attribute stands; the block's own line when it does not.
    pub fn line_at(&self, key: &str) -> usize {
        self.body.get_attribute(key).map_or(self.line, |own| self.line_of(own))
    }

    /// Everything in this block and the blocks in it that has no value here: line, attribute, why.
    pub fn unknown(&self) -> Vec<(usize, String, String)> {
        let mut found = Vec::new();
        for attribute in self.body.attributes() {
            let is_nomads = |why: &str| {
                NOMADS_OWN.iter().any(|name| why.contains(&format!("variable `{name}`")))
            };
            if let Err(why) = self.scope.value(&attribute.value)
                && !is_nomads(&why)
            {
                let key = attribute.key.as_str().to_owned();
                found.push((self.line_of(attribute), key, why));
            }
        }
        let mut names: Vec<&str> = self.body.blocks().map(|block| block.ident.as_str()).collect();
        names.extend(
            self.body
                .get_blocks("dynamic")
                .filter_map(|block| block.labels.first().map(|label| label.as_str())),
        );
        names.sort_unstable();
        names.dedup();
        for block in self.body.get_blocks("dynamic") {
            let own = self.inside(block, self.line_of(block), String::new(), self.scope.clone());
            if let Read::Unknown(line, why) = own.value("for_each") {
                found.push((line, "for_each".to_owned(), why));
            }
        }
        for name in names.into_iter().filter(|name| *name != "dynamic") {
            found.extend(self.blocks(name).iter().flat_map(Self::unknown));
        }
        found
    }
}
