//! Ways that end well: each strategy, gates, going on, going back, stopping.

use serde_json::Value;

use super::yard::{Yard, job, of_kind, well};

#[tokio::test]
async fn a_first_version_then_the_same_then_another_one() {
    let Some(yard) = Yard::plain("first_version").await else { return };
    let first = yard.job("orders.nomad.hcl", &well("one"), 1);
    yard.deploy(&first, &["--dry-run"]).await.expect(0, &["+ job orders", "orders would change"]);
    assert!(yard.record().await.is_none());
    yard.deploy(&first, &[]).await.expect(0, &["orders runs as version 0"]);
    assert_eq!(yard.running().await, [0, 0]);
    assert!(yard.record().await.is_none(), "a finished deploy leaves no record");

    yard.deploy(&first, &[]).await.expect(0, &["orders runs as version 0 already"]);
    yard.deploy(&first, &["--dry-run"]).await.expect(0, &["orders would not change"]);

    let second = yard.job("orders.nomad.hcl", &well("two"), 1);
    let said = yard.deploy(&second, &[]).await;
    said.expect(0, &["rolling, 1 of 2 first", "promoted deployment", "orders runs as version 1"]);
    assert_eq!(yard.running().await, [1, 1]);
    let update = &yard.in_force().await["TaskGroups"][0]["Update"];
    assert_eq!(
        (&update["AutoPromote"], &update["AutoRevert"], &update["Canary"]),
        (&Value::from(false), &Value::from(true), &Value::from(1))
    );
}

#[tokio::test]
async fn blue_green_brings_a_whole_set_and_ends_the_old_one_at_once() {
    let Some(yard) = Yard::plain("blue_green").await else { return };
    yard.deploy(&yard.job("a.hcl", &well("one"), 0), &[]).await.expect(0, &[]);
    let second = yard.job("b.hcl", &well("two"), 0);
    let said = yard.deploy(&second, &["--strategy", "blue-green", "-o", "json"]).await;
    said.expect(0, &[]);
    let events = said.events();
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["outcome"]), (&"result".into(), &"deployed".into()));
    assert_eq!((&last["version"], &last["exit_code"]), (&1.into(), &0.into()));
    let told: Vec<&str> = events
        .iter()
        .filter(|own| own["event"] == "told")
        .map(|own| own["what"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["submit", "promote"]);
    let states: Vec<&str> = events
        .iter()
        .filter(|own| own["event"] == "state")
        .map(|own| own["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["following", "promoting"]);
    assert_eq!(yard.running().await, [1, 1]);
}

#[tokio::test]
async fn a_person_is_waited_for_and_promotes_or_goes_back() {
    let Some(yard) = Yard::plain("manual").await else { return };
    let manual = ["--strategy", "canary", "--gate", "manual"];
    yard.deploy(&yard.job("a.hcl", &well("one"), 1), &manual)
        .await
        .expect(0, &["--gate manual holds nothing back", "orders runs as version 0"]);
    let second = yard.job("b.hcl", &well("two"), 1);
    yard.deploy(&second, &manual).await.expect(4, &["waits for you (--gate manual)"]);
    assert_eq!(yard.running().await, [0, 0, 1]);
    yard.deploy(&second, &manual).await.expect(4, &["going on with what", "waits for you"]);
    let other = yard.job("c.hcl", &well("three"), 1);
    yard.deploy(&other, &manual).await.expect(1, &["is half-way (awaiting promotion)"]);
    yard.run(&["status", "orders"])
        .await
        .expect(0, &["awaiting promotion", "waits for promotion", "canary", "half-way"])
        .expect(0, &["meshctl promote orders promotes it; meshctl rollback orders ends it"]);

    yard.run(&["promote", "orders"]).await.expect(0, &["orders runs as version 1"]);
    assert_eq!(yard.running().await, [1, 1]);
    yard.run(&["promote", "orders"]).await.expect(1, &["no deployment that waits"]);

    yard.deploy(&other, &manual).await.expect(4, &[]);
    yard.run(&["rollback", "orders", "--yes"])
        .await
        .expect(0, &["orders runs as version 1 did, which is now version 3"]);
    assert_eq!(yard.running().await, [3, 3]);
    assert!(yard.record().await.is_none());
}

#[tokio::test]
async fn a_deploy_that_waits_goes_on_when_somebody_promotes() {
    let Some(yard) = Yard::plain("waits").await else { return };
    yard.deploy(&yard.job("a.hcl", &well("one"), 1), &[]).await.expect(0, &[]);
    let second = yard.job("b.hcl", &well("two"), 1);
    let waiting = yard.begin(&second, &["--gate", "manual", "--wait"]);
    yard.until_state("awaiting_promotion").await;
    yard.run(&["promote", "orders"]).await.expect(0, &["orders is promoted", "follows it"]);
    let output = waiting.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(yard.running().await, [1, 1]);
}

#[tokio::test]
async fn older_versions_come_back_by_name_or_by_being_the_last_good_one() {
    let Some(yard) = Yard::plain("rollback").await else { return };
    for (at, word) in ["one", "two", "three"].into_iter().enumerate() {
        let file = yard.job("a.hcl", &well(word), 0);
        yard.deploy(&file, &[]).await.expect(0, &[&format!("orders runs as version {at}")]);
    }
    yard.run(&["rollback", "orders", "--yes"])
        .await
        .expect(0, &["orders runs as version 1 did, which is now version 3"]);
    yard.run(&["rollback", "orders", "--yes", "--to-version", "0"]).await.expect(
        0,
        &[
            "two",
            "one",
            "registered version 0 anew",
            "orders runs as version 0 did, which is now version 4",
        ],
    );
    yard.run(&["rollback", "orders", "--yes", "--to-version", "4"])
        .await
        .expect(0, &["version 4 already"]);
    yard.run(&["rollback", "orders", "--yes", "--to-version", "9"])
        .await
        .expect(1, &["keeps no version 9 of orders, only 4, 3, 2, 1, 0"]);
    yard.run(&["rollback", "orders"]).await.expect(1, &["no terminal to ask on"]);

    // What was version 2 is in force under another number: nothing has to be registered for it.
    yard.deploy(&yard.job("a.hcl", &well("three"), 0), &[]).await.expect(0, &["version 5"]);
    yard.run(&["rollback", "orders", "--yes", "--to-version", "2"])
        .await
        .expect(0, &["orders runs as version 2 did, which is now version 5"]);

    yard.run(&["stop", "orders", "--yes"]).await.expect(0, &[]);
    yard.run(&["rollback", "orders", "--yes", "--to-version", "6"])
        .await
        .expect(1, &["version 6 of orders is a stop"]);
    yard.run(&["rollback", "orders", "--yes"])
        .await
        .expect(0, &["orders runs as version 5 did, which is now version 7"]);
}

#[tokio::test]
async fn a_stop_waits_until_nothing_runs_and_a_purge_forgets() {
    let Some(yard) = Yard::plain("stop").await else { return };
    let slow = "trap 'sleep 1; exit 0' TERM; while true; do sleep 0.1; done";
    let file = yard.job("a.hcl", slow, 0);
    yard.deploy(&file, &[]).await.expect(0, &[]);
    yard.run(&["stop", "orders", "--yes"])
        .await
        .expect(0, &["answer what they have", "orders is stopped"]);
    assert_eq!(yard.running().await, [0_u64; 0]);
    yard.run(&["status", "orders"]).await.expect(0, &["orders: service, stopped"]);
    yard.deploy(&file, &[]).await.expect(0, &["nothing runs now", "orders runs as version"]);
    yard.run(&["stop", "orders", "--yes", "--purge"]).await.expect(0, &["stopped and forgotten"]);
    yard.run(&["status", "orders"]).await.expect(1, &["Nomad knows no job orders"]);
    yard.run(&["stop", "orders", "--yes"]).await.expect(1, &["Nomad knows no job orders"]);
}

#[tokio::test]
async fn jobs_of_other_kinds_are_submitted_and_followed_as_far_as_it_makes_sense() {
    let Some(yard) = Yard::plain("kinds").await else { return };
    let batch = of_kind(&job("echo done", 0, 1), "batch");
    let file = |name: &str, text: &str| yard.write(name, text).display().to_string();
    yard.deploy(&file("batch.hcl", &batch), &[]).await.expect(0, &["orders runs as version 0"]);
    yard.run(&["stop", "orders", "--yes", "--purge"]).await.expect(0, &[]);

    let parameterized = batch.replace(
        "  group \"web\"",
        "  parameterized {\n    meta_required = [\"day\"]\n  }\n\n  group \"web\"",
    );
    yard.deploy(&file("param.hcl", &parameterized), &[]).await.expect(0, &["version 0"]);
    let other = parameterized.replace("echo done", "echo well done");
    yard.deploy(&file("other.hcl", &other), &[]).await.expect(0, &["version 1"]);
    yard.run(&["rollback", "orders", "--yes", "--to-version", "0", "--timeout", "20s"])
        .await
        .expect(0, &["orders runs as version 0 did, which is now version 2"]);
    yard.run(&["stop", "orders", "--yes", "--purge"]).await.expect(0, &[]);

    let broken = batch.replace("/bin/sh", "/nonexistent/sh");
    yard.deploy(&file("broken.hcl", &broken), &[]).await.expect(1, &["failed: task app"]);
    yard.run(&["stop", "orders", "--yes", "--purge"]).await.expect(0, &[]);

    let system = of_kind(&job(&well("one"), 0, 1), "system");
    yard.deploy(&file("system.hcl", &system), &[]).await.expect(0, &["orders runs as version 0"]);
}
