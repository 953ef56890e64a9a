//! Delimited protobuf: metrics that came in it are passed on as they are, but for their labels; text is grouped into metrics.

use super::{group, name};
use crate::relay::accept::Escaping;
use crate::relay::label::put_label;
use crate::relay::merge::{Merged, MergedFamily, Source};
use crate::relay::parse::labels::{pairs, unescape};
use crate::relay::parse::proto::labels;
use crate::relay::parse::{Family, Format, Kind};
use crate::relay::wire::{fields, put_bytes, put_integer, put_varint};

pub(super) fn encode(
    merged: &Merged<'_>,
    escaping: Escaping,
    has_timestamps: bool,
    mut out: Vec<u8>,
) -> Vec<u8> {
    let mut message = Vec::new();
    let mut metric = Vec::new();
    for family in &merged.families {
        message.clear();
        put_bytes(1, &shown(family.name, escaping), &mut message);
        let (source, help) = family.help;
        if !help.is_empty() {
            let format = merged.sources.get(source).map(|source| source.exposition.format);
            let meant = if format == Some(Format::Protobuf) { help.into() } else { unescape(help) };
            put_bytes(2, &meant, &mut message);
        }
        put_integer(3, number(family.kind), &mut message);
        for (position, member) in &family.members {
            let Some(source) = merged.sources.get(*position) else { continue };
            let run = member.metrics.start as usize..member.metrics.end as usize;
            for own in source.exposition.metrics.get(run).unwrap_or_default() {
                metric.clear();
                let bytes = source.exposition.bytes(own.message);
                let has_names = own.is_watched || escaping != Escaping::AllowUtf8;
                passed_on(bytes, has_names, source, member, family, escaping, &mut metric);
                if !has_timestamps {
                    put_bytes(4, &metric, &mut message);
                } else {
                    let stamp = fields(bytes).filter_map(Result::ok).find(|f| f.number == 6);
                    metric.extend_from_slice(stamp.map_or(&[], |stamp| stamp.whole));
                    put_bytes(4, &metric, &mut message);
                }
            }
            group::metrics(source, member, family.kind, escaping, has_timestamps, &mut message);
        }
        if !family.unit.is_empty() {
            put_bytes(5, family.unit, &mut message);
        }
        put_varint(message.len() as u64, &mut out);
        out.extend_from_slice(&message);
    }
    out
}

/// A name as the caller takes it.
fn shown(text: &[u8], escaping: Escaping) -> Vec<u8> {
    if escaping == Escaping::AllowUtf8 { text.to_vec() } else { name::escaped(text, escaping) }
}

const fn number(kind: Kind) -> u64 {
    match kind {
        Kind::Counter => 0,
        Kind::Gauge | Kind::Info | Kind::StateSet => 1,
        Kind::Summary => 2,
        Kind::Unknown => 3,
        Kind::Histogram => 4,
        Kind::GaugeHistogram => 5,
    }
}

/// The field of `Metric` that holds a value of this kind.
pub(super) const fn value_field(kind: Kind) -> u32 {
    match kind {
        Kind::Gauge | Kind::Info | Kind::StateSet => 2,
        Kind::Counter => 3,
        Kind::Summary => 4,
        Kind::Unknown => 5,
        Kind::Histogram | Kind::GaugeHistogram => 7,
    }
}

/// A `Metric` with the target's labels before its own.
fn passed_on(
    message: &[u8],
    has_names: bool,
    source: &Source<'_>,
    member: &Family,
    family: &MergedFamily<'_>,
    escaping: Escaping,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(source.labels.proto());
    if has_names {
        let names: Vec<&[u8]> = labels(message).map(|(name, _)| name).collect();
        for (label, value) in labels(message) {
            let label = source.labels.free_name(label, &names);
            put_label(&shown(&label, escaping), value, out);
        }
    }
    for field in fields(message).filter_map(Result::ok) {
        match field.number {
            1 if has_names => {}
            6 => {}
            // Where another TYPE counts, the value is the same in another field.
            number if number == value_field(member.kind) && member.kind != family.kind => {
                put_bytes(value_field(family.kind), field.bytes(), out);
            }
            _ => out.extend_from_slice(field.whole),
        }
    }
}

/// The labels of a text sample as `label` fields, the target's first; `but` is left out.
pub(super) fn put_labels(
    block: &[u8],
    but: &[u8],
    source: &Source<'_>,
    is_watched: bool,
    escaping: Escaping,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(source.labels.proto());
    let renamed;
    let mut block = block;
    if is_watched {
        renamed = source.labels.renamed(block);
        block = &renamed;
    }
    for pair in pairs(block).filter(|pair| pair.name != but) {
        let inner = pair.name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
        match inner {
            Some(inner) => {
                put_label(&shown(&unescape(inner), escaping), &unescape(pair.value), out);
            }
            None => put_label(&shown(pair.name, escaping), &unescape(pair.value), out),
        }
    }
}
