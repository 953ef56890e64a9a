//! Metrics of a protobuf body as lines of text, for the few targets that answer in protobuf what was not asked for in it.
//!
//! Left out: exemplars and creation times. Of a native histogram there are sum and count, and a bucket of all.

use super::name;
use super::text::{Style, series, timestamp};
use crate::relay::accept::Escaping;
use crate::relay::label::is_plain;
use crate::relay::merge::{MergedFamily, Source};
use crate::relay::parse::labels::escape;
use crate::relay::parse::proto::labels;
use crate::relay::parse::{Family, Kind};
use crate::relay::wire::{Value, fields};

/// What all lines of one metric share.
struct Line<'a> {
    name: &'a [u8],
    escaping: Escaping,
    target: &'a [u8],
    own: Vec<u8>,
    timestamp_ms: Option<i64>,
    is_open: bool,
}

pub(super) fn metrics(
    source: &Source<'_>,
    merged: &MergedFamily<'_>,
    family: &Family,
    style: Style,
    out: &mut Vec<u8>,
) {
    let all =
        source.exposition.metrics.get(family.metrics.start as usize..family.metrics.end as usize);
    for metric in all.unwrap_or_default() {
        let message = source.exposition.bytes(metric.message);
        let mut line = Line {
            name: merged.name,
            escaping: style.escaping,
            target: source.labels.text(),
            own: own_labels(message, source, style.escaping),
            timestamp_ms: None,
            is_open: style.is_open,
        };
        let fields: Vec<_> = fields(message).filter_map(Result::ok).collect();
        let stamp = fields.iter().find(|field| field.number == 6).filter(|_| style.has_timestamps);
        line.timestamp_ms = stamp.map(|field| field.integer().cast_signed());
        for field in &fields {
            match (field.number, family.kind) {
                (2, Kind::Gauge) | (3, Kind::Counter) | (5, Kind::Unknown) => {
                    line.put("", None, value(field.bytes(), 1), out);
                }
                (4, Kind::Summary) => summary(&line, field.bytes(), out),
                (7, Kind::Histogram | Kind::GaugeHistogram) => histogram(&line, field.bytes(), out),
                _ => {}
            }
        }
    }
}

fn own_labels(message: &[u8], source: &Source<'_>, escaping: Escaping) -> Vec<u8> {
    let names: Vec<&[u8]> = labels(message).map(|(name, _)| name).collect();
    let mut out = Vec::new();
    for (label, value) in labels(message) {
        if !out.is_empty() {
            out.push(b',');
        }
        let label = source.labels.free_name(label, &names);
        if std::str::from_utf8(&label).is_ok_and(is_plain) {
            out.extend_from_slice(&label);
        } else if escaping == Escaping::AllowUtf8 {
            name::put_quoted(&label, &mut out);
        } else {
            out.extend(name::escaped(&label, escaping));
        }
        out.extend_from_slice(b"=\"");
        escape(value, &mut out);
        out.push(b'"');
    }
    out
}

/// A number field of a message; 0 without it.
fn value(message: &[u8], number: u32) -> f64 {
    let found =
        fields(message).filter_map(Result::ok).filter(|field| field.number == number).last();
    found.map_or(0.0, |field| match field.value {
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts are numbers with a fraction in text"
        )]
        Value::Varint(whole) => whole as f64,
        Value::Fixed64(_) | Value::Fixed32(_) | Value::Bytes(_) => field.double(),
    })
}

fn summary(line: &Line<'_>, message: &[u8], out: &mut Vec<u8>) {
    for field in fields(message).filter_map(Result::ok).filter(|field| field.number == 3) {
        let quantile = bound(value(field.bytes(), 1), line.is_open);
        line.put("", Some(("quantile", &quantile)), value(field.bytes(), 2), out);
    }
    line.put("_sum", None, value(message, 2), out);
    line.put("_count", None, value(message, 1), out);
}

fn histogram(line: &Line<'_>, message: &[u8], out: &mut Vec<u8>) {
    // Counts may be whole or not; whichever is there.
    let count = value(message, 1) + value(message, 4);
    let mut has_all = false;
    for field in fields(message).filter_map(Result::ok).filter(|field| field.number == 3) {
        let upper = value(field.bytes(), 2);
        has_all |= upper == f64::INFINITY;
        let cumulative = value(field.bytes(), 1) + value(field.bytes(), 4);
        line.put("_bucket", Some(("le", &bound(upper, line.is_open))), cumulative, out);
    }
    if !has_all {
        line.put("_bucket", Some(("le", "+Inf")), count, out);
    }
    line.put("_sum", None, value(message, 2), out);
    line.put("_count", None, count, out);
}

fn bound(value: f64, is_open: bool) -> String {
    if is_open && value.is_finite() { format!("{value:?}") } else { number(value) }
}

/// As Prometheus' own clients write it, nearly: the shortest digits that mean the same.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else if value.abs() < 1e15 {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

impl Line<'_> {
    fn put(&self, suffix: &str, bound: Option<(&str, &str)>, value: f64, out: &mut Vec<u8>) {
        let name = [self.name, suffix.as_bytes()].concat();
        let mut own = self.own.clone();
        if let Some((name, value)) = bound {
            let comma = if own.is_empty() { "" } else { "," };
            own.extend_from_slice(format!("{comma}{name}=\"{value}\"").as_bytes());
        }
        series(&name, self.target, &own, self.escaping, out);
        out.push(b' ');
        out.extend_from_slice(number(value).as_bytes());
        if let Some(milliseconds) = self.timestamp_ms {
            timestamp(milliseconds, self.is_open, out);
        }
        out.push(b'\n');
    }
}
