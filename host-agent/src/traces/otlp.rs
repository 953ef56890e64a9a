//! OTLP's message of spans as bytes: which parts it has, and changing some of them while the others are copied as they are.
//!
//! An `ExportTraceServiceRequest` is nothing but `resource_spans` one after another, so requests are joined by appending their
//! bytes; unknown fields survive, because nothing is decoded that is not looked at.
//! Source: opentelemetry-proto, `trace.proto`, `resource.proto`, `common.proto`.
//!
//! **Invariants**: what no callback changes leaves as it came, byte for byte; spans keep their order.

mod schema;
mod span;

pub use schema::{Text, check};
pub use span::{Facts, read};

use super::wire::{Fields, Malformed, all, put_bytes, put_length};

/// Numbers of the fields that are looked at.
pub mod field {
    /// `ExportTraceServiceRequest.resource_spans`
    pub const RESOURCE_SPANS: u32 = 1;
    /// `ResourceSpans.resource`
    pub const RESOURCE: u32 = 1;
    /// `ResourceSpans.scope_spans`
    pub const SCOPE_SPANS: u32 = 2;
    /// `ScopeSpans.scope`
    pub const SCOPE: u32 = 1;
    /// `ScopeSpans.spans`
    pub const SPANS: u32 = 2;
}

/// What becomes of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is.
    Keep,
    /// It becomes this.
    Replace(Vec<u8>),
    /// It is left out.
    Drop,
}

/// What looks at the parts of a request and decides.
pub trait Editor {
    /// Of a resource, in the bytes that it has: what to append or put in its place; [`Decision::Drop`] leaves all of its spans out.
    fn resource(&mut self, resource: &[u8], spans: &[&[u8]]) -> Decision;
    /// Of an instrumentation scope; [`Decision::Drop`] leaves its spans out. `scope` is its `ScopeSpans`.
    fn scope(&mut self, scope: &[u8]) -> Decision;
    /// Of one span.
    fn span(&mut self, span: &[u8]) -> Decision;
}

/// What an [`Editor`] made of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edited {
    /// The request's bytes; empty when no span is left.
    pub bytes: Vec<u8>,
    /// Spans in it.
    pub spans: u32,
}

/// Shows the parts of a request to `editor` and puts the result together.
///
/// # Errors
/// When the request is malformed above the level of spans; a span's own bytes are the editor's concern.
pub fn edit(request: &[u8], editor: &mut impl Editor) -> Result<Edited, Malformed> {
    let mut edited = Edited { bytes: Vec::with_capacity(request.len() + 256), spans: 0 };
    for field in Fields::of(request) {
        let field = field?;
        if field.number == field::RESOURCE_SPANS {
            edit_resource(field.value.bytes()?, editor, &mut edited)?;
        }
    }
    Ok(edited)
}

fn edit_resource(
    message: &[u8],
    editor: &mut impl Editor,
    edited: &mut Edited,
) -> Result<(), Malformed> {
    let mut resource: Option<std::borrow::Cow<'_, [u8]>> = None;
    let mut scopes = Vec::new();
    let mut others = Vec::new();
    for field in Fields::of(message) {
        let field = field?;
        match field.number {
            // A message that comes twice is merged, which is what appending does.
            field::RESOURCE => match &mut resource {
                None => resource = Some(field.value.bytes()?.into()),
                Some(first) => first.to_mut().extend_from_slice(field.value.bytes()?),
            },
            field::SCOPE_SPANS => scopes.push(field.value.bytes()?),
            _ => others.push(field.raw),
        }
    }
    let changed = match editor.resource(resource.as_deref().unwrap_or_default(), &scopes) {
        Decision::Keep => resource,
        Decision::Replace(changed) => Some(changed.into()),
        Decision::Drop => return Ok(()),
    };
    let mut spans = 0;
    let mut kept = Vec::with_capacity(scopes.len());
    for scope in scopes {
        match editor.scope(scope) {
            Decision::Keep => {}
            Decision::Drop | Decision::Replace(_) => continue,
        }
        let (scope, count) = edit_scope(scope, editor)?;
        if count > 0 {
            spans += count;
            kept.push(scope);
        }
    }
    if spans == 0 {
        return Ok(());
    }
    edited.spans += spans;
    let parts = kept.iter().map(|scope| sized(scope.len())).sum::<usize>()
        + others.iter().map(|other| other.len()).sum::<usize>()
        + changed.as_ref().map_or(0, |resource| sized(resource.len()));
    let to = &mut edited.bytes;
    put_length(to, field::RESOURCE_SPANS, parts);
    if let Some(resource) = &changed {
        put_bytes(to, field::RESOURCE, resource);
    }
    for scope in &kept {
        put_bytes(to, field::SCOPE_SPANS, scope);
    }
    for other in others {
        to.extend_from_slice(other);
    }
    Ok(())
}

/// Bytes of a field of `length` bytes with a small number.
fn sized(length: usize) -> usize {
    let bits = usize::BITS - (length | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize + length
}

/// The scope's spans after the editor saw them, and how many there are. Copies only from the first change on.
fn edit_scope<'a>(
    message: &'a [u8],
    editor: &mut impl Editor,
) -> Result<(std::borrow::Cow<'a, [u8]>, u32), Malformed> {
    let mut spans = 0;
    let mut copied = 0;
    let mut changed: Option<Vec<u8>> = None;
    for field in Fields::of(message) {
        let field = field?;
        let begin = copied;
        copied += field.raw.len();
        let decision = match field.number {
            field::SPANS => editor.span(field.value.bytes()?),
            _ => Decision::Keep,
        };
        if field.number == field::SPANS && decision != Decision::Drop {
            spans += 1;
        }
        if let Decision::Keep = decision {
            if let Some(changed) = &mut changed {
                changed.extend_from_slice(field.raw);
            }
            continue;
        }
        let to = changed.get_or_insert_with(|| message.get(..begin).unwrap_or_default().to_vec());
        if let Decision::Replace(span) = decision {
            put_bytes(to, field::SPANS, &span);
        }
    }
    Ok((changed.map_or(message.into(), Into::into), spans))
}

/// Calls `visit` with each span of a request; a request that cannot be read ends it.
pub fn visit_spans<'a>(request: &'a [u8], mut visit: impl FnMut(&'a [u8])) {
    for resource in all(request, field::RESOURCE_SPANS) {
        for scope in all(resource, field::SCOPE_SPANS) {
            all(scope, field::SPANS).for_each(&mut visit);
        }
    }
}
