//! Samples of text → `Metric` messages: the lines of one histogram or summary become one message.

use std::collections::BTreeMap;

use super::proto::{put_labels, value_field};
use crate::relay::accept::Escaping;
use crate::relay::label::put_label;
use crate::relay::merge::Source;
use crate::relay::parse::labels::{pairs, unescape};
use crate::relay::parse::value::number;
use crate::relay::parse::{Exposition, Family, Kind, Part, Sample};
use crate::relay::wire::{put_bytes, put_double, put_integer, put_varint};

/// What the lines with the same labels say together.
#[derive(Default)]
struct Group<'a> {
    first: Option<&'a Sample>,
    value: Option<&'a Sample>,
    sum: Option<f64>,
    count: Option<f64>,
    created: Option<f64>,
    /// Bound, value, exemplar.
    rows: Vec<(f64, f64, &'a [u8])>,
}

/// Writes the family's samples as `metric` fields of a family that has `kind`.
pub(super) fn metrics(
    source: &Source<'_>,
    family: &Family,
    kind: Kind,
    escaping: Escaping,
    has_timestamps: bool,
    out: &mut Vec<u8>,
) {
    let exposition = source.exposition;
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut by_labels: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut current: (Vec<u8>, usize) = (Vec::new(), 0);
    let bound_name: &[u8] = if family.kind == Kind::Summary { b"quantile" } else { b"le" };
    let mut key = Vec::new();
    for sample in samples(exposition, family) {
        let block = exposition.bytes(sample.labels);
        key.clear();
        let bound = split_bound(block, bound_name, sample, family.kind, &mut key);
        if groups.is_empty() || current.0 != key {
            let next = groups.len();
            // With timestamps, a series may have several samples.
            let at = if has_timestamps && sample.timestamp_ms.is_some() && bound.is_none() {
                next
            } else {
                *by_labels.entry(key.clone()).or_insert(next)
            };
            if at == next {
                groups.push(Group::default());
            }
            current = (key.clone(), at);
        }
        let Some(group) = groups.get_mut(current.1) else { continue };
        group.first.get_or_insert(sample);
        let value = number(exposition.bytes(sample.value)).unwrap_or(f64::NAN);
        match sample.part {
            Part::Bucket => {
                group.rows.push((
                    bound.unwrap_or(f64::NAN),
                    value,
                    exposition.bytes(sample.exemplar),
                ));
            }
            Part::Value if family.kind == Kind::Summary => {
                group.rows.push((bound.unwrap_or(f64::NAN), value, &[]));
            }
            Part::Value => group.value = Some(sample),
            Part::Sum | Part::GaugeSum => group.sum = Some(value),
            Part::Count | Part::GaugeCount => group.count = Some(value),
            Part::Created => group.created = Some(value),
        }
    }
    let mut metric = Vec::new();
    let mut inner = Vec::new();
    for group in &groups {
        let Some(first) = group.first else { continue };
        metric.clear();
        inner.clear();
        let block = exposition.bytes(first.labels);
        let but = if group.rows.is_empty() { &b""[..] } else { bound_name };
        put_labels(block, but, source, first.is_watched, escaping, &mut metric);
        value(group, exposition, kind, escaping, &mut inner);
        put_bytes(value_field(kind), &inner, &mut metric);
        if let Some(stamp) = first.timestamp_ms.filter(|_| has_timestamps) {
            put_integer(6, stamp.cast_unsigned(), &mut metric);
        }
        put_bytes(4, &metric, out);
    }
}

fn samples<'a>(exposition: &'a Exposition, family: &'a Family) -> impl Iterator<Item = &'a Sample> {
    family.samples.iter().flat_map(|run| {
        exposition.samples.get(run.start as usize..run.end as usize).unwrap_or_default()
    })
}

/// The labels without the bound go into `key`; the bound.
fn split_bound(
    block: &[u8],
    bound_name: &[u8],
    sample: &Sample,
    kind: Kind,
    key: &mut Vec<u8>,
) -> Option<f64> {
    let has_bound =
        sample.part == Part::Bucket || (sample.part == Part::Value && kind == Kind::Summary);
    if !has_bound {
        key.extend_from_slice(block);
        return None;
    }
    let mut bound = None;
    for pair in pairs(block) {
        if pair.name == bound_name {
            bound = number(pair.value);
            continue;
        }
        if !key.is_empty() {
            key.push(b',');
        }
        key.extend_from_slice(pair.name);
        key.extend_from_slice(b"=\"");
        key.extend_from_slice(pair.value);
        key.push(b'"');
    }
    bound
}

/// The value's message.
fn value(
    group: &Group<'_>,
    exposition: &Exposition,
    kind: Kind,
    escaping: Escaping,
    out: &mut Vec<u8>,
) {
    match kind {
        Kind::Summary => {
            put_integer(1, whole(group.count.unwrap_or(0.0)).unwrap_or(0), out);
            put_double(2, group.sum.unwrap_or(0.0), out);
            for (quantile, value, _) in &group.rows {
                let mut row = Vec::with_capacity(20);
                put_double(1, *quantile, &mut row);
                put_double(2, *value, &mut row);
                put_bytes(3, &row, out);
            }
            created(group.created, 4, out);
        }
        Kind::Histogram | Kind::GaugeHistogram => {
            let all = group.rows.iter().find(|(bound, _, _)| *bound == f64::INFINITY);
            let count = group.count.or(all.map(|(_, count, _)| *count)).unwrap_or(0.0);
            put_count(count, 1, 4, out);
            put_double(2, group.sum.unwrap_or(0.0), out);
            for (bound, count, exemplar) in &group.rows {
                let mut row = Vec::with_capacity(24);
                put_count(*count, 1, 4, &mut row);
                put_double(2, *bound, &mut row);
                put_exemplar(exemplar, 3, escaping, &mut row);
                put_bytes(3, &row, out);
            }
            created(group.created, 15, out);
        }
        Kind::Counter | Kind::Gauge | Kind::Info | Kind::StateSet | Kind::Unknown => {
            let sample = group.value;
            let value = sample.and_then(|sample| number(exposition.bytes(sample.value)));
            put_double(1, value.unwrap_or(0.0), out);
            if kind == Kind::Counter {
                let exemplar = sample.map_or(&b""[..], |one| exposition.bytes(one.exemplar));
                put_exemplar(exemplar, 2, escaping, out);
                created(group.created, 3, out);
            }
        }
    }
}

/// A count without a fraction, else nothing.
fn whole(count: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range and the fraction were looked at"
    )]
    ((0.0..9.0e15).contains(&count) && count.fract() == 0.0).then_some(count as u64)
}

fn put_count(count: f64, integer: u32, float: u32, out: &mut Vec<u8>) {
    match whole(count) {
        Some(whole) => put_integer(integer, whole, out),
        None => put_double(float, count, out),
    }
}

fn created(seconds: Option<f64>, field: u32, out: &mut Vec<u8>) {
    if let Some(seconds) = seconds.filter(|seconds| seconds.is_finite()) {
        put_timestamp(seconds, field, out);
    }
}

/// A `google.protobuf.Timestamp`.
fn put_timestamp(seconds: f64, field: u32, out: &mut Vec<u8>) {
    let mut message = Vec::with_capacity(16);
    let begin = seconds.floor();
    #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
    let (begin, nanos) = (begin as i64, ((seconds - begin) * 1e9).round() as i32);
    put_integer(1, begin.cast_unsigned(), &mut message);
    put_varint(2 << 3, &mut message);
    put_varint(u64::from(nanos.clamp(0, 999_999_999).cast_unsigned()), &mut message);
    put_bytes(field, &message, out);
}

/// `{a="b"} 1 2` as an `Exemplar`.
fn put_exemplar(text: &[u8], field: u32, escaping: Escaping, out: &mut Vec<u8>) {
    let Some(rest) = text.strip_prefix(b"{") else { return };
    let mut message = Vec::with_capacity(text.len());
    let mut labels_length = 0;
    for pair in pairs(rest) {
        labels_length =
            pair.value.as_ptr() as usize + pair.value.len() + 1 - rest.as_ptr() as usize;
        put_label(&super::name::escaped(pair.name, escaping), &unescape(pair.value), &mut message);
    }
    let after = rest.get(labels_length..).unwrap_or_default();
    let after = after.strip_prefix(b"}").unwrap_or(after);
    let mut numbers = after.split(|byte| *byte == b' ').filter(|part| !part.is_empty());
    let Some(value) = numbers.next().and_then(number) else { return };
    put_double(2, value, &mut message);
    if let Some(seconds) = numbers.next().and_then(number) {
        put_timestamp(seconds, 3, &mut message);
    }
    put_bytes(field, &message, out);
}
