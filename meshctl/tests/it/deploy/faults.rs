//! Bad input, and what breaks on the way: the message, the exit code, and that no half-state is left unnamed.

use lab::nomad::NomadOptions;

use super::yard::{Yard, job, of_kind, well};

#[tokio::test]
async fn a_version_that_fails_is_reverted_with_its_last_words() {
    let Some(yard) = Yard::plain("fails").await else { return };
    yard.deploy(&yard.job("a.hcl", &well("one"), 1), &[]).await.expect(0, &[]);
    let broken = yard.job("b.hcl", "echo listening >&2; echo no database >&2; exit 3", 1);
    let said = yard.deploy(&broken, &[]).await;
    said.expect(
        1,
        &[
            "going back to version 0: instance",
            "task app",
            "Exit Code: 3",
            "| no database",
            "orders was not deployed",
            "what ran before runs, as version 2",
        ],
    );
    assert_eq!(yard.running().await, [2, 2]);
    assert!(yard.record().await.is_none());
}

#[tokio::test]
async fn a_first_version_that_fails_leaves_nothing() {
    let Some(yard) = Yard::plain("first_fails").await else { return };
    let broken = yard.job("b.hcl", "exit 3", 0);
    yard.deploy(&broken, &["-o", "json"])
        .await
        .expect(1, &["nothing ran before, so the job was stopped"]);
    assert_eq!(yard.in_force().await["Stop"], true);
    assert!(yard.record().await.is_none());
}

#[tokio::test]
async fn a_revert_to_a_version_with_canaries_of_its_own_is_promoted() {
    let Some(yard) = Yard::plain("trap").await else { return };
    // Version 0 has a canary; version 1 rolls out without one, and its second instance breaks.
    yard.deploy(&yard.job("a.hcl", &well("one"), 1), &[]).await.expect(0, &[]);
    let second = "if [ \"$NOMAD_ALLOC_INDEX\" = 1 ]; then exit 9; fi; exec sleep 1000";
    let said = yard.deploy(&yard.job("b.hcl", second, 0), &[]).await;
    said.expect(1, &["what ran before runs, as version 2"]);
    assert_eq!(yard.running().await, [2, 2]);
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_submitted() {
    let Some(yard) = Yard::plain("bad_input").await else { return };
    let file = |name: &str, text: &str| yard.write(name, text).display().to_string();
    let broken = file("broken.hcl", "job \"orders\" {\n  group \"web\" {\n    count = \n  }\n}\n");
    yard.deploy(&broken, &[]).await.expect(1, &["broken.hcl is no job"]);
    yard.run(&["deploy", &broken, "--yes"]).await.expect(1, &["error[syntax]", "broken.hcl:3"]);
    let linted = yard.job("small.hcl", &well("one"), 0).replace("small.hcl", "linted.hcl");
    std::fs::write(
        &linted,
        job(&well("one"), 0, 2).replace(
            "    task \"app\"",
            "    network {\n      port \"mesh\" {}\n    }\n\n    service {\n      name = \"orders\"\n      port = \"mesh\"\n\n      meta {\n        mesh_system = \"trading\"\n      }\n    }\n\n    task \"app\"",
        ),
    )
    .unwrap();
    yard.run(&["deploy", &linted, "--yes"])
        .await
        .expect(1, &["error[shutdown-delay]", "nothing was submitted; mend it, or pass --no-lint"]);
    let events = yard.run(&["deploy", &linted, "--yes", "-o", "json"]).await.events();
    let message = events[0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("shutdown-delay in line ") && message.contains("check in line "));
    // It is in the mesh, and no control plane answers.
    yard.deploy(&linted, &[]).await.expect(3, &["no control plane answers", "--gate none"]);

    let huge =
        file("huge.hcl", &job(&well("one"), 0, 2).replace("memory = 20", "memory = 90000000"));
    yard.deploy(&huge, &[])
        .await
        .expect(1, &["orders has no place", "memory", "nothing was submitted"]);
    let small = yard.job("small.hcl", &well("one"), 0);
    yard.deploy(&small, &["--var", "typo=1"]).await.expect(2, &["declares no variable \"typo\""]);
    yard.deploy(&small, &["-o", "json", "--var", "typo=1"])
        .await
        .expect(2, &["\"event\":\"result\"", "\"outcome\":\"failed\"", "\"exit_code\":2", "typo"]);
    let shop =
        job(&well("one"), 0, 2).replace("  datacenters", "  namespace   = \"shop\"\n  datacenters");
    let shop = file("shop.hcl", &shop);
    yard.deploy(&shop, &["--namespace", "other"]).await.expect(2, &["leave one out"]);
    for (flag, value) in
        [("--sli-errors", "nan"), ("--sli-errors", "-1"), ("--sli-p99", "inf"), ("--sli-p99", "0")]
    {
        let limit = format!("{flag}={value}");
        yard.deploy(&small, &["--gate", "sli", &limit]).await.expect(2, &["invalid value", flag]);
    }
    let printed = file("printed.json", "{\"Job\": {\"ID\": \"orders\", \"TaskGroups\": []}}");
    yard.deploy(&printed, &["--var", "version=2"])
        .await
        .expect(2, &["printed.json is JSON, which has no variables", "version"]);
    let system = file("system.hcl", &of_kind(&job(&well("one"), 0, 1), "system"));
    yard.deploy(&system, &["--strategy", "canary"]).await.expect(2, &["is for services"]);
    yard.run(&["deploy", "/nonexistent.hcl"]).await.expect(2, &["cannot read /nonexistent.hcl"]);
    yard.run(&["deploy", &small, "--no-lint"]).await.expect(1, &["pass --yes"]);
    yard.run(&["status", "orders"]).await.expect(1, &["Nomad knows no job orders"]);
    assert!(yard.record().await.is_none());
}

#[tokio::test]
async fn a_system_that_is_known_at_run_time_only_is_not_passed_over() {
    let Some(yard) = Yard::plain("run_time").await else { return };
    let service = "    service {\n      name = \"orders\"\n\n      meta {\n        mesh_system = \"${NOMAD_META_system}\"\n      }\n    }\n\n    task \"app\"";
    let text = job(&well("one"), 0, 1).replace("    task \"app\"", service);
    let file = yard.write("a.hcl", &text).display().to_string();
    let refused = ["\"orders\" of group \"web\"", "known before it runs, or pass --gate none"];
    yard.deploy(&file, &[]).await.expect(1, &refused);
    yard.deploy(&file, &["--gate", "none"]).await.expect(0, &["orders runs as version 0"]);
    yard.run(&["stop", "orders", "--yes"]).await.expect(1, &refused);
    yard.run(&["stop", "orders", "--yes", "--gate", "none"]).await.expect(0, &["is stopped"]);
}

#[tokio::test]
async fn what_would_not_do_what_is_asked_is_refused() {
    let Some(yard) = Yard::plain("objections").await else { return };
    let canary =
        |word: &str, count| yard.write("c.hcl", &job(&well(word), 1, count)).display().to_string();
    yard.deploy(&canary("one", 2), &[]).await.expect(0, &[]);
    yard.deploy(&canary("two", 1), &[])
        .await
        .expect(1, &["group web goes from 2 to 1 instances in the same version that has canaries"]);
    let rolling = yard.job("r.hcl", &well("two"), 0);
    yard.deploy(&rolling, &["--gate", "manual"]).await.expect(2, &["pass --strategy canary"]);

    // Somebody uses Nomad alone.
    let file = canary("three", 2);
    let words = ["job", "run", "-detach", &file];
    let output = yard.nomad.run(&words, super::yard::DEADLINE).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    yard.deploy(&rolling, &[])
        .await
        .expect(1, &["is under way and was not begun by meshctl", "meshctl rollback orders"]);
    yard.run(&["promote", "orders"]).await.expect(0, &["orders runs as version 1"]);
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_reverted_with_dockers_words() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        NomadOptions { images: Some(folder.path().to_owned()), ..NomadOptions::default() };
    let Some(yard) = Yard::open("image", options).await else { return };
    if !yard.nomad.is_stand_in() {
        return lab::parts::skip(
            "image",
            "dockerd",
            "a real Nomad without Docker refuses the job before",
        );
    }
    yard.deploy(&yard.job("a.hcl", &well("one"), 1), &[]).await.expect(0, &[]);
    let text = job("x", 1, 2).replace("raw_exec", "docker");
    let (before, rest) = text.split_once("        command =").unwrap();
    let rest = rest.split_once("]\n").unwrap().1;
    let text = format!("{before}        image = \"orders/orders:9\"\n{rest}");
    let file = yard.write("b.hcl", &text).display().to_string();
    yard.deploy(&file, &[]).await.expect(1, &["Failed to pull", "what ran before runs"]);
    assert_eq!(yard.running().await, [2, 2]);
}

#[tokio::test]
async fn a_wrong_token_is_told_what_it_lacks() {
    let options = NomadOptions {
        tokens: vec![
            ("manage".to_owned(), "management".to_owned()),
            ("look".to_owned(), "read".to_owned()),
        ],
        ..NomadOptions::default()
    };
    let Some(mut yard) = Yard::open("token", options).await else { return };
    if !yard.nomad.is_stand_in() {
        return lab::parts::skip("token", "stand-in", "its tokens are given on the command line");
    }
    let file = yard.job("a.hcl", &well("one"), 0);
    yard.token = Some("guess".to_owned());
    yard.deploy(&file, &[]).await.expect(1, &["denied", "a token whose policy allows"]);
    yard.token = Some("look".to_owned());
    yard.deploy(&file, &[]).await.expect(1, &["denied", "a token whose policy allows"]);
    yard.token = Some("manage".to_owned());
    yard.deploy(&file, &[]).await.expect(0, &["orders runs as version 0"]);
}

#[tokio::test]
async fn whoever_is_out_of_reach_is_named_and_nothing_is_begun() {
    let Some(yard) = Yard::plain("reach").await else { return };
    let file = yard.job("a.hcl", &well("one"), 0);
    let words = ["deploy", &file, "--yes", "--no-lint"];
    let nobody = |flag: &str| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_meshctl"));
        command.args(words);
        for (own, url) in [("--nomad", yard.nomad.url()), ("--consul", yard.consul.url())] {
            let url = if own == flag { "http://127.0.0.1:9".to_owned() } else { url };
            command.args([own, &url]);
        }
        command
    };
    for (flag, who) in [("--nomad", "Nomad"), ("--consul", "Consul")] {
        let output = nobody(flag).output().await.unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{err}");
        assert!(err.contains(who) && err.contains(flag), "{err}");
    }
    yard.run(&["status", "orders"]).await.expect(1, &["Nomad knows no job orders"]);
}
