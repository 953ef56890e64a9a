//! What the vectors and exporters of the integration tests do not show: forms, limits, places.

use super::*;

const LIMITS: ParseLimits = ParseLimits { samples: 100, labels: 5, label_bytes: 50 };

fn text(body: &str) -> Result<Exposition, ParseError> {
    parse(body.as_bytes().to_vec(), Format::Text, LIMITS, &["job"])
}

fn open(body: &str) -> Result<Exposition, ParseError> {
    parse(body.as_bytes().to_vec(), Format::OpenMetrics, LIMITS, &[])
}

/// Name, labels, value of each sample.
fn lines(exposition: &Exposition) -> Vec<String> {
    let samples = exposition.samples.iter().map(|sample| {
        let part = |span| exposition.text(span);
        format!("{} {{{}}} {}", part(sample.name), part(sample.labels), part(sample.value))
    });
    samples.collect()
}

/// Name, kind and series of each family.
fn families(exposition: &Exposition) -> Vec<(&str, Kind, u32)> {
    let families = exposition.families.iter();
    families.map(|one| (exposition.text(one.name), one.kind, one.series)).collect()
}

#[test]
fn labels_are_brought_into_one_form() {
    let body = "a { b = \"c\" , d=\"e\", } 1\na{b=\"\\d\"} 2\na{b=\"x\ny\"} inf\n{\"a\",b=\"q\"} 4\na{\"b\"=\"r\"} 5\n";
    assert_eq!(
        lines(&text(body).unwrap()),
        [
            r#"a {b="c",d="e"} 1"#,
            r#"a {b="\\d"} 2"#,
            r#"a {b="x\ny"} +Inf"#,
            r#"a {b="q"} 4"#,
            r#"a {b="r"} 5"#
        ]
    );
}

#[test]
fn names_in_quotes_are_read_and_marked() {
    let body = "# TYPE \"a.b\" counter\n{\"a.b\",\"c d\"=\"e\"} 1\n";
    let exposition = text(body).unwrap();
    assert_eq!(lines(&exposition), [r#"a.b {"c d"="e"} 1"#]);
    assert_eq!(families(&exposition), [("a.b", Kind::Counter, 1)]);
    assert!(exposition.samples[0].is_quoted);
    assert!(text("{\"a\",\"b\"} 1\n").is_err() && text("{} 1\n").is_err());
}

#[test]
fn of_a_series_that_is_there_twice_the_first_counts_and_of_a_course_the_newest() {
    let body = "a{b=\"1\",c=\"2\"} 1\na{c=\"2\",b=\"1\",d=\"\"} 2\na{b=\"1\"} 3\nt 1 1000\nt 2 2000\nt 3 1500\n";
    let exposition = text(body).unwrap();
    assert_eq!(lines(&exposition), [r#"a {b="1",c="2"} 1"#, r#"a {b="1"} 3"#, "t {} 2"]);
    assert_eq!((exposition.series, exposition.duplicates), (3, 3));
}

#[test]
fn samples_find_their_family_wherever_it_was_begun() {
    let body = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nx 1\nh_sum 2\nh_count 1\n# TYPE h gauge\nh 3\n";
    let exposition = text(body).unwrap();
    assert_eq!(
        families(&exposition),
        [("h", Kind::Histogram, 3), ("x", Kind::Unknown, 1), ("h", Kind::Unknown, 1)]
    );
    assert_eq!(exposition.families[0].samples, [0..1, 2..4]);
    assert_eq!(exposition.conflicts, 1);
}

#[test]
fn a_counter_of_openmetrics_goes_by_its_name_in_text() {
    let body = "# HELP c Help \\\"me\\\".\n# TYPE c counter\nc_total 1\nc_created 2.5\n# TYPE i info\ni_info{a=\"b\"} 1\n# EOF\n";
    let exposition = open(body).unwrap();
    assert_eq!(families(&exposition), [("c_total", Kind::Counter, 2), ("i_info", Kind::Info, 1)]);
    assert_eq!(exposition.text(exposition.families[0].help), "Help \\\"me\\\".");
    let parts: Vec<Part> = exposition.samples.iter().map(|sample| sample.part).collect();
    assert_eq!(parts, [Part::Value, Part::Created, Part::Value]);
}

#[test]
fn watched_labels_are_marked() {
    let exposition = text("a{job=\"x\"} 1\na{jobs=\"x\"} 1\n").unwrap();
    let marks: Vec<bool> = exposition.samples.iter().map(|sample| sample.is_watched).collect();
    assert_eq!(marks, [true, false]);
}

#[test]
fn what_exceeds_a_limit_is_refused_by_its_name_and_line() {
    let many: String = (0..101).map(|nth| format!("a{{b=\"{nth}\"}} 1\n")).collect();
    assert_eq!(text(&many).unwrap_err(), ParseError::Samples(100));
    let labels = "ok 1\na{a=\"\",b=\"\",c=\"\",d=\"\",e=\"\",f=\"\"} 1\n";
    assert_eq!(text(labels).unwrap_err(), ParseError::Labels { line: 2, limit: 5 });
    let long = format!("a{{b=\"{}\"}} 1\n", "x".repeat(50));
    assert_eq!(text(&long).unwrap_err(), ParseError::LabelBytes { line: 1, limit: 50 });
    let error = text("a 1\n\nb two\n").unwrap_err();
    assert_eq!(error.to_string(), "line 3: expected a number as value");
}

#[test]
fn any_bytes_end_in_a_value_or_an_error() {
    let whole =
        b"# HELP a b\n# TYPE a counter\na{b=\"c\\\"d\",e=\"f\"} 1.5 2 # {g=\"h\"} 3 4\n# EOF\n";
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        for end in 0..whole.len() {
            drop(parse(whole[..end].to_vec(), format, LIMITS, &["b"]));
            for byte in [0, b'"', b'\\', b'{', b'\n', b' ', 0xff] {
                let mut body = whole.to_vec();
                body[end] = byte;
                drop(parse(body, format, LIMITS, &["b"]));
            }
        }
    }
}
