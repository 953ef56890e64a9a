//! Stage 3: a target's body → [`Exposition`]: families and samples as places in the body. Nothing is copied, and no sample
//! costs an allocation.
//!
//! In: bytes and their [`Format`]. Out: an [`Exposition`], or a [`ParseError`] with the line.
//!
//! `text` reads both text formats, in the strictness of Prometheus itself: what Prometheus takes is taken, what makes it
//! refuse a scrape is refused. `proto` reads delimited protobuf and keeps each metric's bytes as they are.
//!
//! **Invariants**
//! - Label blocks are in one form, `a="b",c="d"`: where a body writes it otherwise, it is written anew into `extra`.
//! - Of samples with the same name and labels the first counts; the others are counted as duplicates.
//! - Memory is a fixed multiple of the body's size and of [`ParseLimits::samples`].
//! - Any bytes end in a value or an error, never in a panic.

use std::ops::Range;

mod family;
pub(in crate::relay) mod labels;
pub(in crate::relay) mod proto;
mod seen;
mod text;
pub(in crate::relay) mod value;

pub use labels::{LabelPair, pairs};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics text 0.0.1 and 1.0.0.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily`.
    Protobuf,
}

/// What a body may hold at most.
#[derive(Debug, Clone, Copy)]
pub struct ParseLimits {
    /// Samples; of a histogram in protobuf each bucket counts.
    pub samples: usize,
    /// Labels of one sample.
    pub labels: usize,
    /// Bytes of one label's name and value together, and of a metric's name.
    pub label_bytes: usize,
}

/// Why a body cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not of the format that it claims.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Counted from 1; in protobuf, the message.
        line: usize,
        /// What was expected.
        reason: &'static str,
    },
    /// More samples than allowed.
    #[error("more than {0} samples")]
    Samples(usize),
    /// A sample with more labels than allowed.
    #[error("line {line}: more than {limit} labels")]
    Labels {
        /// Counted from 1.
        line: usize,
        /// The limit.
        limit: usize,
    },
    /// A name or label longer than allowed.
    #[error("line {line}: a name or label of more than {limit} bytes")]
    LabelBytes {
        /// Counted from 1.
        line: usize,
        /// The limit.
        limit: usize,
    },
}

/// What kind of metric a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Any value.
    Gauge,
    /// Buckets, sum, count.
    Histogram,
    /// Buckets whose counts may fall.
    GaugeHistogram,
    /// Quantiles, sum, count.
    Summary,
    /// Labels that say something; the value is 1. OpenMetrics only.
    Info,
    /// One of several states is 1. OpenMetrics only.
    StateSet,
    /// Not known: `untyped`, `unknown`.
    Unknown,
}

/// What a sample is within its family, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The family's own value: of a counter the total, of a summary a quantile.
    Value,
    /// `_bucket`
    Bucket,
    /// `_sum`
    Sum,
    /// `_count`
    Count,
    /// `_gsum`
    GaugeSum,
    /// `_gcount`
    GaugeCount,
    /// `_created`
    Created,
}

/// A place in [`Exposition`]'s bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The top bit: in `extra`.
    begin: u32,
    length: u32,
}

const EXTRA: u32 = 1 << 31;

/// Bodies are shorter than this: places have 31 bits.
pub const LONGEST_BODY: usize = (1 << 31) - 1;

/// One sample of a text body.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Its whole name.
    pub name: Span,
    /// `a="b",c="d"`, as it stands between the braces; empty without labels.
    pub labels: Span,
    /// Its value in a spelling that every format takes.
    pub value: Span,
    /// `{a="b"} 1 2`: the exemplar after `# `; empty without one.
    pub exemplar: Span,
    /// Milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// What it is within its family.
    pub part: Part,
    /// Whether it has a label that the caller watches for.
    pub is_watched: bool,
    /// Whether its name or a label's name needs quotes.
    pub is_quoted: bool,
}

/// One metric of a protobuf body.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The `Metric` message.
    pub message: Span,
    /// How many series it is.
    pub samples: u32,
    /// Whether it has a label that the caller watches for.
    pub is_watched: bool,
}

/// What belongs to one name.
#[derive(Debug, Clone)]
pub struct Family {
    /// The name in the text format: with `_total` for a counter of OpenMetrics, with `_info` for an info.
    pub name: Span,
    /// Its kind, as first said.
    pub kind: Kind,
    /// Its help text, escaped as in the body.
    pub help: Span,
    /// Its unit.
    pub unit: Span,
    /// Its samples in [`Exposition::samples`]; several runs where the body came back to it.
    pub samples: Vec<Range<u32>>,
    /// Its metrics in [`Exposition::metrics`].
    pub metrics: Range<u32>,
    /// How many series it has.
    pub series: u32,
}

/// A body that was understood.
#[derive(Debug, Clone)]
pub struct Exposition {
    /// How it was written.
    pub format: Format,
    body: Vec<u8>,
    extra: Vec<u8>,
    /// Families in the order of their first appearance.
    pub families: Vec<Family>,
    /// All samples of a text body, in order.
    pub samples: Vec<Sample>,
    /// All metrics of a protobuf body, in order.
    pub metrics: Vec<Metric>,
    /// Series, duplicates left out.
    pub series: usize,
    /// Samples that were left out because the same series was there before.
    pub duplicates: usize,
    /// Families whose later TYPE differs from the first.
    pub conflicts: usize,
}

impl Exposition {
    /// The bytes at a place; valid UTF-8.
    pub fn bytes(&self, span: Span) -> &[u8] {
        slice(&self.body, &self.extra, span)
    }

    /// The same as text.
    pub fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    /// Bytes of the body that it was.
    pub fn size_of_body(&self) -> usize {
        self.body.len()
    }

    /// Bytes that it holds in memory.
    pub fn size(&self) -> usize {
        self.body.len()
            + self.extra.len()
            + self.samples.len() * size_of::<Sample>()
            + self.metrics.len() * size_of::<Metric>()
    }
}

impl Span {
    const fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Whether there is nothing.
    pub const fn is_absent(self) -> bool {
        self.is_empty()
    }
}

fn slice<'a>(body: &'a [u8], extra: &'a [u8], span: Span) -> &'a [u8] {
    let from = if span.begin & EXTRA == 0 { body } else { extra };
    let begin = (span.begin & !EXTRA) as usize;
    from.get(begin..begin + span.length as usize).unwrap_or_default()
}

/// Reads a body. `watched` are the label names whose presence is marked.
///
/// # Errors
/// When it is not of the format, or holds more than `limits` allow.
pub fn parse(
    body: Vec<u8>,
    format: Format,
    limits: ParseLimits,
    watched: &[&str],
) -> Result<Exposition, ParseError> {
    if body.len() > LONGEST_BODY {
        return Err(ParseError::Syntax {
            line: 1,
            reason: "a body of less than 2 GiB is expected",
        });
    }
    match format {
        Format::Text | Format::OpenMetrics => text::parse(body, format, limits, watched),
        Format::Protobuf => proto::parse(body, limits, watched),
    }
}

#[cfg(test)]
mod tests;
