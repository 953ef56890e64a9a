//! A journal of Docker-like entries, written by systemd-journal-remote: 28 fields, about 1 KB each.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

const BASE_US: u64 = 1_795_287_947_309_244;
const CONTAINERS: u64 = 8;

/// The folder of a journal with so many entries; made when it is not there yet.
pub(super) async fn journal(cache: &Path, entries: u64) -> anyhow::Result<PathBuf> {
    let folder = cache.join(format!("journal-{entries}"));
    if folder.exists() {
        return Ok(folder);
    }
    let making = cache.join("journal.new");
    std::fs::create_dir_all(&making).context("cannot make the journal's folder")?;
    let export = making.join("entries.export");
    let file = std::fs::File::create(&export).context("cannot write the entries")?;
    let mut file = std::io::BufWriter::new(file);
    let mut text = String::new();
    for number in 0..entries {
        text.clear();
        entry(&mut text, number)?;
        file.write_all(text.as_bytes()).context("cannot write the entries")?;
    }
    file.flush().context("cannot write the entries")?;
    lab::journald::write_journal(&export, &making.join("system.journal")).await?;
    std::fs::remove_file(&export).context("cannot remove the entries")?;
    std::fs::rename(&making, &folder).context("cannot keep the journal")?;
    Ok(folder)
}

/// One entry in journald's export format. The message has text that does not repeat, so that compression is no gift.
fn entry(text: &mut String, number: u64) -> std::fmt::Result {
    let time = BASE_US + number * 100;
    let container = number % CONTAINERS;
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut noise = || {
        mixed ^= mixed >> 29;
        mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed
    };
    writeln!(text, "__REALTIME_TIMESTAMP={time}")?;
    writeln!(text, "__MONOTONIC_TIMESTAMP={}", 920_070_194 + number * 100)?;
    writeln!(text, "_BOOT_ID=c77c0000000000000000000000000001")?;
    writeln!(
        text,
        "MESSAGE=seq={number} level=info msg=\"order accepted\" id={:016x} user={} path=/orders/{} took=0.{} trace={:016x}{:016x}",
        noise(),
        noise() % 100_000_000,
        number % 977,
        noise() % 10_000,
        noise(),
        noise(),
    )?;
    writeln!(text, "PRIORITY=6")?;
    writeln!(text, "CONTAINER_ID=738f9eed436{container}")?;
    writeln!(
        text,
        "CONTAINER_ID_FULL=738f9eed4362690e29a1b0d52b017c4e14b8a029d6d38a5194b400ea07314f2{container}"
    )?;
    writeln!(text, "CONTAINER_NAME=orders-a1b2c3d4-0000-0000-0000-00000000000{container}")?;
    writeln!(text, "CONTAINER_TAG=orders-{container}")?;
    writeln!(text, "IMAGE_NAME=registry.example/trading/orders:1.42.0")?;
    writeln!(text, "COM_HASHICORP_NOMAD_ALLOC_ID=a1b2c3d4-0000-0000-0000-00000000000{container}")?;
    writeln!(text, "COM_HASHICORP_NOMAD_JOB_NAME=orders")?;
    writeln!(text, "COM_HASHICORP_NOMAD_TASK_GROUP_NAME=orders")?;
    writeln!(text, "COM_HASHICORP_NOMAD_TASK_NAME=orders")?;
    writeln!(text, "COM_HASHICORP_NOMAD_NAMESPACE=default")?;
    writeln!(text, "SYSLOG_IDENTIFIER=orders-{container}")?;
    writeln!(text, "_PID=4133\n_UID=0\n_GID=0\n_COMM=dockerd\n_EXE=/usr/bin/dockerd")?;
    writeln!(
        text,
        "_CMDLINE=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"
    )?;
    writeln!(text, "_CAP_EFFECTIVE=1ffffffffff\n_SYSTEMD_CGROUP=/system.slice/docker.service")?;
    writeln!(text, "_SYSTEMD_UNIT=docker.service\n_SYSTEMD_SLICE=system.slice")?;
    writeln!(text, "_MACHINE_ID=3d120000000000000000000000000002\n_HOSTNAME=host-1")?;
    writeln!(text, "_TRANSPORT=journal\n_SOURCE_REALTIME_TIMESTAMP={}\n", time - 5)
}
