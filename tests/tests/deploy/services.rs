//! The scenes of services' jobs: one of HTTP and one of gRPC at the same time.

use std::time::Duration;

use lab::LabError;
use lab::process;

use crate::stage::{Guard, Stage};

/// How long a canary has its share before somebody decides.
const LOOKED_AT: Duration = Duration::from_secs(3);

/// One instance after another, without more of them than there were.
pub(crate) async fn rolling(stage: &Stage) {
    let next = stage.next();
    stage.play("rolling update", stage.deployed(&next, &["--strategy=rolling"])).await;
}

/// A whole second set, then all at once.
pub(crate) async fn blue_green(stage: &Stage) {
    let next = stage.next();
    stage.play("blue/green", stage.deployed(&next, &["--strategy=blue-green"])).await;
}

/// One new instance, which takes its share until a person promotes it.
pub(crate) async fn canary_promoted(stage: &Stage) {
    let next = stage.next();
    let happens = async {
        await_person(stage.deploy(&next, &by_hand(stage)).await);
        tokio::time::sleep(LOOKED_AT).await;
        let promote = next.each_ref().map(|one| decide(stage, "promote", &one.job, &[]));
        futures::future::join_all(promote).await;
        for one in &next {
            stage.nomad.until_settled(&one.job, "successful").await;
        }
    };
    stage.play("canary, promoted", happens).await;
}

/// One new instance, which a person takes back.
pub(crate) async fn canary_aborted(stage: &Stage) {
    let next = stage.next();
    let happens = async {
        await_person(stage.deploy(&next, &by_hand(stage)).await);
        tokio::time::sleep(LOOKED_AT).await;
        let back = next.each_ref().map(|one| decide(stage, "rollback", &one.job, &["--yes"]));
        futures::future::join_all(back).await;
        for one in &next {
            stage.nomad.until_still(&one.job).await;
        }
    };
    stage.play("canary, aborted", happens).await;
}

/// A version whose application answers nobody: nothing but its check keeps it from taking requests.
pub(crate) async fn broken(stage: &Stage) {
    let broken = stage.next().map(|one| {
        let one = one.text("listen", "0");
        match stage.guard {
            Guard::On => one.text("healthy_deadline", "8s"),
            Guard::Off => one.text("check", "tcp"),
        }
    });
    let happens = async {
        let outcomes = stage.deploy(&broken, &["--strategy=rolling"]).await;
        for (one, outcome) in broken.iter().zip(outcomes) {
            let said = outcome.map_err(|error| lab::chain(&error));
            assert_eq!(said.is_err(), stage.guard == Guard::On, "{said:?}");
            stage.nomad.until_still(&one.job).await;
        }
    };
    stage.play("a version that fails its checks, reverted", happens).await;
}

/// Everything on one of two hosts moves to the other.
pub(crate) async fn host_drained(stage: &Stage) {
    if !stage.nomad.has_two_hosts() {
        println!("SKIP a host drained: nomad: this agent is its only host");
        return;
    }
    let host = stage.nomad.host_of("orders").await;
    let happens = async {
        stage.nomad.drain(&host).await;
        stage.nomad.until_drained(&host).await;
        stage.nomad.until_still("orders").await;
    };
    stage.play("a host drained", happens).await;
    stage.nomad.end_drain(&host).await;
}

fn by_hand(stage: &Stage) -> Vec<&'static str> {
    match stage.guard {
        Guard::On => vec!["--strategy=canary", "--gate=convergence,manual"],
        Guard::Off => vec!["--strategy=canary", "--gate=manual"],
    }
}

/// Each deploy has to end with exit code 4: it waits for a person.
#[track_caller]
fn await_person(outcomes: Vec<Result<String, LabError>>) {
    for outcome in outcomes {
        let is_waiting =
            matches!(&outcome, Err(LabError::Ended { status, .. }) if status == "exit status: 4");
        assert!(is_waiting, "no deploy that waits for a person: {outcome:?}");
    }
}

async fn decide(stage: &Stage, command: &str, job: &str, flags: &[&str]) {
    let words = [command, job].into_iter().chain(flags.iter().copied());
    let gate = match stage.guard {
        Guard::On => "--gate=convergence",
        Guard::Off => "--gate=none",
    };
    let words = words.chain([gate]).map(str::to_owned);
    process::run(&stage.nomad.meshctl(&stage.mesh, words)).await.unwrap();
}
