//! YAML text → a tree in which every key and value knows its line.
//!
//! In: text. Out: a [`Node`], or the problems that keep it from being one. Called by `document.rs`.
//!
//! **Invariants**: size, depth, and what anchors expand to are bounded; a repeated key is a problem, all of them are
//! found; `on`, `yes` and `5xx` are text. No merge keys (`<<`), no tags.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::MergeKeyPolicy;
use serde_saphyr::{DuplicateKeyPolicy, Error, Spanned};

use super::{DocumentProblem, KeyPath, MAX_BYTES, Step};

/// A value and the line on which it begins.
#[derive(Debug)]
pub(super) struct Node {
    line: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Keys(Vec<Entry>),
}

#[derive(Debug)]
struct Entry {
    key: String,
    line: usize,
    node: Node,
}

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Node, Vec<DocumentProblem>> {
    let whole =
        |line: usize, message: String| vec![DocumentProblem { line, path: String::new(), message }];
    if text.len() > MAX_BYTES {
        let message = format!("{} bytes: a document has at most {MAX_BYTES}", text.len());
        return Err(whole(1, message));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 50_000,
            max_events: 200_000,
            max_anchors: 100,
            max_aliases: 1_000,
            max_documents: 1,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    };
    let node: Spanned<Content> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| syntax_problem(text, &error))?;
    let root = Node::from(node);
    let mut problems = Vec::new();
    root.find_repeated(&KeyPath::default(), &mut problems);
    if problems.is_empty() { Ok(root) } else { Err(problems) }
}

/// What the parser says, without its own wording of the place.
fn syntax_problem(text: &str, error: &Error) -> Vec<DocumentProblem> {
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default();
    let message = match error.without_snippet() {
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => "more than one document",
        Error::Budget { .. } => "too many values, levels, or anchors that expand to many",
        _ => message.split_once(" at line ").map_or(message, |(message, _)| message),
    };
    let indent = |line: &str| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    let (line, message) = match text.lines().position(indent) {
        Some(tabbed) => (tabbed + 1, "a tab: YAML is indented by spaces".to_owned()),
        None => {
            let line = error.location().map_or(1, |location| line(location.line()));
            (line, format!("not YAML that can be used: {message}"))
        }
    };
    vec![DocumentProblem { line, path: String::new(), message }]
}

fn line(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX).max(1)
}

impl Node {
    /// The line of what `path` leads to, or of the last part of it that exists.
    pub(super) fn line_of(&self, path: &[Step]) -> usize {
        let Some((first, rest)) = path.split_first() else { return self.line };
        match (&self.content, first) {
            (Content::Keys(entries), Step::Key(key)) => {
                match entries.iter().find(|entry| entry.key == *key) {
                    Some(entry) if rest.is_empty() => entry.line,
                    Some(entry) => entry.node.line_of(rest),
                    None => self.line,
                }
            }
            (Content::List(items), Step::Index(index)) => {
                items.get(*index).map_or(self.line, |item| item.line_of(rest))
            }
            _ => self.line,
        }
    }

    /// The same without lines.
    pub(super) fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Content::Keys(entries) => {
                let keys = entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json()));
                Value::Object(keys.collect::<Map<String, Value>>())
            }
        }
    }

    fn find_repeated(&self, path: &KeyPath, problems: &mut Vec<DocumentProblem>) {
        match &self.content {
            Content::Scalar(_) => {}
            Content::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.find_repeated(&path.clone().index(index), problems);
                }
            }
            Content::Keys(entries) => {
                let mut seen = std::collections::BTreeMap::new();
                for entry in entries {
                    let path = path.clone().key(&entry.key);
                    if let Some(line) = seen.insert(entry.key.as_str(), entry.line) {
                        problems.push(DocumentProblem {
                            line: entry.line,
                            path: path.to_string(),
                            message: format!("written twice, first in line {line}"),
                        });
                    }
                    entry.node.find_repeated(&path, problems);
                }
            }
        }
    }
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        Self { line: line(spanned.referenced.line()), content: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true, false, a list or keys")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value).map_or(Value::Null, Value::Number);
        Ok(Content::Scalar(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Content>>()? {
            items.push(item.into());
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = map.next_entry::<Spanned<String>, Spanned<Content>>()? {
            let line = line(key.referenced.line());
            entries.push(Entry { key: key.value, line, node: node.into() });
        }
        Ok(Content::Keys(entries))
    }
}
