//! Length-delimited `io.prometheus.client.MetricFamily` messages: walked and checked, each metric kept as its bytes.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::seen::Seen;
use super::{Exposition, Family, Format, Kind, Metric, ParseError, ParseLimits, Span};
use crate::relay::wire::{Field, Value, delimited, fields};

/// Reads a protobuf body.
pub(super) fn parse(
    body: Vec<u8>,
    limits: ParseLimits,
    watched: &[&str],
) -> Result<Exposition, ParseError> {
    let mut reader = Reader {
        body: &body,
        message: 0,
        limits,
        watched,
        families: Vec::new(),
        metrics: Vec::new(),
        series: 0,
        duplicates: 0,
    };
    let mut rest = body.as_slice();
    while !rest.is_empty() {
        reader.message += 1;
        let Some((message, length)) = delimited(rest) else {
            return reader.fail("a message is cut off");
        };
        reader.family(message)?;
        rest = rest.get(length..).unwrap_or_default();
    }
    let Reader { families, metrics, series, duplicates, .. } = reader;
    Ok(Exposition {
        format: Format::Protobuf,
        extra: Vec::new(),
        families,
        samples: Vec::new(),
        metrics,
        series,
        duplicates,
        conflicts: 0,
        body,
    })
}

struct Reader<'a> {
    body: &'a [u8],
    message: usize,
    limits: ParseLimits,
    watched: &'a [&'a str],
    families: Vec<Family>,
    metrics: Vec<Metric>,
    series: usize,
    duplicates: usize,
}

/// What labels of a metric are, as far as telling it from others.
#[derive(Default)]
struct Identity {
    hash: u64,
    count: usize,
    is_watched: bool,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, reason: &'static str) -> Result<T, ParseError> {
        Err(ParseError::Syntax { line: self.message, reason })
    }

    fn field(
        &self,
        field: Result<Field<'a>, crate::relay::wire::Malformed>,
    ) -> Result<Field<'a>, ParseError> {
        field.or_else(|_| self.fail("bytes that are no protobuf"))
    }

    /// Where a part of the body stands.
    fn span(&self, part: &[u8]) -> Span {
        let begin = (part.as_ptr() as usize).saturating_sub(self.body.as_ptr() as usize);
        let place = |at: usize| u32::try_from(at).unwrap_or(0);
        if part.is_empty() {
            Span::default()
        } else {
            Span { begin: place(begin), length: place(part.len()) }
        }
    }

    fn text(&self, field: &Field<'a>) -> Result<Span, ParseError> {
        let Value::Bytes(bytes) = field.value else {
            return self.fail("expected a string");
        };
        if std::str::from_utf8(bytes).is_err() {
            return self.fail("a string is not UTF-8");
        }
        Ok(self.span(bytes))
    }

    fn family(&mut self, message: &'a [u8]) -> Result<(), ParseError> {
        let first = u32::try_from(self.metrics.len()).unwrap_or(u32::MAX);
        let mut family = Family {
            name: Span::default(),
            // Absent in proto2: the first one.
            kind: Kind::Counter,
            help: Span::default(),
            unit: Span::default(),
            samples: Vec::new(),
            metrics: first..first,
            series: 0,
        };
        // The kind may come after the metrics, so they are read in a second walk.
        for field in fields(message) {
            let field = self.field(field)?;
            match field.number {
                1 => family.name = self.text(&field)?,
                2 => family.help = self.text(&field)?,
                3 => family.kind = self.kind(field.integer())?,
                5 => family.unit = self.text(&field)?,
                _ => {}
            }
        }
        if family.name.is_absent() {
            return self.fail("a family without a name");
        }
        let mut seen = Seen::default();
        for field in fields(message).filter_map(Result::ok).filter(|field| field.number == 4) {
            let before = self.series;
            self.metric(field.bytes(), family.kind, first, &mut seen)?;
            family.series += u32::try_from(self.series - before).unwrap_or(u32::MAX);
        }
        family.metrics.end = u32::try_from(self.metrics.len()).unwrap_or(u32::MAX);
        self.families.push(family);
        Ok(())
    }

    fn kind(&self, number: u64) -> Result<Kind, ParseError> {
        Ok(match number {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Summary,
            3 => Kind::Unknown,
            4 => Kind::Histogram,
            5 => Kind::GaugeHistogram,
            _ => return self.fail("a type that is not known"),
        })
    }

    fn metric(
        &mut self,
        message: &'a [u8],
        kind: Kind,
        first: u32,
        seen: &mut Seen,
    ) -> Result<(), ParseError> {
        let mut identity = Identity::default();
        let mut samples = 0;
        let expected = match kind {
            Kind::Gauge => 2,
            Kind::Counter => 3,
            Kind::Summary => 4,
            Kind::Unknown => 5,
            Kind::Histogram | Kind::GaugeHistogram | Kind::Info | Kind::StateSet => 7,
        };
        for field in fields(message) {
            let field = self.field(field)?;
            match field.number {
                1 => self.label(field.bytes(), &mut identity)?,
                number if number == expected => samples = self.samples(field.bytes(), kind)?,
                _ => {}
            }
        }
        if samples == 0 {
            return self.fail("a metric without the value of its type");
        }
        let index = u32::try_from(self.metrics.len()).unwrap_or(u32::MAX);
        let is_same = |other: u32| {
            let other = self.metrics.get(other as usize).map(|other| other.message);
            let other = other.map(|span| super::slice(self.body, &[], span)).unwrap_or_default();
            other_labels(other) == other_labels(message)
        };
        debug_assert!(first <= index);
        if seen.find_or_insert(identity.hash, index, is_same).is_some() {
            self.duplicates += samples as usize;
            return Ok(());
        }
        self.series += samples as usize;
        if self.series > self.limits.samples {
            return Err(ParseError::Samples(self.limits.samples));
        }
        let message = self.span(message);
        self.metrics.push(Metric { message, samples, is_watched: identity.is_watched });
        Ok(())
    }

    /// How many series a value is; its messages are walked, so that later stages may.
    fn samples(&self, value: &'a [u8], kind: Kind) -> Result<u32, ParseError> {
        let mut samples = match kind {
            Kind::Summary | Kind::Histogram | Kind::GaugeHistogram => 2,
            _ => 1,
        };
        for field in fields(value) {
            let field = self.field(field)?;
            // Quantiles and buckets; spans and deltas of native histograms are one series.
            if field.number == 3 && matches!(field.value, Value::Bytes(_)) {
                samples += 1;
            }
        }
        Ok(samples)
    }

    fn label(&self, message: &'a [u8], identity: &mut Identity) -> Result<(), ParseError> {
        let (mut name, mut value) = (&b""[..], &b""[..]);
        for field in fields(message) {
            let field = self.field(field)?;
            match field.number {
                1 => (_, name) = (self.text(&field)?, field.bytes()),
                2 => (_, value) = (self.text(&field)?, field.bytes()),
                _ => {}
            }
        }
        if name.is_empty() || name == b"__name__" {
            return self.fail("a label without a name, or called __name__");
        }
        let limits = self.limits;
        if name.len() + value.len() > limits.label_bytes {
            return Err(ParseError::LabelBytes { line: self.message, limit: limits.label_bytes });
        }
        identity.count += 1;
        if identity.count > limits.labels {
            return Err(ParseError::Labels { line: self.message, limit: limits.labels });
        }
        if !value.is_empty() {
            let hash = xxh3_64_with_seed(value, xxh3_64(name));
            identity.hash = identity.hash.wrapping_add(hash);
        }
        identity.is_watched |= self.watched.iter().any(|watched| watched.as_bytes() == name);
        Ok(())
    }
}

/// A metric's labels in the order of their names, those without a value left out.
fn other_labels(metric: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut all: Vec<_> = labels(metric).filter(|(_, value)| !value.is_empty()).collect();
    all.sort_unstable();
    all
}

/// A metric's labels: name and value.
pub(in crate::relay) fn labels(metric: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields(metric).filter_map(Result::ok).filter(|field| field.number == 1).map(|field| {
        let part = |number: u32| {
            let mut parts = fields(field.bytes()).filter_map(Result::ok);
            parts.find(|part| part.number == number).map_or(&b""[..], |part| part.bytes())
        };
        (part(1), part(2))
    })
}
