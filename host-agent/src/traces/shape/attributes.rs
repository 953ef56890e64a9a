//! Attributes within their limits and without secrets: of spans, events, links and resources, which have them in the same form.

use std::borrow::Cow;

use super::{Limits, Redaction};
use crate::traces::wire::{Fields, Value, all, put_bytes, put_number, text_attribute};

/// Numbers of the fields `attributes` and `dropped_attributes_count` of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    attributes: u32,
    dropped: u32,
}

pub(super) const RESOURCE: Numbers = Numbers { attributes: 1, dropped: 2 };
const SPAN: Numbers = Numbers { attributes: 9, dropped: 10 };
const EVENT: Numbers = Numbers { attributes: 3, dropped: 4 };
const LINK: Numbers = Numbers { attributes: 4, dropped: 5 };
const EVENTS: u32 = 11;
const LINKS: u32 = 13;
const MASK: &str = "[redacted]";
const ELLIPSIS: &str = "…";

/// What is done to attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rewrite<'a> {
    pub limits: &'a Limits,
    pub redaction: &'a Redaction,
}

impl Rewrite<'_> {
    /// A span with its events and links; `None` when nothing is to change.
    pub(super) fn span(self, span: &[u8]) -> Option<Vec<u8>> {
        let mut is_changed = false;
        let mut inner = Vec::with_capacity(span.len());
        for field in Fields::of(span).flatten() {
            let numbers = match field.number {
                EVENTS => Some(EVENT),
                LINKS => Some(LINK),
                _ => None,
            };
            let changed = match (numbers, field.value) {
                (Some(numbers), Value::Bytes(message)) => self.message(message, numbers),
                _ => None,
            };
            match changed {
                None => inner.extend_from_slice(field.raw),
                Some(changed) => {
                    is_changed = true;
                    put_bytes(&mut inner, field.number, &changed);
                }
            }
        }
        self.message(&inner, SPAN).or_else(|| is_changed.then_some(inner))
    }

    /// One message's own attributes; `None` when nothing is to change.
    pub(super) fn message(self, message: &[u8], numbers: Numbers) -> Option<Vec<u8>> {
        let mut to = Vec::with_capacity(message.len());
        let (mut kept, mut dropped, mut before, mut is_changed) = (0, 0, 0, false);
        for field in Fields::of(message).flatten() {
            match (field.number, field.value) {
                (number, Value::Bytes(attribute)) if number == numbers.attributes => {
                    match self.attribute(attribute).filter(|_| kept < self.limits.attributes) {
                        None => dropped += 1,
                        Some(own) => {
                            kept += 1;
                            is_changed |= matches!(own, Cow::Owned(_));
                            put_bytes(&mut to, number, &own);
                        }
                    }
                }
                (number, Value::Varint(count)) if number == numbers.dropped => before = count,
                _ => to.extend_from_slice(field.raw),
            }
        }
        if dropped == 0 && !is_changed {
            return None;
        }
        if before + dropped > 0 {
            put_number(&mut to, numbers.dropped, before + dropped);
        }
        Some(to)
    }

    /// An attribute as it may stay; `None` when it may not.
    fn attribute<'b>(self, attribute: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        let key = all(attribute, 1).next().unwrap_or_default();
        let key = std::str::from_utf8(key).unwrap_or_default();
        if self.redaction.hides(key) {
            return Some(text_attribute(key, MASK).into());
        }
        if attribute.len() <= self.limits.attribute_bytes {
            return Some(Cow::Borrowed(attribute));
        }
        let text = std::str::from_utf8(all(all(attribute, 2).next()?, 1).next()?).ok()?;
        // The rest of the attribute: key, tags, lengths.
        let others = attribute.len() - text.len() + ELLIPSIS.len();
        let room = self.limits.attribute_bytes.checked_sub(others)?;
        let end = text.floor_char_boundary(room);
        let short = format!("{}{ELLIPSIS}", text.get(..end)?);
        Some(text_attribute(key, &short).into())
    }
}
