//! Where the messages of a span have text, and the check that all of it is UTF-8.
//!
//! One invalid byte makes decoders refuse the whole request that carries it, so a span with one would take its neighbours with
//! it, at each attempt. Source: protobuf.dev, "proto3": strings must be UTF-8.

use crate::traces::wire::{Fields, Malformed, Value};

/// Messages in messages deeper than this are refused.
const DEEPEST: u32 = 24;

/// The text in a message: numbers of its fields that are text, and of those that are messages with text.
#[derive(Debug)]
pub struct Text {
    texts: &'static [u32],
    messages: &'static [(u32, &'static Self)],
}

impl Text {
    /// `AnyValue`
    pub const ANY: &'static Self = &ANY;
    /// `KeyValue`
    pub const ATTRIBUTE: &'static Self = &ATTRIBUTE;
    /// `Resource`
    pub const RESOURCE: &'static Self = &Self { texts: &[], messages: &[(1, &ATTRIBUTE)] };
    /// `InstrumentationScope`
    pub const SCOPE: &'static Self = &Self { texts: &[1, 2], messages: &[(3, &ATTRIBUTE)] };
    /// `Span.Event`
    pub const EVENT: &'static Self = &Self { texts: &[2], messages: &[(3, &ATTRIBUTE)] };
    /// `Span.Link`
    pub const LINK: &'static Self = &Self { texts: &[3], messages: &[(4, &ATTRIBUTE)] };
    /// `Status`
    pub const STATUS: &'static Self = &Self { texts: &[2], messages: &[] };
}

static ANY: Text = Text { texts: &[1], messages: &[(5, &ARRAY), (6, &LIST)] };
static ARRAY: Text = Text { texts: &[], messages: &[(1, &ANY)] };
static LIST: Text = Text { texts: &[], messages: &[(1, &ATTRIBUTE)] };
static ATTRIBUTE: Text = Text { texts: &[1], messages: &[(2, &ANY)] };

/// Whether all text in a message is UTF-8.
///
/// # Errors
/// When the message, or one in it, is malformed or nested too deeply.
pub fn check(message: &[u8], text: &Text) -> Result<bool, Malformed> {
    check_below(message, text, DEEPEST)
}

fn check_below(message: &[u8], text: &Text, deeper: u32) -> Result<bool, Malformed> {
    for field in Fields::of(message) {
        let field = field?;
        let Value::Bytes(bytes) = field.value else { continue };
        if text.texts.contains(&field.number) {
            if std::str::from_utf8(bytes).is_err() {
                return Ok(false);
            }
        } else if let Some((_, inner)) = text.messages.iter().find(|(own, _)| *own == field.number)
        {
            let deeper = deeper.checked_sub(1).ok_or(Malformed)?;
            if !check_below(bytes, inner, deeper)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::wire::{put_bytes, text_attribute};

    #[test]
    fn text_is_found_at_every_depth() {
        let good = text_attribute("key", "värde");
        assert_eq!(check(&good, Text::ATTRIBUTE), Ok(true));
        let mut bad = good.clone();
        let last = bad.len() - 2;
        bad[last] = 0xff;
        assert_eq!(check(&bad, Text::ATTRIBUTE), Ok(false));
        let mut list = Vec::new();
        put_bytes(&mut list, 1, &bad);
        let mut any = Vec::new();
        put_bytes(&mut any, 6, &list);
        assert_eq!(check(&any, Text::ANY), Ok(false));
    }

    #[test]
    fn a_value_nested_without_end_is_malformed() {
        let mut any = Vec::new();
        for _ in 0..100 {
            let mut array = Vec::new();
            put_bytes(&mut array, 1, &any);
            any.clear();
            put_bytes(&mut any, 5, &array);
        }
        assert_eq!(check(&any, Text::ANY), Err(Malformed));
    }
}
