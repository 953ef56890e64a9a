//! Which family a sample belongs to, by the metadata before it and the end of its name.

use std::collections::BTreeMap;

use super::{EXTRA, Family, Kind, Part, Span, slice};

/// The families of a body while it is read.
#[derive(Debug, Default)]
pub(super) struct Families {
    pub(super) list: Vec<Family>,
    /// Names as the body writes them, in the order of `list`.
    declared: Vec<Declared>,
    by_name: BTreeMap<Vec<u8>, u32>,
    current: Option<u32>,
    pending: Option<Pending>,
    pub(super) conflicts: usize,
}

#[derive(Debug, Clone, Copy)]
struct Declared {
    name: Span,
    /// Whether a TYPE line said its kind.
    is_typed: bool,
}

/// Metadata of one name, until its first sample or the next name.
#[derive(Debug, Clone, Copy)]
struct Pending {
    name: Span,
    kind: Option<Kind>,
    help: Option<Span>,
    unit: Option<Span>,
}

/// One line of metadata.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said {
    Kind(Kind),
    Help(Span),
    Unit(Span),
}

/// What of a family of this kind has a name with this end, in the format.
fn part(kind: Kind, suffix: &[u8], is_open: bool) -> Option<Part> {
    match (kind, suffix) {
        (Kind::Counter, b"") if !is_open => Some(Part::Value),
        (Kind::Counter, b"_total") | (Kind::Info, b"_info") if is_open => Some(Part::Value),
        (Kind::Gauge | Kind::Unknown | Kind::StateSet | Kind::Summary, b"") => Some(Part::Value),
        (Kind::Histogram | Kind::GaugeHistogram, b"_bucket") => Some(Part::Bucket),
        (Kind::Histogram | Kind::Summary, b"_sum") => Some(Part::Sum),
        (Kind::Histogram | Kind::Summary, b"_count") => Some(Part::Count),
        (Kind::GaugeHistogram, b"_gsum") => Some(Part::GaugeSum),
        (Kind::GaugeHistogram, b"_gcount") => Some(Part::GaugeCount),
        (Kind::Counter | Kind::Histogram | Kind::Summary, b"_created") if is_open => {
            Some(Part::Created)
        }
        _ => None,
    }
}

const SUFFIXES: [&[u8]; 8] =
    [b"_bucket", b"_total", b"_sum", b"_count", b"_created", b"_info", b"_gsum", b"_gcount"];

impl Families {
    /// Takes a line of metadata.
    pub(super) fn said(&mut self, name: Span, said: Said, source: Source<'_>, extra: &mut Vec<u8>) {
        let is_same = self
            .pending
            .is_some_and(|pending| source.bytes(pending.name, extra) == source.bytes(name, extra));
        if !is_same {
            self.resolve(source, extra);
        }
        let pending =
            self.pending.get_or_insert(Pending { name, kind: None, help: None, unit: None });
        match said {
            Said::Kind(kind) if pending.kind.is_some_and(|known| known != kind) => {
                self.conflicts += 1;
            }
            Said::Kind(kind) => pending.kind = Some(kind),
            Said::Help(help) => pending.help = pending.help.or(Some(help)),
            Said::Unit(unit) => pending.unit = pending.unit.or(Some(unit)),
        }
    }

    /// Makes the metadata read last count.
    fn resolve(&mut self, source: Source<'_>, extra: &mut Vec<u8>) {
        let Some(pending) = self.pending.take() else { return };
        let known = self.by_name.get(source.bytes(pending.name, extra)).copied();
        let index = known.unwrap_or_else(|| {
            let kind = pending.kind.unwrap_or(Kind::Unknown);
            self.add(pending.name, kind, pending.kind.is_some(), source, extra)
        });
        self.current = Some(index);
        let index = index as usize;
        let (Some(family), Some(declared)) =
            (self.list.get_mut(index), self.declared.get_mut(index))
        else {
            return;
        };
        match pending.kind {
            Some(kind) if !declared.is_typed => {
                (family.kind, declared.is_typed) = (kind, true);
                family.name = text_name(declared.name, kind, source, extra);
            }
            Some(kind) if kind != family.kind => self.conflicts += 1,
            _ => {}
        }
        if family.help.is_absent() {
            family.help = pending.help.unwrap_or_default();
        }
        if family.unit.is_absent() {
            family.unit = pending.unit.unwrap_or_default();
        }
    }

    fn add(
        &mut self,
        name: Span,
        kind: Kind,
        is_typed: bool,
        source: Source<'_>,
        extra: &mut Vec<u8>,
    ) -> u32 {
        let index = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.by_name.insert(source.bytes(name, extra).to_vec(), index);
        self.declared.push(Declared { name, is_typed });
        self.list.push(Family {
            name: text_name(name, kind, source, extra),
            kind,
            help: Span::default(),
            unit: Span::default(),
            samples: Vec::new(),
            metrics: 0..0,
            series: 0,
        });
        index
    }

    /// The family of a sample and what the sample is in it; most often that of the sample before.
    pub(super) fn of_sample(
        &mut self,
        name: Span,
        source: Source<'_>,
        extra: &mut Vec<u8>,
    ) -> (u32, Part) {
        if self.pending.is_some() {
            self.resolve(source, extra);
        }
        let bytes = source.bytes(name, extra);
        if let Some(found) =
            self.current.and_then(|index| self.belongs(index, bytes, source, extra))
        {
            return found;
        }
        let stems = SUFFIXES.iter().filter_map(|suffix| bytes.strip_suffix(*suffix));
        let known = std::iter::once(bytes)
            .chain(stems)
            .filter_map(|stem| self.by_name.get(stem))
            .find_map(|index| self.belongs(*index, bytes, source, extra));
        let found = known.unwrap_or_else(|| {
            // A name that is taken by a family of another kind has a second one of no known kind.
            (self.add(name, Kind::Unknown, false, source, extra), Part::Value)
        });
        self.current = Some(found.0);
        found
    }

    fn belongs(
        &self,
        index: u32,
        name: &[u8],
        source: Source<'_>,
        extra: &[u8],
    ) -> Option<(u32, Part)> {
        let (family, declared) =
            (self.list.get(index as usize)?, self.declared.get(index as usize)?);
        let suffix = name.strip_prefix(source.bytes(declared.name, extra))?;
        Some((index, part(family.kind, suffix, source.is_open)?))
    }

    /// Counts a sample to its family.
    pub(super) fn count(&mut self, index: u32, sample: u32) {
        let Some(family) = self.list.get_mut(index as usize) else { return };
        family.series += 1;
        match family.samples.last_mut() {
            Some(run) if run.end == sample => run.end += 1,
            _ => family.samples.push(sample..sample + 1),
        }
    }
}

/// The body and how it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) body: &'a [u8],
    pub(super) is_open: bool,
}

impl Source<'_> {
    fn bytes<'b>(&'b self, span: Span, extra: &'b [u8]) -> &'b [u8] {
        slice(self.body, extra, span)
    }
}

/// The name that the samples of a counter or an info have.
fn text_name(name: Span, kind: Kind, source: Source<'_>, extra: &mut Vec<u8>) -> Span {
    let suffix: &[u8] = match kind {
        Kind::Counter if source.is_open => b"_total",
        Kind::Info => b"_info",
        _ => return name,
    };
    let whole = [source.bytes(name, extra), suffix].concat();
    put(&whole, extra)
}

/// Puts bytes where the body has none like them.
pub(super) fn put(bytes: &[u8], extra: &mut Vec<u8>) -> Span {
    let begin = u32::try_from(extra.len()).unwrap_or(EXTRA - 1).min(EXTRA - 1);
    extra.extend_from_slice(bytes);
    Span { begin: begin | EXTRA, length: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
}
