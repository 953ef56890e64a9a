//! A block and its table → JSON, with HCL's verdicts on what does not fit.
//!
//! In: a [`Node`], a [`Table`]. Out: an object. Everything that is wrong is said, not the first alone.

use ::jobspec::content::Child;
use ::jobspec::{Argument, Node, Place};
use serde_json::{Map, Value};

use super::convert;
use super::job;
use super::table::{Arg, Inner, Kind, Shape, Table};

/// The job of a file.
pub(super) fn file(file: &Node<'_>) -> Result<Value, Vec<String>> {
    let mut decoder = Decoder { file: file.file(), problems: Vec::new() };
    for own in file.arguments() {
        decoder.unsupported_argument(&own);
    }
    let mut jobs = Vec::new();
    for child in decoder.children(file) {
        match child.kind.as_str() {
            "job" => jobs.push(decoder.object(&child, &job::JOB)),
            "variable" | "variables" | "locals" => {}
            _ => decoder.unsupported_block(&child),
        }
    }
    match jobs.len() {
        0 => decoder
            .problems
            .push(format!("{}:1,1-1: Missing job block; A job block is required", file.file())),
        1 => {}
        _ => decoder.problems.push(format!(
            "{}:1,1-1: Duplicate job block; Only one job block is allowed",
            file.file()
        )),
    }
    match jobs.pop() {
        Some(job) if decoder.problems.is_empty() => Ok(Value::Object(job)),
        _ => Err(decoder.problems),
    }
}

struct Decoder<'a> {
    file: &'a str,
    problems: Vec<String>,
}

impl Decoder<'_> {
    fn say(&mut self, place: Place, what: &str) {
        self.problems.push(format!("{}:{place}: {what}", self.file));
    }

    fn unsupported_argument(&mut self, own: &Argument) {
        let name = &own.name;
        let what =
            format!("Unsupported argument; An argument named \"{name}\" is not expected here.");
        self.say(own.place, &what);
    }

    fn unsupported_block(&mut self, child: &Child<'_>) {
        let kind = &child.kind;
        let what =
            format!("Unsupported block type; Blocks of type \"{kind}\" are not expected here.");
        self.say(child.place, &what);
    }

    fn children<'n>(&mut self, node: &Node<'n>) -> Vec<Child<'n>> {
        node.children().unwrap_or_else(|(place, why)| {
            self.say(place, &why);
            Vec::new()
        })
    }

    fn value(&mut self, own: &Argument, kind: Kind) -> Option<Value> {
        let found = own.value.clone().and_then(|value| convert::value(&value, kind));
        found.unwrap_or_else(|why| {
            self.say(own.value_place, &why);
            None
        })
    }

    fn object(&mut self, child: &Child<'_>, table: &Table) -> Map<String, Value> {
        let mut found = Map::new();
        self.label(child, table, &mut found);
        for own in child.node.arguments() {
            let arg: Option<&Arg> = table.args.iter().find(|(name, ..)| *name == own.name);
            let block: Option<&Inner> = table.blocks.iter().find(|(name, ..)| *name == own.name);
            match (arg, block) {
                (Some((_, out, kind)), _) => {
                    let value = self.value(&own, *kind);
                    found.extend(value.map(|value| ((*out).to_owned(), value)));
                }
                (None, Some((_, out, Shape::Texts))) => {
                    let value = self.value(&own, Kind::Map);
                    found.extend(value.map(|value| ((*out).to_owned(), value)));
                }
                (None, Some((_, out, Shape::Free))) => {
                    let value = self.value(&own, Kind::Any);
                    found.extend(value.map(|value| ((*out).to_owned(), value)));
                }
                _ => self.unsupported_argument(&own),
            }
        }
        for inner in self.children(&child.node) {
            match table.blocks.iter().find(|(name, ..)| *name == inner.kind) {
                Some((_, out, shape)) => self.inner(&inner, out, shape, &mut found),
                None => self.unsupported_block(&inner),
            }
        }
        if let Some(finish) = table.finish {
            finish(&mut found);
        }
        found
    }

    fn label(&mut self, child: &Child<'_>, table: &Table, found: &mut Map<String, Value>) {
        let kind = &child.kind;
        match (table.label, child.labels) {
            ("", 0) => {}
            ("", _) => {
                let what = format!(
                    "Extraneous label for {kind}; No labels are expected for {kind} blocks."
                );
                self.say(child.place, &what);
            }
            (_, 0) => {
                let what = format!(
                    "Missing name for {kind}; All {kind} blocks must have 1 labels (name)."
                );
                self.say(child.place, &what);
            }
            (key, 1) => drop(found.insert(key.to_owned(), child.node.label.as_str().into())),
            _ => {
                let what = format!(
                    "Extraneous label for {kind}; Only 1 labels (name) are expected for {kind} blocks."
                );
                self.say(child.place, &what);
            }
        }
    }

    fn inner(
        &mut self,
        inner: &Child<'_>,
        out: &str,
        shape: &Shape,
        found: &mut Map<String, Value>,
    ) {
        let is_second = found.contains_key(out);
        let value = match shape {
            Shape::Many(table) => {
                let own = Value::Object(self.object(inner, table));
                let list = found.entry(out).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(own);
                }
                return;
            }
            Shape::Named(table) => {
                let own = Value::Object(self.object(inner, table));
                let map = found.entry(out).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(inner.node.label.clone(), own);
                }
                return;
            }
            Shape::Absent(why) => {
                let kind = &inner.kind;
                self.say(
                    inner.place,
                    &format!(
                        "Unsupported block type; The stand-in for Nomad has no \"{kind}\": {why}"
                    ),
                );
                return;
            }
            Shape::One(table) => Value::Object(self.object(inner, table)),
            Shape::Texts => self.pairs(inner, Kind::Text),
            Shape::Lists => self.pairs(inner, Kind::Texts),
            Shape::Free => Value::Object(self.free(&inner.node)),
        };
        if is_second {
            let kind = &inner.kind;
            self.say(
                inner.place,
                &format!("Duplicate {kind} block; Only one {kind} block is allowed."),
            );
        }
        found.insert(out.to_owned(), value);
    }

    /// A block of free names with values of one kind.
    fn pairs(&mut self, inner: &Child<'_>, kind: Kind) -> Value {
        let mut found = Map::new();
        for own in inner.node.arguments() {
            let value = self.value(&own, kind);
            found.extend(value.map(|value| (own.name, value)));
        }
        for block in self.children(&inner.node) {
            self.unsupported_block(&block);
        }
        Value::Object(found)
    }

    /// A block of anything: a block in it is a list of one object, as drivers read it.
    fn free(&mut self, node: &Node<'_>) -> Map<String, Value> {
        let mut found = Map::new();
        for own in node.arguments() {
            let value = self.value(&own, Kind::Any);
            found.extend(value.map(|value| (own.name, value)));
        }
        for inner in self.children(node) {
            let mut own = Value::Object(self.free(&inner.node));
            if inner.labels > 0 {
                own = Value::Object(Map::from_iter([(
                    inner.node.label.clone(),
                    Value::from(vec![own]),
                )]));
            }
            let list = found.entry(inner.kind).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(own);
            }
        }
        found
    }
}
