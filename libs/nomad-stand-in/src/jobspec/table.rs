//! How a kind of block is described: its arguments, its blocks, and what they are called in JSON.

use serde_json::{Map, Value};

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Whole,
    Truth,
    /// Go's notation; nanoseconds in JSON.
    Duration,
    Texts,
    /// Texts by name.
    Map,
    Any,
}

/// What a block becomes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// An object; a second block is an error.
    One(&'static Table),
    /// An item of a list.
    Many(&'static Table),
    /// An entry of an object, by its label.
    Named(&'static Table),
    /// An object of texts; an argument that is a map is taken, too.
    Texts,
    /// An object of lists of texts.
    Lists,
    /// An object of anything, as drivers' settings.
    Free,
    /// An error: what the stand-in lacks.
    Absent(&'static str),
}

/// Name in HCL, name in JSON, kind.
pub(super) type Arg = (&'static str, &'static str, Kind);

/// Name in HCL, name in JSON, shape.
pub(super) type Inner = (&'static str, &'static str, Shape);

/// A kind of block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// What its label is called in JSON; empty: it has none.
    pub(super) label: &'static str,
    pub(super) args: &'static [Arg],
    pub(super) blocks: &'static [Inner],
    /// What is special about it.
    pub(super) finish: Option<fn(&mut Map<String, Value>)>,
}

/// A kind of block without label, blocks and specialties.
pub(super) const fn plain(args: &'static [Arg]) -> Table {
    Table { label: "", args, blocks: &[], finish: None }
}
