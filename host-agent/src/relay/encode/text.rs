//! The text formats.

use super::{name, render};
use crate::relay::accept::Escaping;
use crate::relay::label::TargetLabels;
use crate::relay::merge::{Merged, MergedFamily, Source};
use crate::relay::parse::labels::{escape, pairs, unescape};
use crate::relay::parse::{Family, Format, Kind, Part, Sample};

/// How a body is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// OpenMetrics, else text 0.0.4.
    pub(super) is_open: bool,
    pub(super) escaping: Escaping,
    pub(super) has_timestamps: bool,
}

/// One header with the samples below it; a family of OpenMetrics is several in the text format.
struct Section {
    name: Vec<u8>,
    kind: &'static str,
    parts: &'static [Part],
}

const ALL: &[Part] = &[
    Part::Value,
    Part::Bucket,
    Part::Sum,
    Part::Count,
    Part::GaugeSum,
    Part::GaugeCount,
    Part::Created,
];
const MAIN: &[Part] = &[Part::Value, Part::Bucket, Part::Sum, Part::Count];

pub(super) fn encode(
    merged: &Merged<'_>,
    is_open: bool,
    escaping: Escaping,
    has_timestamps: bool,
    mut out: Vec<u8>,
) -> Vec<u8> {
    let style = Style { is_open, escaping, has_timestamps };
    for family in &merged.families {
        for section in sections(merged, family, is_open) {
            self::section(merged, family, &section, style, &mut out);
        }
    }
    if is_open {
        out.extend_from_slice(b"# EOF\n");
    }
    out
}

fn sections(merged: &Merged<'_>, family: &MergedFamily<'_>, is_open: bool) -> Vec<Section> {
    // Where another family has the name without its end (Go's go_memstats_alloc_bytes), it cannot go by that one.
    let has_stem = |suffix: &[u8]| {
        let stem = family.name.strip_suffix(suffix);
        stem.is_some_and(|stem| {
            merged.families.binary_search_by(|other| other.name.cmp(stem)).is_err()
        })
    };
    let stem = |suffix: &[u8]| family.name.strip_suffix(suffix).unwrap_or(family.name);
    let whole = |name: &[u8], kind| vec![Section { name: name.to_vec(), kind, parts: ALL }];
    if is_open {
        return match family.kind {
            Kind::Counter if has_stem(b"_total") => whole(stem(b"_total"), "counter"),
            Kind::Info if has_stem(b"_info") => whole(stem(b"_info"), "info"),
            Kind::Counter | Kind::Unknown => whole(family.name, "unknown"),
            Kind::Gauge | Kind::Info => whole(family.name, "gauge"),
            Kind::Histogram => whole(family.name, "histogram"),
            Kind::GaugeHistogram => whole(family.name, "gaugehistogram"),
            Kind::Summary => whole(family.name, "summary"),
            Kind::StateSet => whole(family.name, "stateset"),
        };
    }
    let (kind, stem) = match family.kind {
        Kind::Counter => ("counter", stem(b"_total")),
        Kind::Gauge | Kind::Info | Kind::StateSet => ("gauge", family.name),
        Kind::Histogram | Kind::GaugeHistogram => ("histogram", family.name),
        Kind::Summary => ("summary", family.name),
        Kind::Unknown => ("untyped", family.name),
    };
    let part =
        |suffix: &[u8], parts| Section { name: [stem, suffix].concat(), kind: "gauge", parts };
    vec![
        Section { name: family.name.to_vec(), kind, parts: MAIN },
        part(b"_created", &[Part::Created]),
        part(b"_gsum", &[Part::GaugeSum]),
        part(b"_gcount", &[Part::GaugeCount]),
    ]
}

fn section(
    merged: &Merged<'_>,
    family: &MergedFamily<'_>,
    section: &Section,
    style: Style,
    out: &mut Vec<u8>,
) {
    let begin = out.len();
    header(merged, family, section, style, out);
    let header_end = out.len();
    for (position, member) in &family.members {
        let Some(source) = merged.sources.get(*position) else { continue };
        let is_main = section.parts.contains(&Part::Value);
        if is_main && !member.metrics.is_empty() {
            render::metrics(source, family, member, style, out);
        }
        samples(source, member, section, style, out);
    }
    if out.len() == header_end {
        out.truncate(begin);
    }
}

fn header(
    merged: &Merged<'_>,
    family: &MergedFamily<'_>,
    section: &Section,
    style: Style,
    out: &mut Vec<u8>,
) {
    let mut shown = Vec::with_capacity(section.name.len());
    if name::is_plain(&section.name) {
        shown.extend_from_slice(&section.name);
    } else if style.escaping == Escaping::AllowUtf8 {
        name::put_quoted(&section.name, &mut shown);
    } else {
        shown = name::escaped(&section.name, style.escaping);
    }
    let (source, help) = family.help;
    if !help.is_empty() {
        let format = merged.sources.get(source).map(|source| source.exposition.format);
        out.extend_from_slice(b"# HELP ");
        out.extend_from_slice(&shown);
        out.push(b' ');
        let meant = if format == Some(Format::Protobuf) { help.into() } else { unescape(help) };
        if style.is_open {
            escape(&meant, out);
        } else {
            for byte in meant.iter() {
                match byte {
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    b'\n' => out.extend_from_slice(b"\\n"),
                    byte => out.push(*byte),
                }
            }
        }
        out.push(b'\n');
    }
    out.extend_from_slice(b"# TYPE ");
    out.extend_from_slice(&shown);
    out.push(b' ');
    out.extend_from_slice(section.kind.as_bytes());
    out.push(b'\n');
    let has_unit = section.name.strip_suffix(family.unit).is_some_and(|stem| stem.ends_with(b"_"));
    if style.is_open && !family.unit.is_empty() && has_unit {
        out.extend_from_slice(b"# UNIT ");
        out.extend_from_slice(&shown);
        out.push(b' ');
        out.extend_from_slice(family.unit);
        out.push(b'\n');
    }
}

fn samples(
    source: &Source<'_>,
    family: &Family,
    section: &Section,
    style: Style,
    out: &mut Vec<u8>,
) {
    let exposition = source.exposition;
    for run in &family.samples {
        let run = exposition.samples.get(run.start as usize..run.end as usize).unwrap_or_default();
        for sample in run.iter().filter(|sample| section.parts.contains(&sample.part)) {
            let mut own = exposition.bytes(sample.labels);
            let renamed;
            if sample.is_watched {
                renamed = source.labels.renamed(own);
                own = &renamed;
            }
            let has_bound = sample.part == Part::Bucket
                || (sample.part == Part::Value && family.kind == Kind::Summary);
            let bounded;
            if style.is_open && has_bound && exposition.format == Format::Text {
                bounded = canonical_bound(own);
                own = &bounded;
            }
            let name = exposition.bytes(sample.name);
            if sample.is_quoted || (style.escaping == Escaping::Dots) {
                quoted_series(name, source.labels, own, style.escaping, out);
            } else {
                out.extend_from_slice(name);
                block(source.labels.text(), own, out);
            }
            out.push(b' ');
            out.extend_from_slice(exposition.bytes(sample.value));
            tail(exposition.bytes(sample.exemplar), sample, style, out);
        }
    }
}

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

/// What comes after a value.
fn tail(exemplar: &[u8], sample: &Sample, style: Style, out: &mut Vec<u8>) {
    if let Some(milliseconds) = sample.timestamp_ms.filter(|_| style.has_timestamps) {
        timestamp(milliseconds, style.is_open, out);
    }
    if style.is_open && !exemplar.is_empty() {
        out.extend_from_slice(b" # ");
        out.extend_from_slice(exemplar);
    }
    out.push(b'\n');
}

/// A timestamp with the space before it.
pub(super) fn timestamp(milliseconds: i64, is_open: bool, out: &mut Vec<u8>) {
    let text = if is_open {
        let sign = if milliseconds < 0 { "-" } else { "" };
        let positive = milliseconds.unsigned_abs();
        format!(" {sign}{}.{:03}", positive / 1000, positive % 1000)
    } else {
        format!(" {milliseconds}")
    };
    out.extend_from_slice(text.as_bytes());
}

/// OpenMetrics writes whole numbers of `le` and `quantile` with `.0`.
fn canonical_bound(block: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let begin = [&b"le=\""[..], b"quantile=\""].into_iter().find_map(|key| {
        let found = memchr::memmem::find_iter(block, key)
            .find(|at| *at == 0 || block.get(at - 1) == Some(&b','));
        found.map(|at| at + key.len())
    });
    let Some(begin) = begin else { return block.into() };
    let value = block.get(begin..).unwrap_or_default();
    let length = memchr::memchr(b'"', value).unwrap_or(0);
    let digits = value.get(..length).unwrap_or_default();
    let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
        return block.into();
    }
    let mut out = block.to_vec();
    out.splice(begin + length..begin + length, *b".0");
    out.into()
}

/// A series with names that need quotes.
fn quoted_series(
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
            Some(inner) => written.extend(name::escaped(&unescape(inner), escaping)),
            None => written.extend(name::escaped(pair.name, escaping)),
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
