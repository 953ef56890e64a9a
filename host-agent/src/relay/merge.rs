//! Stage 4, second half: families of all targets by name, each with one TYPE and one HELP. Pure; samples are not touched.
//!
//! **Invariants**
//! - Each series of each target is in exactly one family, or counted as dropped.
//! - Where targets disagree about a TYPE, that of most series counts (of `untyped` only when nobody knows more). Counters,
//!   gauges and untyped values look the same in every format, so the minority stays, under the other's TYPE; a minority whose
//!   samples have another shape (a gauge among histograms) is dropped and counted.
//! - The first HELP that says something counts.
//! - What the relay itself says of a target cannot be said by an exporter.

use std::collections::BTreeMap;

use super::label::TargetLabels;
use super::parse::{Exposition, Family, Kind};

/// A target's exposition with the labels that its series get. The first source is the relay's own.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What its series get.
    pub labels: &'a TargetLabels,
    /// What it says.
    pub exposition: &'a Exposition,
}

/// One name, of all targets.
#[derive(Debug)]
pub struct MergedFamily<'a> {
    /// Its name in the text format.
    pub name: &'a [u8],
    /// Its one kind.
    pub kind: Kind,
    /// Its one help text, and the source that it is of.
    pub help: (usize, &'a [u8]),
    /// Its unit.
    pub unit: &'a [u8],
    /// What belongs to it, in the order of the sources.
    pub members: Vec<(usize, &'a Family)>,
}

/// What was left out of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Which source.
    pub source: usize,
    /// Why.
    pub reason: DropReason,
    /// How many series.
    pub series: usize,
}

/// Why series are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The same series was in the body before.
    Duplicate,
    /// Others have a TYPE of another shape under the name.
    TypeConflict,
    /// The name is the relay's own.
    Reserved,
}

impl DropReason {
    /// As labels have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::TypeConflict => "type_conflict",
            Self::Reserved => "reserved",
        }
    }
}

/// All families of all targets.
#[derive(Debug)]
pub struct Merged<'a> {
    /// By source.
    pub sources: &'a [Source<'a>],
    /// In the order of their names.
    pub families: Vec<MergedFamily<'a>>,
    /// What was left out.
    pub dropped: Vec<Dropped>,
}

/// How the samples of a kind look.
#[derive(PartialEq, Eq)]
enum Shape {
    Value,
    Buckets,
    Quantiles,
}

const fn shape(kind: Kind) -> Shape {
    match kind {
        Kind::Counter | Kind::Gauge | Kind::Info | Kind::StateSet | Kind::Unknown => Shape::Value,
        Kind::Histogram | Kind::GaugeHistogram => Shape::Buckets,
        Kind::Summary => Shape::Quantiles,
    }
}

/// Brings together what has the same name.
pub fn merge<'a>(sources: &'a [Source<'a>]) -> Merged<'a> {
    let mut dropped = Vec::new();
    let mut by_name: BTreeMap<&[u8], Vec<(usize, &Family)>> = BTreeMap::new();
    for (position, source) in sources.iter().enumerate() {
        let exposition = source.exposition;
        if exposition.duplicates > 0 {
            let (reason, series) = (DropReason::Duplicate, exposition.duplicates);
            dropped.push(Dropped { source: position, reason, series });
        }
        for family in exposition.families.iter().filter(|family| family.series > 0) {
            let name = exposition.bytes(family.name);
            by_name.entry(name).or_default().push((position, family));
        }
    }
    let families = by_name
        .into_iter()
        .filter_map(|(name, members)| one(name, members, sources, &mut dropped))
        .collect();
    Merged { sources, families, dropped }
}

fn one<'a>(
    name: &'a [u8],
    mut members: Vec<(usize, &'a Family)>,
    sources: &'a [Source<'a>],
    dropped: &mut Vec<Dropped>,
) -> Option<MergedFamily<'a>> {
    let mut drop = |(source, family): &(usize, &Family), reason| {
        dropped.push(Dropped { source: *source, reason, series: family.series as usize });
    };
    let is_own = members.first().is_some_and(|(source, _)| *source == 0);
    let is_relays = is_own || name.starts_with(super::synthetic::PREFIX);
    members.retain(|member| {
        let is_kept = !is_relays || member.0 == 0 || has_labels(&sources.get(member.0), member.1);
        if !is_kept {
            drop(member, DropReason::Reserved);
        }
        is_kept
    });
    let kind = kind(&members);
    members.retain(|member| {
        let is_kept = shape(member.1.kind) == shape(kind);
        if !is_kept {
            drop(member, DropReason::TypeConflict);
        }
        is_kept
    });
    let bytes = |source: usize, span| {
        sources.get(source).map_or(&b""[..], |source| source.exposition.bytes(span))
    };
    let first = |of: fn(&Family) -> super::parse::Span| {
        let mut all = members.iter().map(|(source, family)| (*source, bytes(*source, of(family))));
        all.find(|(_, text)| !text.is_empty()).unwrap_or((0, b""))
    };
    let (help, unit) = (first(|family| family.help), first(|family| family.unit).1);
    (!members.is_empty()).then_some(MergedFamily { name, kind, help, unit, members })
}

/// Whether every series of an exporter's family has a label of its own, so that it cannot be the relay's.
fn has_labels(source: &Option<&Source<'_>>, family: &Family) -> bool {
    let Some(source) = source else { return false };
    let samples = family.samples.iter().flat_map(|run| {
        source.exposition.samples.get(run.start as usize..run.end as usize).unwrap_or_default()
    });
    family.metrics.is_empty() && samples.into_iter().all(|sample| !sample.labels.is_absent())
}

/// The kind that most series have; what is not known has no vote unless it is all there is.
fn kind(members: &[(usize, &Family)]) -> Kind {
    let mut votes: Vec<(Kind, u64)> = Vec::new();
    for (_, family) in members.iter().filter(|(_, family)| family.kind != Kind::Unknown) {
        match votes.iter_mut().find(|(kind, _)| *kind == family.kind) {
            Some((_, series)) => *series += u64::from(family.series),
            None => votes.push((family.kind, u64::from(family.series))),
        }
    }
    let mut best = (Kind::Unknown, 0);
    for vote in votes {
        if vote.1 > best.1 {
            best = vote;
        }
    }
    best.0
}

#[cfg(test)]
mod tests;
