//! The unit as systemd runs it: rights, notification, watchdog, and lines of others delivered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::debian::Debian;
use lab::forward_receiver::ForwardReceiver;
use lab::process::{Program, run};
use lab::{parts, wait};

use super::agent::{DEADLINE, receiver};

/// What the unit may reach at the most: https://systemd.io calls everything below 2 well protected.
const EXPOSURE: f64 = 2.5;
/// In place of the unit's own, so that a test can wait for it.
const WATCHDOG: &str = "[Service]\nWatchdogSec=3\n";

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging/host-agent.service")
}

#[tokio::test]
async fn the_unit_may_do_little() {
    let test = "the_unit_may_do_little";
    let analyze = Path::new("/usr/bin/systemd-analyze");
    if !analyze.exists() {
        parts::skip(test, "systemd", "this machine has no systemd-analyze");
        return;
    }
    let program = Program::new("analyze", analyze).args([
        "security",
        "--offline=true",
        "--no-pager",
        &unit().display().to_string(),
    ]);
    let said = run(&program).await.unwrap();
    let level = said.split("Overall exposure level for").nth(1).unwrap();
    let level = level.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap();
    assert!(level <= EXPOSURE, "{said}");
}

/// Waits until the receiver has a record whose fields hold this text, which the machine's file output shows.
async fn until_delivered(debian: &Debian, receiver: &ForwardReceiver, text: &str) {
    wait::until("the line was delivered", DEADLINE, async || {
        let copy = debian.run(&["cat", "/var/lib/ayatori/host-agent/copy.jsonl"]).await;
        let copy = copy.unwrap_or_default();
        match (copy.contains(text), receiver.records() > 0) {
            (true, true) => Ok(()),
            _ => Err(format!("{} records; {copy:.2000}", receiver.records())),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_runs_in_a_booted_debian() {
    let test = "the_unit_runs_in_a_booted_debian";
    let folder = tempfile::tempdir().unwrap();
    let receiver = receiver().await;
    let config = folder.path().join("host-agent.toml");
    let text = format!(
        "log.format = \"text\"\ninstances.consul = false\nadmin.listen = \"127.0.0.1:0\"\n\
         [logs.destinations.copy.file]\npath = \"/var/lib/ayatori/host-agent/copy.jsonl\"\n\
         [[logs.destinations.main.forward.servers]]\naddress = \"{}\"\n",
        receiver.address()
    );
    std::fs::write(&config, text).unwrap();
    let drop_in = folder.path().join("watchdog.conf");
    std::fs::write(&drop_in, WATCHDOG).unwrap();
    let files = [
        (PathBuf::from(env!("CARGO_BIN_EXE_host-agent")), "/usr/local/bin/host-agent"),
        (unit(), "/etc/systemd/system/host-agent.service"),
        (config, "/etc/ayatori/host-agent.toml"),
        (drop_in, "/etc/systemd/system/host-agent.service.d/watchdog.conf"),
    ];
    let booted = Debian::boot_or_skip(test, folder.path(), &files).await.unwrap();
    let Some(debian) = booted else { return };

    // Type=notify: the command returns when the agent says that it reads.
    debian.run(&["systemctl", "start", "host-agent"]).await.unwrap();
    let property = async |name: &str| {
        let shown = debian.run(&["systemctl", "show", "host-agent", "-P", name]).await.unwrap();
        shown.trim().to_owned()
    };
    assert_eq!(property("SubState").await, "running");
    let main: u32 = property("MainPID").await.parse().unwrap();
    let status = debian.run(&["cat", &format!("/proc/{main}/status")]).await.unwrap();
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        found.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_ne!(line("Uid:")[0], "0", "it does not run as root");
    // CAP_DAC_READ_SEARCH is number 2.
    assert_eq!(line("CapEff:"), ["0000000000000004"]);
    assert_eq!(line("CapBnd:"), ["0000000000000004"]);

    debian
        .run(&["systemd-run", "--wait", "--quiet", "echo", "hello from another unit"])
        .await
        .unwrap();
    until_delivered(&debian, &receiver, "\"message\":\"hello from another unit\"").await;
    let container = "MESSAGE=hello from a container\nCONTAINER_NAME=orders-1\nCONTAINER_ID_FULL=738f\nPRIORITY=6\n";
    let send = format!("printf '{}' | logger --journald", container.replace('\n', "\\n"));
    debian.run(&["sh", "-c", &send]).await.unwrap();
    until_delivered(&debian, &receiver, "\"container\":\"orders-1\"").await;

    // A reload does not restart it; a process that stands still is ended by the watchdog and started again.
    debian.run(&["systemctl", "reload", "host-agent"]).await.unwrap();
    assert_eq!(property("MainPID").await, main.to_string());
    wait::holds("the watchdog is fed", Duration::from_secs(5), async || {
        match property("MainPID").await {
            same if same == main.to_string() => Ok(()),
            other => Err(other),
        }
    })
    .await
    .unwrap();
    debian
        .run(&["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "host-agent"])
        .await
        .unwrap();
    wait::until("the watchdog started it again", DEADLINE, async || {
        match (property("MainPID").await, property("SubState").await) {
            (id, state) if state == "running" && id != main.to_string() => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await
    .unwrap();
    debian.run(&["systemd-run", "--wait", "--quiet", "echo", "hello once more"]).await.unwrap();
    until_delivered(&debian, &receiver, "\"message\":\"hello once more\"").await;
    debian.run(&["systemctl", "stop", "host-agent"]).await.unwrap();
    assert_eq!(property("Result").await, "success");
}
