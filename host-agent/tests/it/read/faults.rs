//! What befalls a journal: rotation, vacuum, crashes, replacement, clocks.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use host_agent::logs::read::LossCause;
use host_agent::logs::read::journal::{Settings as Limits, headroom};
use lab::journald::{Journald, Settings};

use super::{Got, Reading, at, config, head, journald, lines, position, send};

#[tokio::test]
async fn rotation_while_reading_loses_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald("rotation", folder.path(), Settings::default()).await else {
        return;
    };
    let mut reading = Reading::journal(&config(&journald.journals()), &head());
    let mut all = Vec::new();
    for round in 0..4 {
        send(&journald, round * 50..round * 50 + 50);
        all.extend(reading.read(20));
        journald.rotate().await.unwrap();
    }
    all.extend(reading.read(200 - all.len()));
    assert_eq!(all, lines(0..200));
}

/// Three closed files with 100 lines each, and one with a last line; the number of entries that a vacuum of the first two takes.
async fn vacuumed(journald: &mut Journald) -> (Reading, u64) {
    let config = config(&journald.journals());
    let mut reading = Reading::journal(&config, &head());
    for round in 0..3 {
        send(journald, round * 100..round * 100 + 100);
        assert!(reading.read(100).len() >= 100);
        journald.rotate().await.unwrap();
    }
    send(journald, 300..301);
    reading.read(1);
    let number = |line: u32| {
        let cursor = &reading.cursors[&format!("line {line}")];
        let digits = cursor.split("i=").nth(1).unwrap().split(';').next().unwrap();
        u64::from_str_radix(digits, 16).unwrap()
    };
    // The two oldest files: everything before line 200.
    let mut closed: Vec<_> =
        journald.files().unwrap().into_iter().filter(|name| name.contains('@')).collect();
    closed.sort();
    for name in &closed[..2] {
        fs::remove_file(journald.directory().join(name)).unwrap();
    }
    // journald's own entries count too: the first one that is left says how many are gone.
    let mut left = Reading::journal(&config, &head());
    left.reader.next(&mut left.entry, 1).unwrap();
    let lost = left.entry.id.number - number(50) - 1;
    (reading, lost)
}

#[tokio::test]
async fn what_was_vacuumed_past_the_position_is_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald("vacuum", folder.path(), Settings::default()).await else {
        return;
    };
    let (before, lost) = vacuumed(&mut journald).await;
    let config = config(&journald.journals());
    let mut reading = Reading::journal(&config, &before.after("line 50"));
    let all = reading.read(102);
    assert_eq!(all[0], Got::Lost(LossCause::Vacuumed, Some(lost)));
    assert_eq!(all[1..], lines(200..301));
    // Nothing is missing for one that had read them.
    let mut reading = Reading::journal(&config, &before.after("line 250"));
    assert_eq!(reading.read(50), lines(251..301));
}

#[tokio::test]
async fn what_does_not_match_and_is_vacuumed_after_it_was_passed_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald("passed", folder.path(), Settings::default()).await else {
        return;
    };
    let one = |kind: &str, number: u32| {
        let text = format!("line {number}");
        [("MESSAGE", text.into_bytes()), ("KIND", kind.as_bytes().to_vec())]
    };
    let send = |journald: &Journald, kind: &str, number: u32| {
        let fields = one(kind, number);
        let fields: Vec<(&str, &[u8])> =
            fields.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        journald.send(&fields).unwrap();
    };
    let mut config = config(&journald.journals());
    config.matches = vec![vec!["KIND=wanted".to_owned()]];
    let mut reading = Reading::journal(&config, &head());
    send(&journald, "wanted", 0);
    (1..50).for_each(|number| send(&journald, "other", number));
    assert_eq!(reading.read(1), lines(0..1));
    journald.rotate().await.unwrap();
    // Long enough for headers to be looked at once more, which happens once in a second.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        reading.reader.wait(Duration::from_millis(50)).unwrap();
        assert_eq!(reading.drain(), []);
    }
    for name in journald.files().unwrap().iter().filter(|name| name.contains('@')) {
        fs::remove_file(journald.directory().join(name)).unwrap();
    }
    send(&journald, "wanted", 50);
    assert_eq!(reading.read(1), lines(50..51));
    // A restart knows only the last entry that matched: at most so many may be missing.
    let mut restarted = Reading::journal(&config, &reading.after("line 0"));
    let all = restarted.read(2);
    assert!(matches!(all[0], Got::Lost(LossCause::Vacuumed, Some(1..))), "{all:?}");
    assert_eq!(all[1..], lines(50..51));
}

#[tokio::test]
async fn a_reader_that_paused_finds_out_what_was_vacuumed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald("pause", folder.path(), Settings::default()).await else {
        return;
    };
    send(&journald, 0..10);
    let mut reading = Reading::journal(&config(&journald.journals()), &head());
    assert_eq!(reading.read(10), lines(0..10));
    reading.reader.release();
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter_map(|fd| fs::read_link(fd.path()).ok());
    assert_eq!(open.filter(|path| path.starts_with(folder.path())).count(), 0);

    let (_, _) = vacuumed(&mut journald).await;
    let all = reading.read(102);
    assert!(matches!(all[0], Got::Lost(LossCause::Vacuumed, Some(200..))), "{:?}", all[0]);
    assert_eq!(all[1..], lines(200..301));
}

#[tokio::test]
async fn what_an_open_reader_holds_is_read_though_it_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald("held", folder.path(), Settings::default()).await else {
        return;
    };
    send(&journald, 0..50);
    let config = config(&journald.journals());
    Reading::journal(&config, &head()).read(50);
    let mut reading = Reading::journal(&config, &head());
    reading.reader.next(&mut reading.entry, 1).unwrap();
    journald.rotate().await.unwrap();
    for name in journald.files().unwrap().iter().filter(|name| name.contains('@')) {
        fs::remove_file(journald.directory().join(name)).unwrap();
    }
    assert_eq!(reading.read(50), lines(0..50));
    send(&journald, 50..52);
    assert_eq!(reading.read(2), lines(50..52));
}

#[tokio::test]
async fn a_killed_journald_s_file_is_read_and_reading_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald("killed", folder.path(), Settings::default()).await else {
        return;
    };
    send(&journald, 0..20);
    let config = config(&journald.journals());
    let mut running = Reading::journal(&config, &head());
    assert_eq!(running.read(20), lines(0..20));
    journald.kill().await.unwrap();
    journald.restart(None).await.unwrap();
    send(&journald, 20..40);
    assert_eq!(running.read(20), lines(20..40));
    assert!(journald.files().unwrap().iter().any(|name| name.ends_with(".journal~")));

    let mut restarted = Reading::journal(&config, &running.after("line 5"));
    assert_eq!(restarted.read(34), lines(6..40));
}

#[tokio::test]
async fn a_replaced_journal_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald("replaced", folder.path(), Settings::default()).await else {
        return;
    };
    send(&journald, 0..5);
    let config = config(&journald.journals());
    let mut first = Reading::journal(&config, &head());
    first.read(5);
    journald.kill().await.unwrap();
    fs::remove_dir_all(journald.directory()).unwrap();
    journald.restart(None).await.unwrap();
    send(&journald, 5..8);
    let mut reading = Reading::journal(&config, &first.after("line 4"));
    let mut expected = vec![Got::Lost(LossCause::Replaced, None)];
    expected.extend(lines(5..8));
    assert_eq!(reading.read(4), expected);
}

#[tokio::test]
async fn a_clock_that_was_set_back_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let test = "clock_set_back";
    if lab::parts::real_part_or_skip(test, "libfaketime").is_none() {
        return;
    }
    let settings = Settings { is_persistent: true, ..Settings::default() };
    let Some(mut journald) = journald(test, folder.path(), settings).await else { return };
    send(&journald, 0..5);
    let config = config(&journald.journals());
    let mut running = Reading::journal(&config, &head());
    assert_eq!(running.read(5), lines(0..5));
    for (round, clock) in ["-2h", "-6h"].into_iter().enumerate() {
        journald.stop().await.unwrap();
        journald.restart(Some(clock)).await.unwrap();
        let first = u32::try_from(round).unwrap() * 5 + 5;
        send(&journald, first..first + 5);
        assert_eq!(running.read(5), lines(first..first + 5), "{clock}");
    }
    let mut restarted = Reading::journal(&config, &running.after("line 2"));
    assert_eq!(restarted.read(12), lines(3..15));
    let mut restarted = Reading::journal(&config, &running.after("line 12"));
    assert_eq!(restarted.read(2), lines(13..15));
}

#[tokio::test]
async fn a_position_of_another_machine_s_future_does_not_wait_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald("future", folder.path(), Settings::default()).await else {
        return;
    };
    send(&journald, 0..3);
    let config = config(&journald.journals());
    Reading::journal(&config, &head()).read(3);
    let saved = position(
        "s=0123456789abcdef0123456789abcdef;i=1c1feb;b=fedcba9876543210fedcba9876543210;\
         m=36d72832;t=7000000000000;x=a59d79610698c7b2",
    );
    let mut reading = Reading::journal(&config, &at("journal", saved));
    let mut expected = vec![Got::Lost(LossCause::Replaced, None)];
    expected.extend(lines(0..3));
    assert_eq!(reading.read(4), expected);
}

#[tokio::test]
async fn a_damaged_file_costs_its_entries_and_not_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald("damaged", folder.path(), Settings::default()).await else {
        return;
    };
    send(&journald, 0..100);
    let config = config(&journald.journals());
    Reading::journal(&config, &head()).read(100);
    journald.rotate().await.unwrap();
    send(&journald, 100..110);
    let closed = journald.files().unwrap().into_iter().find(|name| name.contains('@')).unwrap();
    let path = journald.directory().join(closed);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle..middle + 8192].fill(0xa5);
    fs::write(&path, bytes).unwrap();

    let mut reading = Reading::journal(&config, &head());
    let all = reading.read(10);
    assert_eq!(all[all.len() - 10..], lines(100..110), "{all:?}");
    let mut seen = all.clone();
    seen.dedup();
    assert_eq!(seen, all, "nothing comes twice");
}

#[tokio::test]
async fn headroom_shrinks_as_unread_files_come_near_to_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald("headroom", folder.path(), Settings::default()).await else {
        return;
    };
    send(&journald, 0..100);
    let config = config(&journald.journals());
    let mut reading = Reading::journal(&config, &head());
    reading.read(100);
    journald.rotate().await.unwrap();
    send(&journald, 100..101);
    reading.read(1);
    let directories = [journald.directory()];
    let measure = |through: &str| headroom(&directories, &Limits::default(), through).unwrap();
    let (early, late) =
        (measure(&reading.cursors["line 50"]), measure(&reading.cursors["line 100"]));
    let closed: u64 = closed_bytes(&journald.directory());
    assert_eq!(late.bytes - early.bytes, closed);
    assert_eq!(late.files, early.files + 1);
    assert_eq!(late.unread_bytes, 0);
    assert!(early.unread_bytes > closed);
}

fn closed_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir(directory).unwrap().flatten();
    let closed = files.filter(|file| file.file_name().to_string_lossy().contains('@'));
    closed.map(|file| file.metadata().unwrap().blocks() * 512).sum()
}
