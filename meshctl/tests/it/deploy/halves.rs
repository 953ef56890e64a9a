//! Interrupted and shared: two at the same time, killed anywhere, Nomad or Consul away in the middle.

use std::time::Duration;

use lab::nomad::NomadOptions;
use lab::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

use super::yard::{DEADLINE, Yard, well};

async fn end(mut child: Child, signal: Signal) -> Option<i32> {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    kill(Pid::from_raw(id), signal).unwrap();
    tokio::time::timeout(DEADLINE, child.wait()).await.unwrap().unwrap().code()
}

#[tokio::test]
async fn a_second_deploy_is_told_who_is_at_work_since_when() {
    let Some(yard) = Yard::plain("second").await else { return };
    let file = yard.slow("a.hcl", "one", 0, 8);
    let first = yard.begin(&file, &[]);
    yard.until_state("following").await;
    let said = yard.deploy(&file, &[]).await;
    said.expect(
        1,
        &["orders is being deployed by", "process", "a.hcl, following", "nothing was done"],
    );
    let other = yard.slow("b.hcl", "two", 0, 3);
    yard.deploy(&other, &[]).await.expect(1, &["orders is being deployed by"]);
    yard.run(&["stop", "orders", "--yes"]).await.expect(1, &["orders is being deployed by"]);
    let output = first.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn killed_in_any_state_the_same_command_goes_on() {
    let Some(yard) = Yard::plain("killed").await else { return };
    yard.deploy(&yard.job("a.hcl", &well("zero"), 1), &[]).await.expect(0, &[]);
    for (at, state) in ["submitting", "following", "promoting"].into_iter().enumerate() {
        let file = yard.slow("b.hcl", state, 1, 3);
        let child = yard.begin(&file, &[]);
        match state {
            // It lasts for one request: killed in it, or just after it.
            "submitting" => yard.until_begun().await,
            _ => yard.until_state(state).await,
        }
        assert_eq!(end(child, Signal::SIGKILL).await, None);
        let version = at + 1;
        // At once: the dead owner ran on this host, which is seen.
        yard.deploy(&file, &[])
            .await
            .expect(0, &["going on with what", &format!("orders runs as version {version}")]);
        assert_eq!(yard.running().await, [u64::try_from(version).unwrap(); 2]);
        assert!(yard.record().await.is_none());
    }
}

#[tokio::test]
async fn killed_while_going_back_the_same_command_goes_on_going_back() {
    let Some(yard) = Yard::plain("killed_back").await else { return };
    let first = yard.job("a.hcl", "trap 'sleep 1; exit 0' TERM; while true; do sleep 0.1; done", 0);
    yard.deploy(&first, &[]).await.expect(0, &[]);
    let broken = yard.job("b.hcl", "sleep 1; exit 3", 0);
    let child = yard.begin(&broken, &[]);
    yard.until_state("reverting").await;
    end(child, Signal::SIGKILL).await;
    yard.deploy(&broken, &[]).await.expect(1, &["going on with what", "what ran before runs"]);
    assert!(yard.record().await.is_none());
    assert_eq!(yard.running().await.len(), 2);
}

#[tokio::test]
async fn told_to_stop_it_says_where_it_is_and_frees_the_lock() {
    let Some(yard) = Yard::plain("interrupted").await else { return };
    yard.deploy(&yard.job("a.hcl", &well("zero"), 0), &[]).await.expect(0, &[]);
    let file = yard.slow("b.hcl", "one", 0, 3);
    let child = yard.begin(&file, &["-o", "json"]);
    yard.until_state("following").await;
    assert_eq!(end(child, Signal::SIGTERM).await, Some(5));
    yard.run(&["status", "orders"])
        .await
        .expect(0, &["following: b.hcl", "worked on it"])
        .expect(0, &["half-way: the same command goes on; meshctl rollback orders ends it"]);
    let other = yard.job("c.hcl", &well("two"), 0);
    yard.deploy(&other, &[])
        .await
        .expect(1, &["a deploy of b.hcl", "is half-way (following)", "meshctl rollback orders"]);
    yard.run(&["rollback", "orders", "--yes"]).await.expect(0, &["runs as version 0 did"]);
    assert_eq!(yard.running().await, [2, 2]);
    yard.deploy(&other, &[]).await.expect(0, &["orders runs as version 3"]);
}

#[tokio::test]
async fn a_first_deploy_that_never_reached_nomad_is_ended_by_a_rollback() {
    let Some(yard) = Yard::plain("never_reached").await else { return };
    yard.leave_record("submitting", "{\"index\": 0}", None).await;
    let file = yard.job("b.hcl", &well("one"), 0);
    yard.deploy(&file, &[])
        .await
        .expect(1, &["a deploy of a.hcl", "half-way (submitting)", "meshctl rollback orders"]);
    yard.run(&["status", "orders"])
        .await
        .expect(1, &["half-way (submitting)", "meshctl rollback orders ends it"]);
    yard.run(&["rollback", "orders", "--yes"]).await.expect(0, &[]);
    assert!(yard.record().await.is_none());
    yard.deploy(&file, &[]).await.expect(0, &["orders runs as version 0"]);
}

#[tokio::test]
async fn a_first_deploy_that_is_rolled_back_ends_well_with_nothing() {
    let Some(yard) = Yard::plain("back_to_nothing").await else { return };
    let file = yard.slow("a.hcl", "one", 0, 8);
    let child = yard.begin(&file, &[]);
    yard.until_state("following").await;
    assert_eq!(end(child, Signal::SIGTERM).await, Some(5));
    yard.run(&["rollback", "orders", "--yes", "-o", "json"])
        .await
        .expect(0, &["\"outcome\":\"stopped\""]);
    assert!(yard.record().await.is_none());
    assert_eq!(yard.in_force().await["Stop"], true);
}

#[tokio::test]
async fn a_way_back_is_not_taken_for_done_by_what_somebody_else_registered() {
    let Some(yard) = Yard::plain("not_ours").await else { return };
    yard.deploy(&yard.job("a.hcl", &well("zero"), 0), &[]).await.expect(0, &[]);
    yard.deploy(&yard.job("b.hcl", &well("one"), 0), &[]).await.expect(0, &[]);
    // Somebody was about to go back from 1 to 0, and another one used Nomad alone.
    let reverting = "{\"from\": 1, \"to\": 0, \"why\": \"it broke\"}";
    yard.leave_record("reverting", reverting, Some(0)).await;
    let file = yard.job("a.hcl", &well("two"), 0);
    let output = yard.nomad.run(&["job", "run", "-detach", &file], DEADLINE).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    yard.run(&["rollback", "orders", "--yes"])
        .await
        .expect(0, &["orders runs as version 0 did, which is now version 3"]);
    assert_eq!(yard.running().await, [3, 3]);
}

#[tokio::test]
async fn a_stop_that_never_reached_nomad_is_taken_back_to_what_runs() {
    let Some(yard) = Yard::plain("stop_taken_back").await else { return };
    yard.deploy(&yard.job("a.hcl", &well("zero"), 0), &[]).await.expect(0, &[]);
    yard.deploy(&yard.job("b.hcl", &well("one"), 0), &[]).await.expect(0, &[]);
    let stop = "{\"command\": \"stop\", \"purge\": false}";
    yard.leave_record("stopping", stop, Some(1)).await;
    yard.run(&["rollback", "orders", "--yes"]).await.expect(0, &["version 1 already"]);
    assert_eq!(yard.running().await, [1, 1]);
    assert!(yard.record().await.is_none());
}

#[tokio::test]
async fn what_holds_a_deploy_up_can_be_waived_by_whoever_goes_on() {
    let Some(yard) = Yard::plain("waived").await else { return };
    yard.deploy(&yard.job("a.hcl", &well("zero"), 1), &[]).await.expect(0, &[]);
    let file = yard.job("b.hcl", &well("one"), 1);
    let manual = ["--strategy", "canary", "--gate", "manual"];
    yard.deploy(&file, &manual).await.expect(4, &[]);
    let words =
        ["--strategy", "canary", "--gate", "none", "--allow-unconnected", "--tolerate", "2"];
    yard.deploy(&file, &words).await.expect(4, &["waits for you"]);
    let gates = yard.record().await.unwrap()["gates"].clone();
    let waived = serde_json::json!({"convergence": false, "allow_unconnected": true, "sli": null, "manual": true, "tolerated": 2});
    assert_eq!(gates, waived);
    yard.run(&["promote", "orders"]).await.expect(0, &["orders runs as version 1"]);
}

#[tokio::test]
async fn nomad_away_in_the_middle_is_awaited_or_left_with_a_name() {
    let options = NomadOptions { durable: true, ..NomadOptions::default() };
    let Some(mut yard) = Yard::open("away", options).await else { return };
    yard.deploy(&yard.job("a.hcl", &well("zero"), 0), &[]).await.expect(0, &[]);
    let file = yard.slow("b.hcl", "one", 0, 3);
    let child = yard.begin(&file, &["--max-outage", "2s"]);
    yard.until_state("following").await;
    yard.nomad.kill().await.unwrap();
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{err}");
    for text in [
        "does not reach Nomad",
        "waiting for it",
        "half-way, following",
        "the same command goes on",
    ] {
        assert!(err.contains(text), "no {text:?} in:\n{err}");
    }
    yard.nomad.start_again().await.unwrap();
    let child = yard.begin(&file, &[]);
    yard.nomad.freeze().await.unwrap();
    wait::holds("it waits", Duration::from_secs(2), async || Ok::<_, String>(())).await.unwrap();
    yard.nomad.thaw().unwrap();
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(yard.record().await.is_none());
}

#[tokio::test]
async fn consul_away_in_the_middle_costs_nothing() {
    let Some(mut yard) = Yard::plain("consul_away").await else { return };
    yard.deploy(&yard.job("a.hcl", &well("zero"), 1), &[]).await.expect(0, &[]);
    let file = yard.slow("b.hcl", "one", 1, 3);
    let child = yard.begin(&file, &[]);
    yard.until_state("following").await;
    yard.consul.kill().await.unwrap();
    wait::holds("it waits", Duration::from_secs(4), async || Ok::<_, String>(())).await.unwrap();
    yard.consul.start_again().await.unwrap();
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert_eq!(yard.running().await, [1, 1]);
}
