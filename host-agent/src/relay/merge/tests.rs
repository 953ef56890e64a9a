//! Who wins, and what is left out.

use super::*;
use crate::relay::parse::{Format, ParseLimits, parse};

fn exposition(body: &str) -> Exposition {
    let limits = ParseLimits { samples: 100, labels: 10, label_bytes: 100 };
    parse(body.as_bytes().to_vec(), Format::Text, limits, &[]).unwrap()
}

type Kinds = Vec<(String, Kind)>;
/// Source, reason, series.
type Drops = Vec<(usize, DropReason, usize)>;

/// Kinds by name, and what was dropped.
fn merged(bodies: &[&str]) -> (Kinds, Drops) {
    let expositions: Vec<Exposition> = bodies.iter().map(|body| exposition(body)).collect();
    let none = TargetLabels::default();
    let sources: Vec<Source<'_>> =
        expositions.iter().map(|exposition| Source { labels: &none, exposition }).collect();
    let merged = merge(&sources);
    let name = |family: &MergedFamily<'_>| String::from_utf8(family.name.to_vec()).unwrap();
    let families = merged.families.iter().map(|family| (name(family), family.kind)).collect();
    let dropped = merged.dropped.iter().map(|one| (one.source, one.reason, one.series)).collect();
    (families, dropped)
}

#[test]
fn the_type_of_most_series_counts_and_untyped_has_no_vote() {
    let (families, dropped) = merged(&[
        "",
        "# TYPE a counter\na{b=\"1\"} 1\n",
        "a{b=\"2\"} 1\na{b=\"3\"} 1\na{b=\"4\"} 1\n",
        "# TYPE a gauge\na{b=\"5\"} 1\na{b=\"6\"} 1\n",
    ]);
    assert_eq!((families, dropped), (vec![("a".to_owned(), Kind::Gauge)], vec![]));
}

#[test]
fn what_has_another_shape_and_what_is_there_twice_is_counted_by_its_source() {
    let (families, dropped) = merged(&[
        "",
        "# TYPE a summary\na{quantile=\"1\"} 1\na_sum 1\na_count 1\n",
        "# TYPE a gauge\na{b=\"2\"} 1\nc 1\nc 2\n",
    ]);
    let expected = [("a", Kind::Summary), ("c", Kind::Unknown)];
    assert_eq!(families, expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(dropped, [(2, DropReason::Duplicate, 1), (2, DropReason::TypeConflict, 1)]);
}

#[test]
fn an_exporter_cannot_say_what_the_relay_says_of_it() {
    let (families, dropped) = merged(&[
        "# TYPE up gauge\nup{job=\"x\"} 1\n",
        "up 0\nmesh_relay_target_up 0\n",
        "up{exported_job=\"y\"} 0\n",
    ]);
    assert_eq!(families, [("up".to_owned(), Kind::Gauge)]);
    assert_eq!(dropped, [(1, DropReason::Reserved, 1), (1, DropReason::Reserved, 1)]);
}
