//! Journals written by systemd-journal-remote, for fields that no daemon here writes.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use lab::journald::write_journal;

use super::{Got, Reading, config, head, lines};

const BOOT: &str = "c77c0000000000000000000000000001";
const BEGIN_US: u64 = 1_795_287_947_000_000;

/// One entry a second from a time on: lines with these numbers, of a boot and a unit.
fn export(lines: std::ops::Range<u64>, boot: &str, unit: &str, begin_us: u64) -> String {
    let mut text = String::new();
    for (second, line) in (0_u64..).zip(lines) {
        let (time, monotonic) = (begin_us + second * 1_000_000, 5_000_000 + second * 1_000_000);
        writeln!(text, "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={monotonic}").unwrap();
        writeln!(text, "_BOOT_ID={boot}\n_SYSTEMD_UNIT={unit}\nMESSAGE=line {line}\n").unwrap();
    }
    text
}

async fn write(folder: &Path, name: &str, export: &str) {
    let input = folder.join(format!("{name}.export"));
    fs::write(&input, export).unwrap();
    let journals = folder.join("journals");
    fs::create_dir_all(&journals).unwrap();
    write_journal(&input, &journals.join(format!("{name}.journal"))).await.unwrap();
}

fn is_possible(test: &str) -> bool {
    lab::parts::real_part_or_skip(test, "journal-remote").is_some()
}

#[tokio::test]
async fn a_boot_whose_clock_is_behind_the_position_is_read_after_the_older_ones() {
    if !is_possible("boot_behind") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let boot =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().replace('-', "");
    let old = export(0..10, BOOT, "a.service", BEGIN_US + 7_200_000_000);
    let new = export(10..20, &boot, "a.service", BEGIN_US);
    write(folder.path(), "old", &old).await;
    let config = config(&folder.path().join("journals"));
    let mut first = Reading::journal(&config, &head());
    assert_eq!(first.drain(), lines(0..10));
    let saved = first.after("line 4");
    write(folder.path(), "new", &new).await;
    let mut second = Reading::journal(&config, &saved);
    assert_eq!(second.drain(), lines(5..20));
    let mut third = Reading::journal(&config, &second.after("line 14"));
    assert_eq!(third.drain(), lines(15..20));
}

#[tokio::test]
async fn of_the_agent_s_own_lines_so_many_a_minute_are_read() {
    if !is_possible("own_lines") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let own = export(0..50, BOOT, "host-agent.service", BEGIN_US);
    let other = export(50..52, BOOT, "web.service", BEGIN_US + 50_000_000);
    write(folder.path(), "x", &(own + &other)).await;
    let mut config = config(&folder.path().join("journals"));
    config.own_lines_per_minute = 5;
    let all = Reading::journal(&config, &head()).drain();
    let is_other =
        |got: &&Got| matches!(got, Got::Line(text) if text == "line 50" || text == "line 51");
    assert_eq!(all.iter().filter(is_other).count(), 2);
    // The fifty seconds begin in one minute and end in the same or the next one.
    let own = all.len() - 2;
    assert!(own == 5 || own == 10, "{own} own lines");
    config.own_lines_per_minute = 0;
    assert_eq!(Reading::journal(&config, &head()).drain().len(), 2);
}
