//! Batches: registered, followed until their tasks run, and never run a second time by a way back.

use super::*;

/// The world of version 5 as a batch without instances.
fn batch(state: State, change: impl FnOnce(&mut World)) -> World {
    world(state, |own| {
        own.set("Type", json!("batch")).allocations(5, 0).view.deployments.clear();
        change(own);
    })
}

#[test]
fn a_batch_is_followed_until_its_tasks_run() {
    hold(vec![
        (
            "one that is dispatched later is only registered",
            batch(following(), |own| {
                own.set("ParameterizedJob", json!({}));
            }),
            "end 0: orders runs as version 5",
        ),
        (
            "so is one that a clock starts",
            batch(following(), |own| {
                own.set("Periodic", json!({"Spec": "@daily"}));
            }),
            "end 0: orders runs as version 5",
        ),
        (
            "nothing is placed yet",
            batch(following(), |_| {}),
            "wait for nomad: Nomad looks for places",
        ),
        (
            "its tasks run",
            batch(following(), |own| {
                own.allocations(5, 1);
            }),
            "end 0: orders runs as version 5",
        ),
        (
            "they have ended well already",
            batch(following(), |own| {
                own.allocations(5, 1).view.allocations[0].client_status = "complete".to_owned();
            }),
            "end 0: orders runs as version 5",
        ),
        (
            "one of them was lost with its host and has been replaced",
            batch(following(), |own| {
                own.allocations(5, 2).view.allocations[0].client_status = "lost".to_owned();
                own.view.allocations[0].next = "v5-1".to_owned();
            }),
            "end 0: orders runs as version 5",
        ),
    ]);
}

#[test]
fn a_batch_that_fails_or_finds_no_place_does_not_run_its_older_version_again() {
    let placing = || State::Following { version: 5, evaluation: "e".to_owned() };
    hold(vec![
        (
            "a task fails at once",
            batch(following(), |own| {
                own.canary("failed");
            }),
            "end 1: orders: instance canary-0 failed: task app: Exit Code: 3",
        ),
        (
            "its evaluation fails",
            batch(placing(), |own| own.view.evaluation = Some(evaluation("failed"))),
            "end 1: orders: its evaluation failed: no scheduler",
        ),
        (
            "it finds no place in time: it still waits for one",
            batch(following(), |own| {
                own.late();
            }),
            "end 5: orders is half-way, following: not done after 900 s: Nomad looks for places; it runs as soon as it can: the same command waits again, meshctl stop orders takes it away",
        ),
    ]);
}

#[test]
fn a_rollback_of_a_batch_ends_once_the_older_version_runs() {
    let back = |change: fn(&mut World)| {
        let state = State::Reverting { from: 5, to: Some(4), why: "asked for".to_owned() };
        batch(state, |own| {
            own.record.command = Asked::Rollback;
            own.record.gates.convergence = false;
            own.job(6).set("Type", json!("batch")).view.is_in_force = Some(true);
            change(own);
        })
    };
    let done = "end 0: orders runs as version 4 did, which is now version 6";
    hold(vec![
        ("nothing is placed yet", back(|_| {}), "wait for nomad: Nomad looks for places"),
        (
            "its task has ended already",
            back(|own| {
                own.allocations(6, 1).view.allocations[0].client_status = "complete".to_owned();
            }),
            done,
        ),
        (
            "one that is dispatched later is only registered",
            back(|own| {
                own.set("ParameterizedJob", json!({}));
            }),
            done,
        ),
    ]);
}
