//! What a queue on disk keeps, over restarts, torn writes and damage.

use std::fs::OpenOptions;
use std::path::Path;

use tempfile::TempDir;

use super::*;

fn options(folder: &Path) -> Options {
    Options { folder: folder.to_owned(), segment_bytes: 64, durability: Durability::PowerLoss }
}

type Found = Vec<(Position, Vec<u8>)>;

fn open(folder: &Path) -> (Segments, Recovery, Found) {
    let mut found = Vec::new();
    let (segments, recovery) =
        Segments::open(options(folder), |at, payload| found.push((at, payload.to_vec()))).unwrap();
    (segments, recovery, found)
}

/// Ten records of 20 bytes, each committed: two to a segment.
fn filled(folder: &Path) -> Vec<(Position, Vec<u8>)> {
    let (mut segments, ..) = open(folder);
    (0..10u8)
        .map(|n| {
            let payload = vec![n; 20];
            let at = segments.append(&[&payload[..5], &payload[5..]]);
            segments.commit().unwrap();
            (at, payload)
        })
        .collect()
}

#[test]
fn a_restart_finds_what_was_committed_in_order_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let written = filled(folder.path());
    let (mut segments, recovery, found) = open(folder.path());
    assert_eq!(found, written);
    assert_eq!(recovery, Recovery { records: 10, ..Recovery::default() });
    // Appended and not committed is not there.
    segments.append(&[b"lost"]);
    drop(segments);
    assert_eq!(open(folder.path()).2, written);
}

#[test]
fn records_are_read_by_position_and_in_order() {
    let folder = TempDir::new().unwrap();
    let written = filled(folder.path());
    let (segments, ..) = open(folder.path());
    let mut reader = segments.reader();
    for (at, payload) in written.iter().rev() {
        assert_eq!(&reader.read(*at).unwrap(), payload);
    }
    let mut at = segments.oldest();
    let mut read = Vec::new();
    while let Some((here, payload, next)) = reader.next(at, segments.end()).unwrap() {
        read.push((here, payload));
        at = next;
    }
    assert_eq!(read, written);
}

#[test]
fn dropping_deletes_whole_segments_and_positions_still_grow() {
    let folder = TempDir::new().unwrap();
    let written = filled(folder.path());
    let (mut segments, ..) = open(folder.path());
    let before = segments.bytes();
    segments.drop_before(written[5].0).unwrap();
    assert!(segments.bytes() < before);
    let mut reader = segments.reader();
    assert!(matches!(reader.read(written[0].0), Err(ReadError::Gone(_))));
    assert_eq!(reader.read(written[5].0).unwrap(), written[5].1);

    segments.drop_before(segments.end()).unwrap();
    assert_eq!(segments.bytes(), 0);
    let at = segments.append(&[b"next"]);
    assert!(at > written[9].0);
    segments.commit().unwrap();
    drop(segments);
    assert_eq!(open(folder.path()).2, [(at, b"next".to_vec())]);
}

#[test]
fn every_torn_tail_is_cut_off_and_counted() {
    let folder = TempDir::new().unwrap();
    let written = filled(folder.path());
    let last = file::path(folder.path(), written[9].0.segment);
    let whole = std::fs::read(&last).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&last, &whole[..length]).unwrap();
        let (segments, recovery, found) = open(folder.path());
        let kept = found.len();
        assert_eq!(found, written[..kept], "cut at {length}");
        assert!(kept >= 8, "cut at {length} lost records of other segments");
        assert_eq!(recovery.damaged_bytes, 0);
        drop(segments);
        // The second start finds nothing to complain about.
        assert_eq!(open(folder.path()).1, Recovery { records: kept as u64, ..Recovery::default() });
        std::fs::write(&last, &whole).unwrap();
    }
}

#[test]
fn damage_inside_a_segment_costs_the_rest_of_that_segment_only() {
    let folder = TempDir::new().unwrap();
    let written = filled(folder.path());
    let path = file::path(folder.path(), written[2].0.segment);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[written[2].0.offset as usize + 12] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (segments, recovery, found) = open(folder.path());
    let lost = written.iter().filter(|(at, _)| at.segment == written[2].0.segment).count();
    assert_eq!(found.len(), 10 - lost);
    assert!(recovery.damaged_bytes > 0 && recovery.torn_bytes == 0, "{recovery:?}");
    assert!(matches!(segments.reader().read(written[2].0), Err(ReadError::Damaged(_))));
}

#[test]
fn a_length_that_lies_is_damage_and_takes_no_memory() {
    let folder = TempDir::new().unwrap();
    let written = filled(folder.path());
    let at = written[0].0;
    let file = OpenOptions::new().write(true).open(file::path(folder.path(), at.segment)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 4], u64::from(at.offset)).unwrap();
    let (segments, ..) = open(folder.path());
    assert!(matches!(segments.reader().read(at), Err(ReadError::Damaged(_))));
}

#[test]
fn a_second_process_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let (_held, ..) = open(folder.path());
    let error = Segments::open(options(folder.path()), |_, _| {}).unwrap_err().to_string();
    assert!(
        error.ends_with("is in use by another process; give each agent a folder of its own"),
        "{error}"
    );
}

#[test]
fn a_write_that_fails_leaves_what_was_there_and_the_next_one_works() {
    let folder = TempDir::new().unwrap();
    let written = filled(folder.path());
    let (mut segments, ..) = open(folder.path());
    // The folder is away: the new segment cannot be created.
    let away = folder.path().with_extension("away");
    std::fs::rename(folder.path(), &away).unwrap();
    segments.append(&[b"refused"]);
    assert!(segments.commit().is_err());
    std::fs::rename(&away, folder.path()).unwrap();
    let at = segments.append(&[b"taken"]);
    segments.commit().unwrap();
    drop(segments);
    let mut expected = written;
    expected.push((at, b"taken".to_vec()));
    assert_eq!(open(folder.path()).2, expected);
}
