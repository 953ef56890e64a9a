//! A series in text: its name with the target's labels and its own.

use super::name;
use crate::relay::accept::Escaping;
use crate::relay::label::TargetLabels;
use crate::relay::parse::labels::{pairs, unescape};

/// Labels in braces, or nothing when there are none.
pub(super) fn block(target: &[u8], own: &[u8], out: &mut Vec<u8>) {
    if target.is_empty() && own.is_empty() {
        return;
    }
    out.push(b'{');
    out.extend_from_slice(target);
    if !target.is_empty() && !own.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(own);
    out.push(b'}');
}

/// A series with names that need quotes.
pub(super) fn quoted_series(
    metric: &[u8],
    target: &TargetLabels,
    own: &[u8],
    escaping: Escaping,
    out: &mut Vec<u8>,
) {
    if escaping == Escaping::AllowUtf8 {
        return series(metric, target.text(), own, escaping, out);
    }
    let mut written = Vec::with_capacity(own.len());
    for pair in pairs(own) {
        if !written.is_empty() {
            written.push(b',');
        }
        let inner = pair.name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
        match inner {
            Some(inner) => written.extend(name::escaped_label(&unescape(inner), escaping)),
            None => written.extend(name::escaped_label(pair.name, escaping)),
        }
        written.extend_from_slice(b"=\"");
        written.extend_from_slice(pair.value);
        written.push(b'"');
    }
    series(metric, target.text(), &written, escaping, out);
}

/// A name with labels that are written as the caller takes them.
pub(super) fn series(
    metric: &[u8],
    target: &[u8],
    own: &[u8],
    escaping: Escaping,
    out: &mut Vec<u8>,
) {
    if escaping != Escaping::AllowUtf8 || name::is_plain(metric) {
        out.extend_from_slice(&name::escaped(metric, escaping));
        return block(target, own, out);
    }
    out.push(b'{');
    name::put_quoted(metric, out);
    for part in [target, own].into_iter().filter(|part| !part.is_empty()) {
        out.push(b',');
        out.extend_from_slice(part);
    }
    out.push(b'}');
}
