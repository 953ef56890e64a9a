//! Files as Nomad writes them for exec tasks.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host_agent::logs::position::{Positions, SourcePosition};
use host_agent::logs::read::config::FilesConfig;
use host_agent::logs::read::{LossCause, REMARK, REMARK_UNENDED};

use super::{Got, Reading, at, lines, position};

const SOURCE: &str = "file:1f/web.stdout";

fn path(data: &Path, number: u32) -> PathBuf {
    data.join("alloc/1f/alloc/logs").join(format!("web.stdout.{number}"))
}

fn write(data: &Path, number: u32, text: &str) {
    fs::create_dir_all(path(data, number).parent().unwrap()).unwrap();
    let file = File::options().create(true).append(true).open(path(data, number));
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

fn numbered(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("line {number}\n")).collect()
}

fn config(data: &Path) -> FilesConfig {
    FilesConfig {
        nomad_data_dir: data.to_owned(),
        from_beginning: true,
        poll: Duration::from_millis(20),
        line_bytes: 1024,
    }
}

fn reading(data: &Path, saved: &Positions) -> Reading {
    Reading::open(None, Some(&config(data)), saved)
}

#[test]
fn lines_are_read_as_they_come_and_named_by_their_allocation() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 0, "line 0\nline 1\nhalf");
    let mut reading = reading(data.path(), &Positions::default());
    assert_eq!(reading.read(2), lines(0..2));
    write(data.path(), 0, " a line\r\n");
    assert_eq!(reading.read(1), [Got::Line("half a line\r".to_owned())]);
    let fields: Vec<(&str, &[u8])> = reading.entry.fields.iter().collect();
    let expected: [(&str, &[u8]); 4] = [
        ("MESSAGE", b"half a line\r"),
        ("NOMAD_ALLOC_ID", b"1f"),
        ("NOMAD_TASK", b"web"),
        ("NOMAD_STREAM", b"stdout"),
    ];
    assert_eq!(fields, expected);
    assert_eq!(reading.reader.name(reading.entry.source), SOURCE);
}

#[test]
fn rotation_is_followed_and_what_was_deleted_unread_is_told() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 0, &numbered(0..3));
    let mut reading = reading(data.path(), &Positions::default());
    assert_eq!(reading.read(3), lines(0..3));
    write(data.path(), 0, &numbered(3..4));
    write(data.path(), 1, &numbered(4..6));
    assert_eq!(reading.read(3), lines(3..6));
    // Nomad runs ahead: 2 comes and goes unseen.
    write(data.path(), 3, &numbered(9..10));
    fs::remove_file(path(data.path(), 0)).unwrap();
    fs::remove_file(path(data.path(), 1)).unwrap();
    let expected = [Got::Lost(LossCause::Deleted, None), lines(9..10).remove(0)];
    assert_eq!(reading.read(2), expected);
    fs::remove_dir_all(data.path().join("alloc/1f")).unwrap();
    assert_eq!(reading.read(1), [Got::Ended(SOURCE.to_owned())]);
}

#[test]
fn what_is_deleted_unread_while_files_are_closed_is_told() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 0, &numbered(0..3));
    let mut reading = reading(data.path(), &Positions::default());
    assert_eq!(reading.read(3), lines(0..3));
    reading.reader.release();
    write(data.path(), 0, &numbered(3..5));
    assert_eq!(reading.read(2), lines(3..5), "what stays is read on");
    write(data.path(), 0, &numbered(5..6));
    reading.reader.release();
    fs::remove_dir_all(data.path().join("alloc/1f")).unwrap();
    let expected = [Got::Lost(LossCause::Deleted, None), Got::Ended(SOURCE.to_owned())];
    assert_eq!(reading.read(2), expected);
}

#[test]
fn files_that_cannot_be_looked_at_for_a_while_are_read_on_and_not_anew() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 0, &numbered(0..3));
    let mut reading = reading(data.path(), &Positions::default());
    assert_eq!(reading.read(3), lines(0..3));
    // A link to itself can be no directory: as good as too many open files.
    let logs = path(data.path(), 0).parent().unwrap().to_owned();
    let aside = logs.with_extension("aside");
    fs::rename(&logs, &aside).unwrap();
    std::os::unix::fs::symlink(&logs, &logs).unwrap();
    for _ in 0..5 {
        reading.reader.wait(Duration::from_millis(50)).unwrap();
        assert_eq!(reading.drain(), []);
    }
    fs::remove_file(&logs).unwrap();
    fs::rename(&aside, &logs).unwrap();
    write(data.path(), 0, &numbered(3..5));
    assert_eq!(reading.read(2), lines(3..5));
}

#[test]
fn a_restart_in_the_middle_of_a_file_goes_on_there() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 0, &numbered(0..5));
    write(data.path(), 1, &numbered(5..8));
    let mut first = reading(data.path(), &Positions::default());
    assert_eq!(first.read(8), lines(0..8));
    let mut again = reading(data.path(), &at(SOURCE, position(&first.cursors["line 2"])));
    assert_eq!(again.read(5), lines(3..8));
    assert_eq!(again.ids, first.ids[3..]);
    let open = vec![first.cursors["line 1"].clone()];
    let saved = SourcePosition { through: first.cursors["line 5"].clone(), open };
    let mut reopened = reading(data.path(), &at(SOURCE, saved));
    let mut expected: Vec<Got> = (1..6).map(|n| Got::Again(format!("line {n}"))).collect();
    expected.extend(lines(6..8));
    assert_eq!(reopened.read(7), expected);
}

#[test]
fn a_file_that_was_cut_is_read_from_its_new_beginning() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 0, &numbered(0..5));
    let mut running = reading(data.path(), &Positions::default());
    assert_eq!(running.read(5), lines(0..5));
    let saved = at(SOURCE, position(&running.cursors["line 4"]));
    File::options().write(true).open(path(data.path(), 0)).unwrap().set_len(0).unwrap();
    write(data.path(), 0, &numbered(5..6));
    assert_eq!(running.read(1), lines(5..6));
    let mut restarted = reading(data.path(), &saved);
    let expected = [Got::Lost(LossCause::Truncated, None), lines(5..6).remove(0)];
    assert_eq!(restarted.read(2), expected);
    assert_eq!(restarted.ids[0], running.ids[5], "the same names after a restart");
}

#[test]
fn a_long_line_comes_in_pieces_that_can_be_joined() {
    let data = tempfile::tempdir().unwrap();
    let long: String = "0123456789".repeat(250);
    write(data.path(), 0, &format!("{long}\nshort\n"));
    let mut first = reading(data.path(), &Positions::default());
    let mut pieces = Vec::new();
    while pieces.len() < 4 {
        if let host_agent::logs::read::Step::Entry { .. } =
            first.reader.next(&mut first.entry, 1).unwrap()
        {
            let text = |name: &str| {
                first.entry.fields.get(name).map(|value| String::from_utf8(value.to_vec()).unwrap())
            };
            pieces.push((
                text("MESSAGE").unwrap(),
                text("CONTAINER_PARTIAL_ID"),
                text("CONTAINER_PARTIAL_ORDINAL"),
                text("CONTAINER_PARTIAL_LAST"),
                first.entry.cursor.clone(),
            ));
        }
    }
    let joined: String = pieces[..3].iter().map(|piece| piece.0.as_str()).collect();
    assert_eq!(joined, long);
    let marks: Vec<_> =
        pieces.iter().map(|piece| (piece.2.as_deref(), piece.3.as_deref())).collect();
    let (no, yes) = (Some("false"), Some("true"));
    assert_eq!(marks, [(Some("1"), no), (Some("2"), no), (Some("3"), yes), (None, None)]);
    assert!(pieces[0].1.is_some() && pieces[0].1 == pieces[1].1 && pieces[1].1 == pieces[2].1);
    // A position between pieces keeps their numbers.
    let mut restarted = reading(data.path(), &at(SOURCE, position(&pieces[1].4)));
    assert_eq!(restarted.read(2).len(), 2);
    let mut restarted = reading(data.path(), &at(SOURCE, position(&pieces[1].4)));
    restarted.reader.next(&mut restarted.entry, 1).unwrap();
    let ordinal = restarted.entry.fields.get("CONTAINER_PARTIAL_ORDINAL");
    assert_eq!(ordinal, Some(&b"3"[..]));
}

#[test]
fn a_last_line_without_newline_is_delivered_when_its_file_is_done() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 0, "line 0\nno end");
    let mut reading = reading(data.path(), &Positions::default());
    assert_eq!(reading.read(1), lines(0..1));
    fs::remove_file(path(data.path(), 0)).unwrap();
    let expected = [Got::Line("no end".to_owned()), Got::Ended(SOURCE.to_owned())];
    assert_eq!(reading.read(2), expected);
    assert_eq!(reading.entry.fields.get(REMARK), Some(REMARK_UNENDED.as_bytes()));
}

#[test]
fn a_first_start_begins_at_the_end_of_what_is_there() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 0, &numbered(0..3));
    let config = FilesConfig { from_beginning: false, ..config(data.path()) };
    let mut first = Reading::open(None, Some(&config), &Positions::default());
    assert_eq!(first.drain(), []);
    write(data.path(), 0, &numbered(3..5));
    assert_eq!(first.read(2), lines(3..5));
    // Once it was begun, what is new is read from its first line.
    let mut saved = at(SOURCE, first.begun[1].clone());
    saved.sources.insert("files".to_owned(), first.begun[0].clone());
    fs::create_dir_all(data.path().join("alloc/2f/alloc/logs")).unwrap();
    fs::write(data.path().join("alloc/2f/alloc/logs/job.stderr.0"), "line 9\n").unwrap();
    let mut later = Reading::open(None, Some(&config), &saved);
    let mut expected = lines(3..5);
    expected.extend(lines(9..10));
    assert_eq!(later.read(3), expected);
}
