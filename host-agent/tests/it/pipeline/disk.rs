//! A disk that is full: positions and the spool wait, and go on when there is room.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lab::forward_receiver::Ack;
use lab::journald::Journald;
use lab::process::{Program, run};
use lab::{parts, wait};

use super::agent::{Agent, DEADLINE, Load, WINDOW, forward, journald, lines, receiver, until_all};

/// A file system of its own, unmounted at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    async fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let at_text = at.display().to_string();
        let options = format!("size={size}");
        let mount = Program::new("mount", Path::new("/usr/bin/mount"))
            .args(["-t", "tmpfs", "-o", &options, "tmpfs", &at_text]);
        run(&mount).await.unwrap();
        Self(at.to_owned())
    }

    /// Leaves no room.
    fn fill(&self) {
        let filler = vec![0; 4096];
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &filler).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let mut umount = std::process::Command::new("/usr/bin/umount");
        umount.arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_neither_delivery_nor_positions() {
    let test = "a_full_disk_stops_neither_delivery_nor_positions";
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald(test, folder.path(), &[]).await else { return };
    let disk = Tmpfs::mount(&folder.path().join("state"), "1M").await;
    let (journald, receiver) = (Arc::new(journald), receiver().await);
    let rest = forward("main", receiver.address());
    let mut agent = Agent::start(folder.path(), &journald.journals(), &rest).await;
    lines(&journald, 0..500);
    assert_eq!(until_all(&receiver, 500).await, 0);
    disk.fill();
    let load = Load::start(&journald, 1_000);
    wait::until("records arrive", DEADLINE, async || {
        let records = receiver.records();
        if records > 2_000 { Ok(()) } else { Err(records) }
    })
    .await
    .unwrap();
    let sent = load.end();
    agent.kill().await;
    agent.launch();
    // `Load` counts from 0 as the lines before did: ids are the journal's, so all are different.
    let repeats = until_all(&receiver, 500 + sent).await;
    assert!(repeats <= WINDOW, "{repeats} came again");
    assert_eq!(agent.metric("mesh_logs_position_errors_total", &[]).await, 0);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_without_room_waits_and_goes_on() {
    let test = "a_spool_without_room_waits_and_goes_on";
    let folder = tempfile::tempdir().unwrap();
    if let Err(why) = Journald::is_possible() {
        parts::skip(test, "journald", &why);
        return;
    }
    // Before journald, because the agent lives in its mount namespace.
    let disk = Tmpfs::mount(&folder.path().join("state"), "1M").await;
    // So small that everything unread is at risk, and large enough that nothing is deleted meanwhile.
    let small = ["RuntimeMaxUse=24M", "RuntimeMaxFileSize=2M"];
    let Some(mut journald) = journald(test, folder.path(), &small).await else { return };
    let receiver = receiver().await;
    receiver.set(|behaviour| behaviour.ack = Ack::Never);
    let rest = forward("main", receiver.address());
    let mut agent = Agent::start_beside(folder.path(), &journald, &rest).await;
    disk.fill();
    lines(&journald, 0..4_000);
    journald.rotate().await.unwrap();
    lines(&journald, 4_000..5_000);
    wait::until("the spool cannot be written", DEADLINE, async || {
        let errors = agent.metric("mesh_logs_spool_errors_total", &[]).await;
        if errors > 0 { Ok(()) } else { Err(errors) }
    })
    .await
    .unwrap();
    assert_eq!(agent.metric("mesh_logs_spooled_records_total", &[]).await, 0);
    disk.empty();
    wait::until("the spool is written", DEADLINE, async || {
        let spooled = agent.metric("mesh_logs_spooled_records_total", &[]).await;
        if spooled > 0 { Ok(()) } else { Err(spooled) }
    })
    .await
    .unwrap();
    receiver.set(|behaviour| behaviour.ack = Ack::EachChunk);
    assert!(until_all(&receiver, 5_000).await <= WINDOW);
    assert_eq!(agent.metric("mesh_logs_lost_records_total", &[]).await, 0);
    agent.stop().await;
}
