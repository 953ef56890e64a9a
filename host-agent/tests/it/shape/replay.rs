//! After a restart: what was open is read again, what was delivered is passed over.

use std::collections::BTreeSet;
use std::time::Duration;

use host_agent::logs::entry::Entry;

use super::Bench;

/// Entries of several writers whose records end out of order.
fn entries(bench: &mut Bench) -> Vec<Entry> {
    let mut entries = vec![];
    let mut add = |fields: &[(&str, &str)]| entries.push(bench.entry(fields));
    let part =
        |container: &'static str, id: &'static str, ordinal: &'static str, text: &'static str| {
            let last = if text.ends_with('.') { "true" } else { "false" };
            vec![
                ("MESSAGE", text),
                ("CONTAINER_ID_FULL", container),
                ("CONTAINER_NAME", container),
                ("PRIORITY", "6"),
                ("CONTAINER_PARTIAL_ID", id),
                ("CONTAINER_PARTIAL_ORDINAL", ordinal),
                ("CONTAINER_PARTIAL_LAST", last),
            ]
        };
    let line = |container: &'static str, text: &'static str| {
        vec![
            ("MESSAGE", text),
            ("CONTAINER_ID_FULL", container),
            ("CONTAINER_NAME", container),
            ("PRIORITY", "6"),
        ]
    };
    add(&part("one", "p", "1", "a"));
    add(&line("two", "ERROR x"));
    add(&line("three", "alone"));
    add(&part("two", "q", "1", "\tat "));
    add(&part("two", "q", "2", "b."));
    add(&[("MESSAGE", "unit"), ("_SYSTEMD_UNIT", "u.service")]);
    add(&part("one", "p", "2", "b"));
    add(&line("two", "\tat c"));
    add(&part("two", "r", "1", "INFO"));
    add(&line("three", "alone too"));
    add(&part("one", "p", "3", "c."));
    add(&part("two", "r", "2", " y."));
    add(&line("two", "\tat d"));
    add(&part("one", "s", "1", "last."));
    entries
}

const RULES: &str = r#"
    [[rules]]
    name = "java"
    when = { container = "two" }
    multiline = "java"
"#;

fn end(bench: &mut Bench) -> Vec<String> {
    bench.pass(Duration::from_secs(60));
    bench.pass(Duration::from_secs(60));
    bench.take()
}

#[test]
fn a_restart_at_any_entry_repeats_and_loses_nothing() {
    let mut bench = Bench::new(RULES);
    let entries = entries(&mut bench);
    for entry in &entries {
        bench.push_entry(entry);
    }
    bench.pass(Duration::from_secs(60));
    let whole: BTreeSet<String> = end(&mut bench).into_iter().collect();
    assert_eq!(whole.len(), 7, "{whole:#?}");
    for through in 0..=entries.len() {
        let mut before = Bench::new(RULES);
        entries[..through].iter().for_each(|entry| before.push_entry(entry));
        let mut all = before.take();
        let open = before.open();
        let mut after = Bench::new(RULES);
        let oldest = entries.iter().position(|entry| open.first() == Some(&entry.cursor));
        for entry in &entries[oldest.unwrap_or(through)..through] {
            after.replay(entry, open.contains(&entry.cursor));
        }
        assert_eq!((after.open(), after.take()), (open, vec![]), "after {through}");
        entries[through..].iter().for_each(|entry| after.push_entry(entry));
        all.extend(end(&mut after));
        let count = all.len();
        let all: BTreeSet<String> = all.into_iter().collect();
        assert_eq!((count, &all), (whole.len(), &whole), "after {through}");
    }
}
