//! The spool against torn files, a bound, a restart and a full disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::logs::batch::{Message, Progress};
use crate::logs::position::SourcePosition;

const BOUND: u64 = 1 << 20;

fn batch(number: u64, size: usize) -> Batch {
    let half = u32::try_from(size / 2).unwrap();
    let message = Message {
        tag: Arc::from("mesh.trading.orders"),
        entries: Bytes::from(vec![b'x'; size]),
        ends: vec![half, u32::try_from(size).unwrap()],
    };
    let position = SourcePosition { through: format!("i={number}"), open: vec!["i=1".into()] };
    Batch {
        number,
        messages: vec![message],
        progress: vec![
            Progress { source: Arc::from("journal"), position: Some(position) },
            Progress { source: Arc::from("file:gone"), position: None },
        ],
        writers: BTreeMap::from([(Arc::from("orders-1"), 2)]),
        oldest_ns: Some(number),
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "seg")).collect()
}

fn without_records(batch: Batch) -> Batch {
    Batch { messages: Vec::new(), ..batch }
}

/// Puts a batch of 400 bytes into the spool; how many gave way for it.
fn kept(spool: &mut Spool, number: u64) -> u64 {
    spool.append(&batch(number, 400)).unwrap();
    let lost = spool.give_way().unwrap();
    assert_eq!(lost.damaged, 0);
    lost.writers.values().sum::<u64>() / 2
}

/// What is handed out for batches that gave way, up to this one.
fn in_place_of(number: u64) -> Batch {
    Batch { number, progress: batch(number, 0).progress, ..Batch::default() }
}

fn flip_last(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn batches_come_back_oldest_first_and_their_files_go_when_they_are_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, found) = Spool::open(folder.path(), BOUND, 4).unwrap();
    assert_eq!(found, Found::default());
    assert!(spool.is_empty() && spool.is_drained());
    for number in 5..8 {
        spool.append(&batch(number, 100)).unwrap();
    }
    assert_eq!(spool.take().unwrap(), Some(batch(5, 100)));
    assert!(!spool.is_drained());
    assert_eq!(spool.take().unwrap(), Some(batch(6, 100)));
    assert_eq!(spool.take().unwrap(), Some(batch(7, 100)));
    assert_eq!(spool.take().unwrap(), None);
    assert!(spool.is_drained() && !spool.is_empty());
    spool.delivered(6).unwrap();
    assert!(!spool.is_empty());
    spool.delivered(7).unwrap();
    assert!(spool.is_empty());
    assert_eq!((spool.bytes(), segments(folder.path())), (0, Vec::new()));
}

#[test]
fn after_a_restart_what_is_not_delivered_is_there_and_a_torn_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path(), BOUND, 0).unwrap();
    for number in 1..=3 {
        spool.append(&batch(number, 50)).unwrap();
    }
    drop(spool);
    let [file] = segments(folder.path()).try_into().unwrap();
    let bytes = fs::read(&file).unwrap();
    for torn in 1..bytes.len() / 3 - 8 {
        for file in segments(folder.path()) {
            fs::remove_file(file).unwrap();
        }
        fs::write(&file, &bytes[..bytes.len() - torn]).unwrap();
        let (mut spool, found) = Spool::open(folder.path(), BOUND, 1).unwrap();
        assert_eq!(found.batches, [without_records(batch(2, 50))], "{torn} bytes torn off");
        assert!(found.damaged_bytes > 0, "{torn} bytes torn off");
        assert_eq!(spool.take().unwrap(), Some(batch(2, 50)));
        spool.append(&batch(3, 50)).unwrap();
        assert_eq!(spool.take().unwrap(), Some(batch(3, 50)));
    }
}

#[test]
fn a_flipped_bit_ends_what_is_readable_of_its_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path(), BOUND, 0).unwrap();
    spool.append(&batch(1, 50)).unwrap();
    spool.append(&batch(2, 50)).unwrap();
    drop(spool);
    let [file] = segments(folder.path()).try_into().unwrap();
    flip_last(&file);
    let (_, found) = Spool::open(folder.path(), BOUND, 0).unwrap();
    assert_eq!(found.batches, [without_records(batch(1, 50))]);
    assert!(found.damaged_bytes > 50, "{found:?}");
}

#[test]
fn over_its_bound_the_oldest_segment_gives_way_and_its_batches_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path(), 10_000, 0).unwrap();
    let mut lost = 0;
    for number in 1..=30 {
        lost += kept(&mut spool, number);
    }
    assert!(spool.bytes() <= 10_000 && spool.bytes() > 8_000, "{}", spool.bytes());
    assert_eq!(spool.take().unwrap(), Some(in_place_of(lost)));
    assert_eq!(spool.take().unwrap(), Some(batch(lost + 1, 400)));
}

#[test]
fn what_gives_way_takes_its_turn_after_what_stands_before_it() {
    let folder = tempfile::tempdir().unwrap();
    // Several batches to a segment.
    let (mut spool, _) = Spool::open(folder.path(), 60_000, 0).unwrap();
    let mut lost = (1..=8).map(|number| kept(&mut spool, number)).sum::<u64>();
    assert_eq!(spool.take().unwrap(), Some(batch(1, 400)));
    lost += (9..=200).map(|number| kept(&mut spool, number)).sum::<u64>();
    assert!(lost > 8 && spool.bytes() <= 60_000, "{lost} in {}", spool.bytes());
    let mut number = 2;
    while let Some(taken) = spool.take().unwrap() {
        if taken.messages.is_empty() {
            assert_eq!(taken, in_place_of(number + lost - 1));
            number += lost;
        } else {
            assert_eq!(taken, batch(number, 400));
            number += 1;
        }
        assert_eq!(spool.is_drained(), number == 201);
    }
    assert_eq!(number, 201, "each was handed out, or lost and said to be");
}

#[test]
fn a_damaged_batch_gives_way_like_others() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path(), 60_000, 0).unwrap();
    spool.append(&batch(1, 400)).unwrap();
    let [file] = segments(folder.path()).try_into().unwrap();
    flip_last(&file);
    let (mut damaged, mut lost) = (0, 0);
    for number in 2..=200 {
        spool.append(&batch(number, 400)).unwrap();
        let gone = spool.give_way().unwrap();
        (damaged, lost) = (damaged + gone.damaged, lost + gone.writers.values().sum::<u64>() / 2);
    }
    assert!(spool.bytes() <= 60_000, "{}", spool.bytes());
    assert_eq!((damaged, spool.take().unwrap()), (1, Some(in_place_of(lost + 1))));
}
