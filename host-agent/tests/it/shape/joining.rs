//! Fragments of lines and lines of records, with their limits.

use std::time::Duration;

use super::Bench;

const SECOND: Duration = Duration::from_secs(1);

/// A fragment as Docker's journald driver writes it.
fn fragment(bench: &mut Bench, id: &str, ordinal: u32, last: bool, message: &str) {
    let ordinal = ordinal.to_string();
    let mut fields = vec![
        ("MESSAGE", message),
        ("CONTAINER_ID_FULL", "abc"),
        ("PRIORITY", if id.starts_with("err") { "3" } else { "6" }),
        ("CONTAINER_PARTIAL_ID", id),
        ("CONTAINER_PARTIAL_ORDINAL", &ordinal),
        ("CONTAINER_PARTIAL_LAST", if last { "true" } else { "false" }),
    ];
    if !last {
        fields.push(("CONTAINER_PARTIAL_MESSAGE", "true"));
    }
    bench.push(&fields);
}

#[test]
fn fragments_of_two_streams_become_two_lines() {
    let mut bench = Bench::new("");
    fragment(&mut bench, "out", 1, false, "a");
    fragment(&mut bench, "err", 1, false, "x");
    fragment(&mut bench, "out", 2, false, "b");
    assert_eq!((bench.take(), bench.open()), (vec![], vec!["c1".to_owned(), "c2".to_owned()]));
    fragment(&mut bench, "err", 2, true, "y");
    fragment(&mut bench, "out", 3, true, "c");
    assert_eq!(bench.take(), [r#"2: xy ×2 ["joined"]"#, r#"1: abc ×3 ["joined"]"#]);
    assert_eq!((bench.open(), bench.shaper.open_bytes()), (vec![], 0));
}

#[test]
fn a_line_without_an_end_goes_out_at_its_time_limit() {
    let mut bench = Bench::new("shape.partial_timeout_ms = 5000");
    fragment(&mut bench, "out", 1, false, "prompt> ");
    bench.pass(4 * SECOND);
    assert_eq!(bench.take(), Vec::<String>::new());
    bench.pass(2 * SECOND);
    assert_eq!(bench.take(), [r#"1: prompt>  ×1 ["incomplete"]"#]);
    assert_eq!(bench.shaper.next_deadline(), None);
}

#[test]
fn fragments_out_of_order_or_missing_are_marked_and_not_lost() {
    let mut bench = Bench::new("");
    fragment(&mut bench, "out", 2, false, "b");
    fragment(&mut bench, "out", 3, true, "c");
    assert_eq!(bench.take(), Vec::<String>::new());
    fragment(&mut bench, "out", 1, false, "a");
    assert_eq!(bench.take(), [r#"1: abc ×3 ["joined","reordered"]"#]);
    fragment(&mut bench, "more", 1, false, "a");
    fragment(&mut bench, "more", 3, true, "c");
    bench.pass(6 * SECOND);
    assert_eq!(bench.take(), [r#"4: ac ×2 ["joined","incomplete"]"#]);
    fragment(&mut bench, "late", 7, false, "z");
    bench.pass(6 * SECOND);
    assert_eq!(bench.take(), [r#"6: z ×1 ["incomplete"]"#]);
}

#[test]
fn a_line_is_cut_at_its_size_and_says_so() {
    let mut bench = Bench::new("shape.max_message_bytes = 1024");
    let piece = "x".repeat(600);
    fragment(&mut bench, "out", 1, false, &piece);
    fragment(&mut bench, "out", 2, false, &piece);
    fragment(&mut bench, "out", 3, true, &piece);
    let expected = format!(r#"1: {} ×3 ["joined","truncated"]"#, "x".repeat(1024));
    assert_eq!(bench.take(), [expected]);
    bench.push(&[("MESSAGE", &"é".repeat(600))]);
    assert_eq!(bench.take(), [format!(r#"4: {} ×1 ["truncated"]"#, "é".repeat(512))]);
}

#[test]
fn the_oldest_goes_out_early_when_too_much_waits() {
    let mut bench = Bench::new("shape.max_message_bytes = 1024\nshape.max_open_bytes = 1024");
    fragment(&mut bench, "one", 1, false, &"x".repeat(500));
    fragment(&mut bench, "two", 1, false, &"y".repeat(10));
    let expected = format!(r#"1: {} ×1 ["incomplete","sent_early"]"#, "x".repeat(500));
    assert_eq!((bench.take(), bench.open()), (vec![expected], vec!["c2".to_owned()]));
}

const JAVA: &str = r#"
    [[rules]]
    name = "java"
    when = { container = "app*" }
    multiline = { preset = "java", timeout_ms = 500, max_lines = 4 }
"#;

fn line(bench: &mut Bench, stream: &str, message: &str) {
    bench.push(&[
        ("MESSAGE", message),
        ("CONTAINER_ID_FULL", "abc"),
        ("CONTAINER_NAME", "app-1"),
        ("PRIORITY", stream),
    ]);
}

#[test]
fn lines_of_a_trace_are_one_record_for_each_stream() {
    let mut bench = Bench::new(JAVA);
    line(&mut bench, "6", "ERROR failed");
    line(&mut bench, "3", "other stream");
    line(&mut bench, "6", "java.io.IOException: no");
    line(&mut bench, "6", "\tat a.B.c(B.java:1)");
    assert_eq!((bench.take(), bench.open()), (vec![], vec!["c1".to_owned(), "c2".to_owned()]));
    line(&mut bench, "6", "INFO next");
    let joined = "1: ERROR failed\njava.io.IOException: no\n\tat a.B.c(B.java:1) ×3 [\"joined\"]";
    assert_eq!(bench.take(), [joined]);
    bench.pass(Duration::from_millis(501));
    assert_eq!(bench.take(), ["2: other stream ×1", "5: INFO next ×1"]);
    bench.push(&[("MESSAGE", "not of the rule"), ("_SYSTEMD_UNIT", "a.service")]);
    assert_eq!(bench.take(), ["6: not of the rule ×1"]);
}

#[test]
fn a_record_with_too_many_lines_goes_on_in_the_next() {
    let mut bench = Bench::new(JAVA);
    line(&mut bench, "6", "x");
    for number in 0..5 {
        line(&mut bench, "6", &format!("\tat f{number}"));
    }
    bench.pass(SECOND);
    assert_eq!(
        bench.take(),
        [
            "1: x\n\tat f0\n\tat f1\n\tat f2 ×4 [\"joined\",\"split\"]",
            "5: \tat f3\n\tat f4 ×2 [\"joined\",\"continued\"]"
        ]
    );
}

#[test]
fn a_line_written_later_than_the_limit_is_not_joined_however_fast_it_is_read() {
    let mut bench = Bench::new(JAVA);
    line(&mut bench, "6", "x");
    let mut late = bench.entry(&[
        ("MESSAGE", "\tat f"),
        ("CONTAINER_ID_FULL", "abc"),
        ("CONTAINER_NAME", "app-1"),
        ("PRIORITY", "6"),
    ]);
    late.realtime_us += 600_000;
    bench.push_entry(&late);
    assert_eq!((bench.take(), bench.open()), (vec!["1: x ×1".to_owned()], vec!["c2".to_owned()]));
}

#[test]
fn fragments_are_joined_before_lines() {
    let mut bench =
        Bench::new(r#"rules = [{ name = "all", multiline = { first_line = "^[^ ]" } }]"#);
    fragment(&mut bench, "one", 1, false, "be");
    fragment(&mut bench, "one", 2, true, "gin");
    fragment(&mut bench, "two", 1, false, " mo");
    assert_eq!(bench.open(), ["c1", "c3"]);
    fragment(&mut bench, "two", 2, true, "re");
    assert_eq!(bench.open(), ["c1"]);
    bench.pass(SECOND);
    assert_eq!(bench.take(), ["1: begin\n more ×4 [\"joined\"]"]);
}
