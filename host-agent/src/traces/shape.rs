//! Stage 3: what an accepted span looks like: checked, within its limits, without secrets, and its resource says where it is from.
//!
//! In: a request's bytes, who sent it, the time. Out: its bytes again, and what was refused or shortened, by reason.
//! Pure: called by `receive/` before anything is acknowledged.
//!
//! **Invariants**: a bad span is a counted reject and never the end of its request; a span that needs no change is copied as it
//! came; nothing is dropped from a span without its `dropped_attributes_count` saying so (text that is only shortened ends in `…`).
//! **Absent**: dropping whole spans by rule or chance: that is `tail.rs`.

mod attributes;
pub mod enrich;
pub mod redact;

use std::collections::BTreeMap;
use std::time::Duration;

use super::otlp::{Decision, Editor, Facts, Text, check, edit, field, read};
use super::wire::{Fields, Malformed};
use attributes::Rewrite;
pub use enrich::Origin;
pub use redact::Redaction;

/// Why a span is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    /// Its bytes are no span.
    Malformed,
    /// Its trace id has not 16 bytes, or is zero.
    TraceId,
    /// Its span id has not 8 bytes, or is zero; or its parent's has neither 0 nor 8.
    SpanId,
    /// It has no beginning, or its end is too far in the past or in the future.
    Clock,
    /// Text in it, in its scope or in its resource is not UTF-8.
    NotUtf8,
    /// It is larger than a span may be.
    TooLarge,
}

impl Reject {
    /// The word in metrics and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TraceId => "trace_id",
            Self::SpanId => "span_id",
            Self::Clock => "clock",
            Self::NotUtf8 => "not_utf8",
            Self::TooLarge => "too_large",
        }
    }
}

/// What a span may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Attributes of a span, an event, a link or a resource; later ones are dropped and counted in it.
    pub attributes: usize,
    /// Bytes of an attribute: text is shortened, other values are dropped and counted in it.
    pub attribute_bytes: usize,
    /// Bytes of a span; a larger one is refused.
    pub span_bytes: usize,
    /// How far in the future it may end.
    pub ahead: Duration,
    /// How long ago it may have ended.
    pub age: Duration,
}

/// The rules of this stage.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What a span may have.
    pub limits: Limits,
    /// What is masked.
    pub redaction: Redaction,
    /// What resources say.
    pub overwrite: Vec<String>,
}

/// A shaped request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shaped {
    /// Its bytes; empty when no span is left.
    pub bytes: Vec<u8>,
    /// Spans in it.
    pub spans: u32,
    /// Spans that were refused.
    pub rejected: BTreeMap<Reject, u32>,
    /// Spans that were changed to fit the limits or to hide secrets.
    pub changed: u32,
    /// Spans that end before they begin; they are passed on.
    pub backwards: u32,
    /// What was seen of each span that is kept, for tail sampling.
    pub facts: Vec<Facts>,
}

impl Shaped {
    /// All spans that were refused.
    pub fn rejects(&self) -> u32 {
        self.rejected.values().sum()
    }
}

impl Shape {
    /// Shapes a request that came from `origin`; `now_ns` is the time since the epoch.
    ///
    /// # Errors
    /// When the request is malformed above its spans.
    pub fn shape(&self, request: &[u8], origin: &Origin, now_ns: u64) -> Result<Shaped, Malformed> {
        let mut shaper = Shaper { shape: self, origin, now_ns, shaped: Shaped::default() };
        let edited = edit(request, &mut shaper)?;
        Ok(Shaped { bytes: edited.bytes, spans: edited.spans, ..shaper.shaped })
    }
}

struct Shaper<'a> {
    shape: &'a Shape,
    origin: &'a Origin,
    now_ns: u64,
    shaped: Shaped,
}

impl Shaper<'_> {
    fn reject(&mut self, why: Reject, spans: usize) -> Decision {
        *self.shaped.rejected.entry(why).or_default() += u32::try_from(spans).unwrap_or(u32::MAX);
        Decision::Drop
    }

    fn judge(&self, facts: &Facts) -> Result<(), Reject> {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let limits = &self.shape.limits;
        let latest = self.now_ns.saturating_add(ns(limits.ahead));
        let oldest = self.now_ns.saturating_sub(ns(limits.age));
        let end = facts.end_ns.max(facts.start_ns);
        match facts {
            Facts { trace: 0, .. } => Err(Reject::TraceId),
            Facts { span: 0, .. } | Facts { has_bad_parent: true, .. } => Err(Reject::SpanId),
            Facts { start_ns: 0, .. } => Err(Reject::Clock),
            _ if end > latest || end < oldest => Err(Reject::Clock),
            Facts { is_text: false, .. } => Err(Reject::NotUtf8),
            _ => Ok(()),
        }
    }
}

/// Spans below these `ScopeSpans`, as far as they can be counted.
fn count(scopes: &[&[u8]]) -> usize {
    let fields = scopes.iter().flat_map(|scope| Fields::of(scope));
    fields.flatten().filter(|field| field.number == field::SPANS).count()
}

impl Editor for Shaper<'_> {
    fn resource(&mut self, resource: &[u8], scopes: &[&[u8]]) -> Decision {
        match check(resource, Text::RESOURCE) {
            Ok(true) => {}
            Ok(false) => return self.reject(Reject::NotUtf8, count(scopes)),
            Err(Malformed) => return self.reject(Reject::Malformed, count(scopes)),
        }
        let rewrite = Rewrite { limits: &self.shape.limits, redaction: &self.shape.redaction };
        let limited = rewrite.message(resource, attributes::RESOURCE);
        let enriched =
            self.origin.enrich(limited.as_deref().unwrap_or(resource), &self.shape.overwrite);
        match enriched.or(limited) {
            Some(changed) => Decision::Replace(changed),
            None => Decision::Keep,
        }
    }

    fn scope(&mut self, scope: &[u8]) -> Decision {
        let head = Fields::of(scope).flatten().find(|head| head.number == field::SCOPE);
        let checked = match head.map(|head| head.value.bytes()) {
            None => Ok(true),
            Some(bytes) => bytes.and_then(|bytes| check(bytes, Text::SCOPE)),
        };
        match checked {
            Ok(true) => Decision::Keep,
            Ok(false) => self.reject(Reject::NotUtf8, count(&[scope])),
            Err(Malformed) => self.reject(Reject::Malformed, count(&[scope])),
        }
    }

    fn span(&mut self, span: &[u8]) -> Decision {
        let Ok(facts) = read(span) else { return self.reject(Reject::Malformed, 1) };
        if let Err(why) = self.judge(&facts) {
            return self.reject(why, 1);
        }
        let limits = &self.shape.limits;
        let is_over = facts.attributes > limits.attributes
            || facts.inner_attributes > limits.attributes
            || facts.longest > limits.attribute_bytes;
        let rewrite = Rewrite { limits, redaction: &self.shape.redaction };
        let changed =
            (is_over || !self.shape.redaction.is_empty()).then(|| rewrite.span(span)).flatten();
        if changed.as_deref().unwrap_or(span).len() > limits.span_bytes {
            return self.reject(Reject::TooLarge, 1);
        }
        self.shaped.backwards += u32::from(facts.end_ns < facts.start_ns && facts.end_ns > 0);
        self.shaped.facts.push(facts);
        match changed {
            Some(changed) => {
                self.shaped.changed += 1;
                Decision::Replace(changed)
            }
            None => Decision::Keep,
        }
    }
}

#[cfg(test)]
mod tests;
