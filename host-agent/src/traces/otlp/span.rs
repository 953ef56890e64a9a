//! What is looked at in one span, read in one pass that also checks all of it.

use super::schema::{Text, check};
use crate::traces::wire::{Fields, Malformed, Value};

/// What is known of a span without decoding it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its trace; zero when it has no valid one.
    pub trace: u128,
    /// Itself; zero when it has no valid id.
    pub span: u64,
    /// Its parent is set to something that is no id.
    pub has_bad_parent: bool,
    /// When it began, nanoseconds since the epoch.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// Its status is an error.
    pub is_error: bool,
    /// Attributes of the span itself.
    pub attributes: usize,
    /// Bytes of the longest attribute, of events and links too.
    pub longest: usize,
    /// The most attributes of one event or link.
    pub inner_attributes: usize,
    /// All text in it is UTF-8.
    pub is_text: bool,
}

/// Reads a span.
///
/// # Errors
/// When its bytes are no `Span`.
pub fn read(span: &[u8]) -> Result<Facts, Malformed> {
    let mut facts = Facts { is_text: true, ..Facts::default() };
    for field in Fields::of(span) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(id)) => {
                facts.trace = id.try_into().map(u128::from_be_bytes).unwrap_or_default();
            }
            (2, Value::Bytes(id)) => {
                facts.span = id.try_into().map(u64::from_be_bytes).unwrap_or_default();
            }
            (3 | 5, Value::Bytes(text)) => facts.is_text &= std::str::from_utf8(text).is_ok(),
            (4, Value::Bytes(id)) => facts.has_bad_parent = !matches!(id.len(), 0 | 8),
            (7, Value::Fixed64(time)) => facts.start_ns = time,
            (8, Value::Fixed64(time)) => facts.end_ns = time,
            (9, Value::Bytes(attribute)) => {
                facts.attributes += 1;
                facts.longest = facts.longest.max(attribute.len());
                facts.is_text &= check(attribute, Text::ATTRIBUTE)?;
            }
            (11, Value::Bytes(event)) => inner(&mut facts, event, Text::EVENT, 3)?,
            (13, Value::Bytes(link)) => inner(&mut facts, link, Text::LINK, 4)?,
            (15, Value::Bytes(status)) => {
                facts.is_text &= check(status, Text::STATUS)?;
                facts.is_error = Fields::of(status)
                    .flatten()
                    .any(|field| field.number == 3 && field.value == Value::Varint(2));
            }
            // A field that is known, in a wire type that it does not have.
            (1..=5 | 7..=9 | 11 | 13 | 15, _) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(facts)
}

/// An event or a link, whose attributes have this number.
fn inner(facts: &mut Facts, message: &[u8], text: &Text, attribute: u32) -> Result<(), Malformed> {
    facts.is_text &= check(message, text)?;
    let mut count = 0;
    for field in Fields::of(message) {
        if let Ok(field) = field
            && field.number == attribute
        {
            count += 1;
            facts.longest = facts.longest.max(field.raw.len());
        }
    }
    facts.inner_attributes = facts.inner_attributes.max(count);
    Ok(())
}
