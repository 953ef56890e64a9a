//! Whatever bytes come in: valid records come out, and every entry is in exactly one record or drop.

use std::collections::BTreeSet;
use std::time::Duration;

use host_agent::logs::entry::Entry;
use host_agent::logs::record::{Record, Value};
use host_agent::logs::route::{DestinationId, Routes};
use host_agent::logs::shape::Shaped;
use proptest::prelude::*;
use service::config::Problems;

use super::Bench;

const NAMES: [&str; 20] = [
    "MESSAGE",
    "MESSAGE",
    "PRIORITY",
    "_TRANSPORT",
    "_SYSTEMD_UNIT",
    "SYSLOG_IDENTIFIER",
    "_SOURCE_REALTIME_TIMESTAMP",
    "CONTAINER_ID_FULL",
    "CONTAINER_NAME",
    "CONTAINER_PARTIAL_ID",
    "CONTAINER_PARTIAL_ORDINAL",
    "CONTAINER_PARTIAL_LAST",
    "CONTAINER_LOG_ORDINAL",
    "COM_HASHICORP_NOMAD_ALLOC_ID",
    "N_DROPPED",
    "MESSAGE_ID",
    "ORDER",
    "ORDER",
    "message",
    "record_id",
];

const RULES: &str = r#"
    [shape]
    max_message_bytes = 1024
    max_open_bytes = 2048
    level_word = true
    set = { site = "a" }
    rename = { ORDER = "order" }
    [[rules]]
    name = "lines"
    when = { stream = "stdout" }
    multiline = { first_line = "^[a-m]" }
    [[rules]]
    name = "under"
    when = { container = "1*" }
    json = { under = "data" }
    [[rules]]
    name = "secret"
    redact = ["[0-9]{4}", "a+b"]
    [[rules]]
    name = "half"
    when = { unit = "*" }
    keep_one_in = 2
    [[rules]]
    name = "gone"
    when = { message = "^x" }
    drop = true
"#;

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(any::<u8>(), 0..2000),
        "[1-3]".prop_map(String::into_bytes),
        "true|false|stdout|6|3".prop_map(String::into_bytes),
        json(4).prop_map(String::into_bytes),
        "\\PC{0,30}".prop_map(String::into_bytes),
    ]
}

fn entry() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    proptest::collection::vec((0..NAMES.len(), value()), 0..12)
}

/// JSON, and what is nearly JSON.
fn json(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?",
        Just("null".to_owned()),
        Just("true".to_owned()),
        "\"[a-z]{0,9}\"",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("\"\\ud800\"".to_owned()),
        "[{}\\[\\],:\"0-9a-z]{0,5}",
    ];
    leaf.prop_recursive(depth, 40, 6, |inner| {
        let key = prop_oneof!["message|msg|level|log|record_id|a|b|json_a", "\\PC{0,6}"];
        let key = key.prop_map(|key| serde_json::to_string(&key).unwrap());
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| format!("[{}]", values.join(","))),
            proptest::collection::vec((key, inner), 0..6).prop_map(|pairs| {
                let pairs: Vec<String> =
                    pairs.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
}

/// What every record holds to.
fn check(record: &Record, routes: &Routes) {
    let mut names = BTreeSet::new();
    for (name, value) in record.fields() {
        assert!(names.insert(name.to_owned()), "{name} comes twice in {record:?}");
        check_value(value);
    }
    assert_eq!(names.len(), usize::try_from(record.len()).unwrap());
    let text = serde_json::to_string(record).unwrap();
    let back: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(back["record_id"], record.id.to_string());
    assert_eq!(back["site"], "a");
    let mut tag = String::new();
    assert!(routes.decide(record, DestinationId(0), &mut tag));
    assert_eq!(tag.split('.').count(), 3, "{tag}");
    assert!(
        tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
        "{tag}"
    );
}

fn check_value(value: Value<'_>) {
    match value {
        Value::List(list) => {
            assert_eq!(list.iter().count(), usize::try_from(list.len()).unwrap());
            list.iter().for_each(check_value);
        }
        Value::Map(map) => {
            let mut names = BTreeSet::new();
            for (name, value) in map.iter() {
                assert!(names.insert(name), "{name} comes twice");
                check_value(value);
            }
            assert_eq!(names.len(), usize::try_from(map.len()).unwrap());
        }
        _ => {}
    }
}

/// Pushes entries, a few with time between them; entries that came out, and drops.
fn run(bench: &mut Bench, entries: &[Entry], gaps: &[bool]) -> u64 {
    let routes = Routes::resolve(&[], &["one"], &mut Problems::default());
    let mut count = 0;
    let mut emit = |shaped: Shaped<'_>| match shaped {
        Shaped::Record(record) => {
            check(record, &routes);
            count += u64::from(record.entries);
        }
        Shaped::Dropped { entries, .. } => count += u64::from(entries),
        Shaped::Lost(_) => {}
    };
    for (entry, has_gap) in entries.iter().zip(gaps.iter().cycle()) {
        if *has_gap {
            bench.now += Duration::from_millis(1_100);
            bench.shaper.expire(bench.clock(), &bench.instances, &mut emit);
        }
        let now = bench.clock();
        bench.shaper.push(entry, now, &bench.instances, &mut emit);
    }
    for _ in 0..3 {
        bench.now += Duration::from_secs(3_600);
        bench.shaper.expire(bench.clock(), &bench.instances, &mut emit);
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_is_in_exactly_one_record_or_drop(
        all in proptest::collection::vec(entry(), 1..25),
        gaps in proptest::collection::vec(proptest::bool::weighted(0.2), 1..9),
    ) {
        let mut bench = Bench::new(RULES);
        let entries: Vec<Entry> = all.iter().map(|fields| {
            let mut entry = bench.entry(&[]);
            for (name, value) in fields {
                entry.fields.push(NAMES[*name], value);
            }
            entry
        }).collect();
        let count = run(&mut bench, &entries, &gaps);
        prop_assert_eq!(count, entries.len() as u64);
        prop_assert_eq!(bench.shaper.open_bytes(), 0);
        prop_assert_eq!(bench.shaper.open().count(), 0);
        prop_assert_eq!(bench.shaper.next_deadline(), None);
    }

    #[test]
    fn a_line_of_json_keeps_every_value(line in json(5)) {
        let mut bench = Bench::new("shape.json = { under = 'data' }\nshape.set = { site = 'a' }");
        let entry = bench.entry(&[("MESSAGE", &line)]);
        let routes = Routes::resolve(&[], &["one"], &mut Problems::default());
        let mut text = String::new();
        let now = bench.clock();
        bench.shaper.push(&entry, now, &bench.instances, &mut |shaped| {
            if let Shaped::Record(record) = shaped {
                check(record, &routes);
                text = serde_json::to_string(record).unwrap();
            }
        });
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        let is_altered = record.get("marks").is_some();
        // Where nothing was altered, the field is what the line was, as a parser of doubles sees both.
        match serde_json::from_str::<serde_json::Value>(&line) {
            Ok(value @ serde_json::Value::Object(_)) if !is_altered => {
                prop_assert_eq!(&record["data"], &value);
            }
            Ok(serde_json::Value::Object(_)) => prop_assert!(record.get("data").is_some()),
            // That parser refuses numbers beyond all doubles and half surrogate pairs; here they stay text, and marked.
            Err(_) if record.get("data").is_some() => prop_assert!(is_altered),
            _ => prop_assert_eq!(&record["message"], &line.strip_suffix('\r').unwrap_or(&line).to_owned()),
        }
    }
}
