//! Everything that a block holds, in its order and with its places: for readers that refuse what they do not know.
//!
//! In: a [`Node`]. Out: its arguments with their values, its blocks. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use hcl::Value;
use hcl::edit::Span as _;

use crate::node::Node;

/// From where to where something stands, lines and columns counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where it begins: line, column.
    pub start: (usize, usize),
    /// The first place after it.
    pub end: (usize, usize),
}

impl fmt::Display for Place {
    /// As HCL writes it: `3,5-12`, or `3,5-4,2` over lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((line, column), (last, end)) = (self.start, self.end);
        if line == last {
            write!(f, "{line},{column}-{end}")
        } else {
            write!(f, "{line},{column}-{last},{end}")
        }
    }
}

/// An argument.
#[derive(Debug, Clone)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// Where its value stands.
    pub value_place: Place,
    /// Its value, or why there is none.
    pub value: Result<Value, String>,
}

/// A block with its kind.
#[derive(Debug, Clone)]
pub struct Child<'a> {
    /// The word before its labels.
    pub kind: String,
    /// Where that word stands.
    pub place: Place,
    /// How many labels it has.
    pub labels: usize,
    /// The block.
    pub node: Node<'a>,
}

impl<'a> Node<'a> {
    fn place_of(&self, span: Option<Range<usize>>) -> Place {
        let span = span.unwrap_or(0..0);
        Place { start: self.source.place(span.start), end: self.source.place(span.end) }
    }

    /// Where the block begins.
    pub fn place(&self) -> Place {
        self.place_of(self.block.and_then(|block| block.ident.span()))
    }

    /// The name of its file.
    pub fn file(&self) -> &'a str {
        &self.source.name
    }

    /// The arguments.
    pub fn arguments(&self) -> Vec<Argument> {
        let argument = |own: &hcl::edit::structure::Attribute| Argument {
            name: own.key.as_str().to_owned(),
            place: self.place_of(own.key.span()),
            value_place: self.place_of(own.value.span()),
            value: self.scope.value(&own.value),
        };
        self.body.attributes().map(argument).collect()
    }

    /// The blocks, by kind in the order in which kinds come first; those that `dynamic` blocks make included.
    ///
    /// # Errors
    /// Where a `dynamic` block has nothing to go through, and why.
    pub fn children(&self) -> Result<Vec<Child<'a>>, (Place, String)> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for block in self.body.blocks() {
            let is_dynamic = block.has_ident("dynamic");
            let label = block.labels.first().map(|label| label.as_str());
            let kind = if is_dynamic { label } else { Some(block.ident.as_str()) };
            let Some(kind) = kind else { continue };
            if is_dynamic {
                self.check_for_each(block)?;
            }
            if !seen.insert(kind) {
                continue;
            }
            for node in self.blocks(kind) {
                let own = node.block.filter(|own| !own.has_ident("content"));
                let labels =
                    own.map_or(usize::from(!node.label.is_empty()), |own| own.labels.len());
                found.push(Child { kind: kind.to_owned(), place: node.place(), labels, node });
            }
        }
        Ok(found)
    }

    fn check_for_each(
        &self,
        block: &'a hcl::edit::structure::Block,
    ) -> Result<(), (Place, String)> {
        let place = self.place_of(block.ident.span());
        let own = block.body.get_attribute("for_each");
        let own = own.ok_or_else(|| {
            (place, "Missing required argument; The argument \"for_each\" is required".to_owned())
        })?;
        match self.scope.value(&own.value) {
            Ok(Value::Array(_) | Value::Object(_)) => Ok(()),
            Ok(_) => Err((
                place,
                "Invalid dynamic for_each value; It is neither a list nor a map".to_owned(),
            )),
            Err(why) => Err((place, why)),
        }
    }
}
