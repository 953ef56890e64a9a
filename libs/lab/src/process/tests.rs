//! Children that end, do not end, or take others with them.

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn shell(name: &str, script: &str) -> Program {
    Program::new(name, Path::new("/bin/sh")).args(["-c", script])
}

fn is_alive(id: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_dropped_process_takes_its_children_with_it_and_leaves_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let process =
        Process::start(&shell("parent", "sleep 100 & echo $!; wait"), dir.path()).unwrap();
    let log = process.log().to_owned();
    let child: i32 = wait::until("the child's id is logged", SOON, async || {
        std::fs::read_to_string(&log).unwrap().trim().parse::<i32>()
    })
    .await
    .unwrap();
    let parent = process.id();
    assert!(is_alive(parent) && is_alive(child));
    drop(process);
    wait::until("both are gone", SOON, async || {
        if is_alive(parent) || is_alive(child) { Err("alive") } else { Ok(()) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_process_that_ignores_the_request_to_stop_is_killed_after_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let mut process = Process::start(&shell("stubborn", script), dir.path()).unwrap();
    let log = process.log().to_owned();
    wait::until("the trap is set", SOON, async || {
        if std::fs::read_to_string(&log).unwrap().contains("ready") {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await
    .unwrap();
    let status = process.stop(Duration::from_millis(200)).await.unwrap();
    assert_eq!(status.to_string(), "signal: 9 (SIGKILL)");
}

#[tokio::test]
async fn a_process_that_ended_is_reported_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut process =
        Process::start(&shell("brief", "echo no such town >&2; exit 3"), dir.path()).unwrap();
    let error = wait::until("it ends", SOON, async || match process.check() {
        Ok(()) => Err("running"),
        Err(error) => Ok(error.to_string()),
    })
    .await
    .unwrap();
    assert!(error.contains("brief ended with exit status: 3"), "{error}");
    assert!(error.contains("no such town"), "{error}");
}
