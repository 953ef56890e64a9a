//! Failures and ways back.

use super::*;

fn reverting() -> State {
    State::Reverting { from: 5, to: Some(4), why: "it broke".to_owned() }
}

#[test]
fn each_failure_begins_the_way_back() {
    hold(vec![
        (
            "the evaluation fails",
            world(State::Following { version: 5, evaluation: "e".to_owned() }, |own| {
                own.view.evaluation = Some(evaluation("failed"));
            }),
            "begin to go back from 5 to 4: its evaluation failed: no scheduler",
        ),
        (
            "an instance is given up: the task and its last word",
            world(following(), |own| {
                own.canary("failed");
            }),
            "begin to go back from 5 to 4: instance canary-0 failed: task app: Exit Code: 3",
        ),
        (
            "an instance is not healthy in time",
            world(following(), |own| {
                own.canary("unhealthy");
            }),
            "begin to go back from 5 to 4: instance canary-0 is not healthy",
        ),
        (
            "one failure is tolerated",
            world(following(), |own| {
                own.canary("failed").record.gates.tolerated = 1;
            }),
            "wait for nomad: 0 of 1 new instances are healthy",
        ),
        (
            "Nomad failed the deployment, and went back by itself",
            world(following(), |own| {
                own.job(6).deployment(5, "failed", 1);
                own.deployment(6, "running", 0);
            }),
            "begin to go back from 5 to 4: its deployment failed: it is failed",
        ),
        (
            "a canary breaks while a person is waited for",
            world(State::AwaitingPromotion { version: 5, why: String::new() }, |own| {
                own.canary("failed");
            }),
            "begin to go back from 5 to 4: instance canary-0 failed: task app: Exit Code: 3",
        ),
        (
            "it takes too long in Nomad",
            world(following(), |own| {
                own.late();
            }),
            "begin to go back from 5 to 4: not done after 900 s: 0 of 1 new instances are healthy",
        ),
        (
            "no scheduler looks at it",
            world(State::Following { version: 5, evaluation: "e".to_owned() }, |own| {
                own.view.evaluation = Some(evaluation("pending"));
                own.late();
            }),
            "begin to go back from 5 to 4: not done after 900 s: Nomad looks for places",
        ),
        (
            "it takes too long in the mesh",
            world(following(), |own| {
                own.canary("healthy")
                    .mesh(MeshAnswer::Waiting(vec!["proxy a lacks it".to_owned()]));
                own.late();
            }),
            "begin to go back from 5 to 4: not done after 900 s: proxy a lacks it",
        ),
        (
            "nothing ran before",
            world(following(), |own| {
                own.canary("failed").record.before = None;
            }),
            "begin to go back from 5 to nothing: instance canary-0 failed: task app: Exit Code: 3",
        ),
        (
            "everything runs, but proxies do not get to know: named, not reverted",
            world(following(), |own| {
                own.arrived().mesh(MeshAnswer::Waiting(vec!["proxy a lacks it".to_owned()])).late();
            }),
            "end 5: orders is half-way, unconverged: version 5 runs and is healthy, but proxy a lacks it; look at those proxies (meshctl get proxies); the same command waits again",
        ),
    ]);
}

#[test]
fn the_way_back_ends_where_it_began_and_is_repeated_by_nobody() {
    hold(vec![
        (
            "the deployment runs: it is failed first",
            world(reverting(), |_| {}),
            "fail deployment-5",
        ),
        (
            "it is failed, and Nomad did not go back by itself",
            world(reverting(), |own| {
                own.deployment(5, "failed", 1);
            }),
            "revert from 5 to 4",
        ),
        (
            "Nomad went back: its new version is followed",
            world(reverting(), |own| {
                own.job(6).deployment(6, "running", 0);
            }),
            "wait for nomad: 0 of 3 instances of the old version are healthy",
        ),
        (
            "the old version's own canary has to be promoted: not yet",
            world(reverting(), |own| {
                own.job(6).deployment(6, "running", 1);
                own.group(|group| group.healthy_allocs = 0);
            }),
            "wait for nomad: 0 of 1 instances of the old version are healthy",
        ),
        (
            "and is promoted when it is known",
            world(reverting(), |own| {
                own.job(6).allocations(6, 1).deployment(6, "running", 1);
                own.group(|group| group.healthy_allocs = 1).known();
            }),
            "promote deployment-6",
        ),
        (
            "nothing had to be replaced, but instances are not this version's yet",
            world(reverting(), |own| {
                own.job(6);
            }),
            "wait for nomad: version 4 comes back",
        ),
        (
            "all are this version's: do proxies know?",
            world(reverting(), |own| {
                own.job(6).allocations(6, 3).deployment(6, "successful", 0);
            }),
            "ask: canary , stable v6-0 v6-1 v6-2, absent ",
        ),
        (
            "they do: reverted",
            world(reverting(), |own| {
                own.job(6).allocations(6, 3).deployment(6, "successful", 0).known();
            }),
            "end 1: orders was not deployed: it broke; what ran before runs, as version 6",
        ),
        (
            "the revert fails: half-way",
            world(reverting(), |own| {
                own.job(6).deployment(6, "failed", 0);
            }),
            "end 5: orders is half-way, reverting: it broke; and going back to version 4 does not end: it is failed; look at it with meshctl status orders; meshctl rollback orders waits again, and --to-version goes further back",
        ),
        (
            "the revert takes too long: half-way",
            world(reverting(), |own| {
                own.job(6).deployment(6, "running", 0).late();
            }),
            "end 5: orders is half-way, reverting: it broke; and going back to version 4 does not end: 0 of 3 instances of the old version are healthy; look at it with meshctl status orders; meshctl rollback orders waits again, and --to-version goes further back",
        ),
    ]);
}

#[test]
fn what_is_in_force_is_compared_with_what_is_gone_back_to() {
    let brought_back = |own: &mut World, version| {
        own.job(version).allocations(version, 3).deployment(version, "successful", 0);
    };
    hold(vec![
        (
            "somebody else registered another version: it is not taken for the old one",
            world(reverting(), |own| {
                brought_back(own, 6);
                own.view.is_in_force = Some(false);
            }),
            "end 1: orders: it broke; then somebody else registered version 6, which is not what version 4 was: nothing more is done",
        ),
        (
            "Nomad chose an older one by itself: that is followed, too",
            world(reverting(), |own| {
                own.deployment(5, "failed", 1);
                own.view.deployments[0].status_description =
                    "Failed due to unhealthy allocations - rolling back to job version 3"
                        .to_owned();
                own.job(6).deployment(6, "running", 0);
                own.view.is_in_force = Some(false);
            }),
            "wait for nomad: 0 of 3 instances of the old version are healthy",
        ),
        (
            "a rollback to what is in force already under another number: nothing is registered, proxies are asked",
            world(reverting(), |own| {
                own.record.command = Asked::Rollback;
                brought_back(own, 5);
                own.view.is_in_force = Some(true);
            }),
            "ask: canary , stable v5-0 v5-1 v5-2, absent ",
        ),
        (
            "and they know: done",
            world(reverting(), |own| {
                own.record.command = Asked::Rollback;
                brought_back(own, 5);
                own.view.is_in_force = Some(true);
                own.known();
            }),
            "end 0: orders runs as version 4 did, which is now version 5",
        ),
        (
            "what is in force is what failed, and is compared: revert",
            world(reverting(), |own| {
                own.deployment(5, "failed", 1).view.is_in_force = Some(false);
            }),
            "revert from 5 to 4",
        ),
    ]);
}

#[test]
fn a_rollback_replaces_what_is_under_way_and_says_so() {
    let asked = |own: &mut World| own.record.command = Asked::Rollback;
    hold(vec![
        ("a deployment under way is replaced", world(reverting(), asked), "revert from 5 to 4"),
        (
            "a job that was stopped before comes back",
            world(reverting(), |own| {
                asked(own);
                own.set("Stop", json!(true));
            }),
            "revert from 5 to 4",
        ),
        (
            "one that somebody stops meanwhile does not",
            world(reverting(), |own| {
                asked(own);
                own.job(6).set("Stop", json!(true));
            }),
            "end 1: orders: it broke; then the job was stopped by somebody else",
        ),
        (
            "the old version runs",
            world(reverting(), |own| {
                asked(own);
                own.job(6).allocations(6, 3).deployment(6, "successful", 0).known();
            }),
            "end 0: orders runs as version 4 did, which is now version 6",
        ),
    ]);
}
