//! What changes between formats, and what does not.

use super::*;
use crate::relay::accept::{Escaping, negotiate};
use crate::relay::label::TargetLabels;
use crate::relay::merge::{Source, merge};
use crate::relay::parse::{Format, ParseLimits, parse};

const TEXT: &str = "text/plain;version=0.0.4";
const OPEN: &str = "application/openmetrics-text;version=1.0.0";

/// A body as a caller with this `Accept` gets it, with the label `job="x"`.
fn converted(body: &str, format: Format, accept: &str) -> String {
    let limits = ParseLimits { samples: 100, labels: 10, label_bytes: 100 };
    let none = TargetLabels::default();
    let labels = none.with("job", "x");
    let own = parse(Vec::new(), Format::Text, limits, &[]).unwrap();
    let exposition = parse(body.as_bytes().to_vec(), format, limits, &labels.names()).unwrap();
    let sources = [
        Source { labels: &none, exposition: &own },
        Source { labels: &labels, exposition: &exposition },
    ];
    String::from_utf8(encode(&merge(&sources), negotiate(accept), false)).unwrap()
}

/// Bodies that hold everything, one for each format.
fn bodies() -> Vec<(Format, Vec<u8>)> {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/exposition");
    let read = |name: &str| std::fs::read(seeds.join(name)).unwrap();
    let body = |name: &str| {
        let seed = read(name);
        let format = [Format::Text, Format::OpenMetrics, Format::Protobuf];
        (format[usize::from(seed[0])], seed[1..].to_vec())
    };
    ["text", "openmetrics", "quoted", "protobuf"].map(body).to_vec()
}

/// A body with some bytes changed, doubled, or taken from elsewhere in it.
fn mutated(body: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..random.usize(1..6) {
        let (at, from) = (random.usize(..body.len()), random.usize(..body.len()));
        match random.u8(..4) {
            0 => body[at] = random.u8(..),
            1 => body[at] = body[from],
            2 => {
                let piece = body[from..(from + random.usize(..20)).min(body.len())].to_vec();
                body.splice(at..at, piece);
            }
            _ => drop(body.drain(at..(at + random.usize(..10)).min(body.len()))),
        }
        if body.is_empty() {
            body.push(b'\n');
        }
    }
    body
}

#[test]
fn whatever_is_understood_is_written_so_that_it_is_understood_again() {
    let limits = ParseLimits { samples: 10_000, labels: 100, label_bytes: 10_000 };
    let none = TargetLabels::default();
    let labels = none.with("job", "x\"y").with("instance", "1");
    let own = parse(Vec::new(), Format::Text, limits, &[]).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut understood = 0;
    for (format, body) in bodies().iter().cycle().take(8_000) {
        let body = mutated(body, &mut random);
        let Ok(exposition) = parse(body.clone(), *format, limits, &labels.names()) else {
            continue;
        };
        understood += 1;
        let sources = [
            Source { labels: &none, exposition: &own },
            Source { labels: &labels, exposition: &exposition },
        ];
        let proto = "application/vnd.google.protobuf;\
             proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let utf8 = "text/plain;version=1.0.0;escaping=allow-utf-8";
        for (accept, format) in [
            (TEXT, Format::Text),
            (utf8, Format::Text),
            (OPEN, Format::OpenMetrics),
            (proto, Format::Protobuf),
        ] {
            let written = encode(&merge(&sources), negotiate(accept), random.bool());
            if let Err(error) = parse(written.clone(), format, limits, &[]) {
                let (body, written) =
                    (String::from_utf8_lossy(&body), String::from_utf8_lossy(&written));
                panic!("{accept}: {error}\n{body:?}\n{written}");
            }
        }
    }
    assert!(understood > 500, "{understood}");
}

#[test]
fn openmetrics_that_text_does_not_have_becomes_gauges_beside() {
    let body = "# TYPE c counter\nc_total{a=\"1\"} 1\nc_created{a=\"1\"} 2\nc_total{a=\"2\"} 3\n\
        # TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 1\ng_gsum 2\ng_gcount 1\n\
        # TYPE i info\ni_info{v=\"1\"} 1\n# TYPE s stateset\ns{s=\"up\"} 1\n\
        # TYPE t_seconds gauge\n# UNIT t_seconds seconds\nt_seconds 1\n# EOF\n";
    assert_eq!(
        converted(body, Format::OpenMetrics, TEXT),
        "# TYPE c_total counter\nc_total{job=\"x\",a=\"1\"} 1\nc_total{job=\"x\",a=\"2\"} 3\n\
         # TYPE c_created gauge\nc_created{job=\"x\",a=\"1\"} 2\n\
         # TYPE g histogram\ng_bucket{job=\"x\",le=\"+Inf\"} 1\n\
         # TYPE g_gsum gauge\ng_gsum{job=\"x\"} 2\n# TYPE g_gcount gauge\ng_gcount{job=\"x\"} 1\n\
         # TYPE i_info gauge\ni_info{job=\"x\",v=\"1\"} 1\n# TYPE s gauge\ns{job=\"x\",s=\"up\"} 1\n\
         # TYPE t_seconds gauge\nt_seconds{job=\"x\"} 1\n"
    );
    let again = converted(body, Format::OpenMetrics, OPEN);
    assert_eq!(again.replace("{job=\"x\"}", "").replace("job=\"x\",", ""), body);
}

#[test]
fn text_whose_names_openmetrics_does_not_allow_keeps_its_names_and_loses_its_type() {
    let body = "# HELP a Say \"a\".\n# TYPE a counter\na 1\n# TYPE b_total counter\nb_total 2\n\
        # TYPE q summary\nq{quantile=\"1\"} 3\n# TYPE u untyped\nu 4\n";
    assert_eq!(
        converted(body, Format::Text, OPEN),
        "# HELP a Say \\\"a\\\".\n# TYPE a unknown\na{job=\"x\"} 1\n\
         # TYPE b counter\nb_total{job=\"x\"} 2\n\
         # TYPE q summary\nq{job=\"x\",quantile=\"1.0\"} 3\n# TYPE u unknown\nu{job=\"x\"} 4\n# EOF\n"
    );
}

#[test]
fn a_counter_whose_short_name_is_another_family_s_has_no_type_in_openmetrics() {
    let body = "# TYPE a_total counter\na_total 2\n# TYPE a gauge\na 1\n";
    assert_eq!(
        converted(body, Format::Text, OPEN),
        "# TYPE a gauge\na{job=\"x\"} 1\n# TYPE a_total unknown\na_total{job=\"x\"} 2\n# EOF\n"
    );
}

#[test]
fn names_that_need_quotes_are_escaped_unless_the_caller_takes_them() {
    let body = "# TYPE \"a.b\" gauge\n{\"a.b\",\"c.d\"=\"e\"} 1\n";
    assert_eq!(
        converted(body, Format::Text, TEXT),
        "# TYPE a_b gauge\na_b{job=\"x\",c_d=\"e\"} 1\n"
    );
    let utf8 = "text/plain;version=1.0.0;escaping=allow-utf-8";
    assert_eq!(negotiate(utf8).escaping, Escaping::AllowUtf8);
    assert_eq!(
        converted(body, Format::Text, utf8),
        "# TYPE \"a.b\" gauge\n{\"a.b\",job=\"x\",\"c.d\"=\"e\"} 1\n"
    );
}
