//! What a resource says about where its spans are from, by who sent them.
//!
//! **Invariants**: what the application set stays, unless the configuration names the key; `unknown_service…` is what SDKs write
//! where the application set nothing, so it counts as not set.

use crate::traces::wire::{Fields, all, put_bytes, text_attribute};

/// Attributes for the resources of one sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    attributes: Vec<(String, String)>,
}

impl Origin {
    /// Says `key` of the sender.
    pub fn say(&mut self, key: &str, value: &str) {
        self.attributes.push((key.to_owned(), value.to_owned()));
    }

    /// What is said, in its order.
    pub fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }

    /// The resource with what it lacks; `None` when it lacks nothing.
    pub(super) fn enrich(&self, resource: &[u8], overwrite: &[String]) -> Option<Vec<u8>> {
        let mut is_set = vec![false; self.attributes.len()];
        let (mut kept, mut is_changed) = (Vec::new(), false);
        for field in Fields::of(resource).flatten() {
            let Some((index, value)) = self.named(field.number, field.value.bytes().ok()) else {
                kept.push(field.raw);
                continue;
            };
            let is_ours = self.attributes.get(index).is_some_and(|(key, own)| {
                value == own.as_bytes() || !(overwrite.contains(key) || is_fallback(key, value))
            });
            match is_set.get_mut(index) {
                Some(is_set) if is_ours => {
                    kept.push(field.raw);
                    *is_set = true;
                }
                _ => is_changed = true,
            }
        }
        if !is_changed && is_set.iter().all(|is_set| *is_set) {
            return None;
        }
        let mut to = Vec::with_capacity(resource.len() + 64 * is_set.len());
        kept.iter().for_each(|raw| to.extend_from_slice(raw));
        for ((key, value), _) in self.attributes.iter().zip(is_set).filter(|(_, is_set)| !is_set) {
            put_bytes(&mut to, 1, &text_attribute(key, value));
        }
        Some(to)
    }

    /// The index of the attribute of ours that a field of the resource is, and the text it has there.
    fn named<'a>(&self, number: u32, bytes: Option<&'a [u8]>) -> Option<(usize, &'a [u8])> {
        let attribute = bytes.filter(|_| number == 1)?;
        let key = all(attribute, 1).next()?;
        let index = self.attributes.iter().position(|(own, _)| own.as_bytes() == key)?;
        let text = all(attribute, 2).next().and_then(|value| all(value, 1).next());
        Some((index, text.unwrap_or_default()))
    }
}

fn is_fallback(key: &str, value: &[u8]) -> bool {
    value.is_empty() || (key == "service.name" && value.starts_with(b"unknown_service"))
}
