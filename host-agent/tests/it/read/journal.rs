//! Entries, positions, first starts and namespaces.

use std::time::Duration;

use host_agent::logs::position::SourcePosition;
use host_agent::logs::read::config::FirstStart;
use host_agent::logs::read::{Reader, Step};
use lab::journald::Settings;

use super::{Got, Reading, at, config, head, journald, lines, position, send};

#[tokio::test]
async fn every_field_arrives_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald("every_field", folder.path(), Settings::default()).await else {
        return;
    };
    let binary: Vec<u8> = (0..=255).collect();
    let huge: Vec<u8> = (0..3_000_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let zeros = vec![b'z'; 700_000];
    let sent: [(&str, &[u8]); 8] = [
        ("MESSAGE", b"colours \x1b[31m, \r, \0, \xff\xfe and a\nnewline"),
        ("BINARY", &binary),
        ("HUGE", &huge),
        ("COMPRESSED", &zeros),
        ("TAG", b"one"),
        ("TAG", b"two"),
        ("EMPTY", b""),
        ("EQUALS", b"a=b=c"),
    ];
    journald.send(&sent).unwrap();

    let mut reading = Reading::journal(&config(&journald.journals()), &head());
    reading.read(1);
    let fields: Vec<(&str, &[u8])> = reading.entry.fields.iter().collect();
    for pair in sent {
        assert!(fields.contains(&pair), "{} is missing or altered", pair.0);
    }
    let own = fields.iter().filter(|(name, _)| !name.starts_with('_')).count();
    assert_eq!(own, sent.len(), "{:?}", fields.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[tokio::test]
async fn reading_goes_on_after_the_saved_entry() {
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald("goes_on", folder.path(), Settings::default()).await else {
        return;
    };
    send(&journald, 0..10);
    let config = config(&journald.journals());
    let mut first = Reading::journal(&config, &head());
    assert_eq!(first.read(10), lines(0..10));

    let mut again = Reading::journal(&config, &first.after("line 6"));
    assert_eq!(again.read(3), lines(7..10));
    assert_eq!(again.ids, first.ids[7..]);
    let mut at_end = Reading::journal(&config, &first.after("line 9"));
    assert_eq!(at_end.drain(), []);
    send(&journald, 10..12);
    assert_eq!(at_end.read(2), lines(10..12));
}

#[tokio::test]
async fn what_was_open_is_read_again_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald("open", folder.path(), Settings::default()).await else { return };
    send(&journald, 0..6);
    let config = config(&journald.journals());
    let mut first = Reading::journal(&config, &head());
    first.read(6);
    let open = [1, 3].map(|number| first.cursors[&format!("line {number}")].clone());
    let saved = SourcePosition { through: first.cursors["line 4"].clone(), open: open.to_vec() };
    let mut reading = Reading::journal(&config, &at("journal", saved));
    let mut expected: Vec<Got> =
        (1..5).map(|number| Got::Again(format!("line {number}"))).collect();
    expected.extend(lines(5..6));
    assert_eq!(reading.read(5), expected);
}

#[tokio::test]
async fn a_first_start_begins_where_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald("first_start", folder.path(), Settings::default()).await else {
        return;
    };
    send(&journald, 0..3);
    let whole = config(&journald.journals());
    Reading::journal(&whole, &head()).read(3);

    let mut end = Reading::journal(&whole, &at("other", position("x")));
    assert_eq!(end.drain(), []);
    send(&journald, 3..5);
    assert_eq!(end.read(2), lines(3..5));
    // A crash before anything was delivered: what was to be saved at once leads to the same entries.
    let mut crashed = Reading::journal(&whole, &at("journal", end.begun[0].clone()));
    assert_eq!(crashed.read(2), lines(3..5));

    for begin in [FirstStart::Boot, FirstStart::Ago(Duration::from_secs(3600))] {
        let mut config = whole.clone();
        config.begin = begin;
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        let now_us = u64::try_from(now.as_micros()).unwrap();
        let (reader, begun) =
            Reader::open(Some(&config), None, &at("other", position("x")), now_us).unwrap();
        let mut reading = Reading { reader, ..Reading::journal(&whole, &head()) };
        assert_eq!(reading.read(5), lines(0..5), "{begin:?}");
        assert_eq!(begun[0].1, position("head"), "{begin:?}");
    }
}

#[tokio::test]
async fn only_what_matches_is_read_and_its_gaps_are_no_losses() {
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald("matches", folder.path(), Settings::default()).await else {
        return;
    };
    for number in 0..6 {
        let (kind, text) = (format!("{}", number % 3), format!("line {number}"));
        journald.send(&[("MESSAGE", text.as_bytes()), ("KIND", kind.as_bytes())]).unwrap();
    }
    let mut config = config(&journald.journals());
    config.matches =
        vec![vec!["KIND=0".to_owned(), "MESSAGE=line 3".to_owned()], vec!["KIND=2".to_owned()]];
    let mut reading = Reading::journal(&config, &head());
    let expected = ["line 2", "line 3", "line 5"].map(|line| Got::Line(line.to_owned()));
    assert_eq!(reading.read(3), expected);
}

#[tokio::test]
async fn a_namespace_is_a_source_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { namespace: Some("batch".to_owned()), ..Settings::default() };
    let Some(journald) = journald("namespace", folder.path(), settings).await else { return };
    send(&journald, 0..3);
    let mut config = config(&journald.journals());
    config.namespaces = vec!["batch".to_owned()];
    let mut saved = at("journal:batch", position("head"));
    saved.sources.extend(head().sources);
    let mut reading = Reading::journal(&config, &saved);
    assert_eq!(reading.read(3), lines(0..3));
    assert_eq!(reading.reader.name(reading.entry.source), "journal:batch");
}

#[tokio::test]
async fn a_waker_ends_a_wait() {
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald("waker", folder.path(), Settings::default()).await else {
        return;
    };
    let mut reading = Reading::journal(&config(&journald.journals()), &head());
    reading.drain();
    reading.reader.waker().wake();
    let begin = std::time::Instant::now();
    reading.reader.wait(Duration::from_secs(60)).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert_eq!(reading.reader.next(&mut reading.entry, 1).unwrap(), Step::End);
}
