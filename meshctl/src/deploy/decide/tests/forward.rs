//! From the submission to a version that every proxy knows.

use super::*;

#[test]
fn a_submission_is_made_once_and_found_again_after_a_kill() {
    let submitting = || State::Submitting { index: 40 };
    hold(vec![
        (
            "the version before is in force: submit",
            world(submitting(), |own| {
                own.job(4).view.is_in_force.replace(false);
            }),
            "submit at 40",
        ),
        (
            "the file is what is in force already and nothing was submitted: submit all the same, check-and-set decides",
            world(submitting(), |own| {
                own.job(4).view.is_in_force.replace(true);
            }),
            "submit at 40",
        ),
        (
            "killed after the submission: it is in force, and is followed",
            world(submitting(), |own| {
                own.view.is_in_force.replace(true);
            }),
            "follow version 5",
        ),
        (
            "somebody else was faster",
            world(submitting(), |own| {
                own.view.is_in_force.replace(false);
            }),
            "end 1: orders: the job was changed meanwhile: version 5 is in force, which is neither the one before nor this file; nothing more is done",
        ),
        (
            "a job that does not exist yet",
            world(State::Submitting { index: 0 }, |own| own.view.job = None),
            "submit at 0",
        ),
        (
            "it was purged after the plan",
            world(submitting(), |own| own.view.job = None),
            "end 1: orders: the job was purged meanwhile",
        ),
    ]);
}

#[test]
fn a_canary_is_awaited_then_known_then_promoted_then_the_rest_follows() {
    hold(vec![
        (
            "the evaluation is not done",
            world(State::Following { version: 5, evaluation: "e".to_owned() }, |own| {
                own.view.evaluation = Some(evaluation("pending"));
            }),
            "wait for nomad: Nomad looks for places",
        ),
        (
            "the evaluation gave way to a later one of the same job: what that one places is followed",
            world(State::Following { version: 5, evaluation: "e".to_owned() }, |own| {
                own.view.evaluation = Some(evaluation("canceled"));
            }),
            "wait for nomad: 0 of 1 new instances are healthy",
        ),
        (
            "the canary starts",
            world(following(), |_| {}),
            "wait for nomad: 0 of 1 new instances are healthy",
        ),
        (
            "the canary is healthy: do proxies know it?",
            world(following(), |own| {
                own.canary("healthy");
            }),
            "ask: canary canary-0, stable , absent ",
        ),
        (
            "a proxy does not know it yet",
            world(following(), |own| {
                own.canary("healthy")
                    .mesh(MeshAnswer::Waiting(vec!["proxy a lacks it".to_owned()]));
            }),
            "wait for mesh: proxy a lacks it",
        ),
        (
            "no control plane answers",
            world(following(), |own| {
                own.canary("healthy").mesh(MeshAnswer::Silent("nobody".to_owned()));
            }),
            "wait for mesh: nobody",
        ),
        (
            "all proxies know it: promotion is written down first",
            world(following(), |own| {
                own.canary("healthy").known();
            }),
            "begin to promote version 5",
        ),
        (
            "then it is carried out",
            world(State::Promoting { version: 5 }, |own| {
                own.canary("healthy").known();
            }),
            "promote deployment-5",
        ),
        (
            "killed after the promotion: it is not repeated, the rest rolls out",
            world(State::Promoting { version: 5 }, |own| {
                own.canary("healthy").group(|group| group.promoted = true);
            }),
            "wait for nomad: 1 of 3 instances are healthy",
        ),
        (
            "Nomad is done: do proxies know the new, and none of the old?",
            world(State::Promoting { version: 5 }, |own| {
                own.arrived();
            }),
            "ask: canary , stable v5-0 v5-1 v5-2, absent old-0",
        ),
        (
            "all know: done",
            world(State::Promoting { version: 5 }, |own| {
                own.arrived().known();
            }),
            "end 0: orders runs as version 5",
        ),
    ]);
}

#[test]
fn without_canaries_or_a_mesh_it_goes_straight_through() {
    hold(vec![
        (
            "no canaries: nothing is to promote",
            world(following(), |own| {
                own.allocations(5, 3).deployment(5, "running", 0);
                own.group(|group| group.healthy_allocs = 2);
            }),
            "wait for nomad: 2 of 3 instances are healthy",
        ),
        (
            "a job without mesh services asks nobody",
            world(following(), |own| {
                own.arrived().set("TaskGroups", json!([{"Name": "web", "Count": 3}]));
            }),
            "end 0: orders runs as version 5",
        ),
        (
            "--gate none asks nobody",
            world(following(), |own| {
                own.arrived().record.gates.convergence = false;
            }),
            "end 0: orders runs as version 5",
        ),
        (
            "no deployment, but everything runs in this version",
            world(following(), |own| {
                own.allocations(5, 3).view.deployments.clear();
                own.known();
            }),
            "end 0: orders runs as version 5",
        ),
        (
            "no deployment, and an old instance is still wanted",
            world(following(), |own| own.view.deployments.clear()),
            "wait for nomad: instances start",
        ),
        (
            "a system job runs wherever it is to run",
            world(following(), |own| {
                own.allocations(5, 2).set("Type", json!("system")).view.deployments.clear();
                own.known();
            }),
            "end 0: orders runs as version 5",
        ),
    ]);
}

#[test]
fn gates_come_after_the_mesh_in_their_order() {
    let ready = |own: &mut World| {
        own.record.gates.sli = Some(rules());
        own.record.gates.manual = true;
        own.canary("healthy").known();
    };
    let with = |sli: Sli| {
        move |own: &mut World| {
            ready(own);
            own.view.sli = sli;
        }
    };
    let figures = || "figures".to_owned();
    let awaiting = || State::AwaitingPromotion { version: 5, why: "--gate manual".to_owned() };
    hold(vec![
        ("nobody looked yet", world(following(), ready), "measure version 5"),
        (
            "requests are counted",
            world(following(), with(Sli::Measuring("3 of 100 requests".to_owned()))),
            "wait for sidecars: 3 of 100 requests",
        ),
        (
            "worse than before",
            world(following(), with(Sli::Breached(figures()))),
            "begin to go back from 5 to 4: figures",
        ),
        (
            "nobody can say",
            world(following(), with(Sli::Undecided(figures()))),
            "await a person: figures",
        ),
        (
            "as good as before: then a person",
            world(following(), with(Sli::Passed(figures()))),
            "await a person: --gate manual",
        ),
        (
            "a person is asked: the command ends",
            world(awaiting(), |own| {
                own.canary("healthy").known();
            }),
            "end 4: orders version 5 waits for you (--gate manual): meshctl promote orders, or meshctl rollback orders",
        ),
        (
            "or waits, for as long as it takes",
            world(awaiting(), |own| {
                own.canary("healthy").known().late().patience.awaits_person = true;
            }),
            "wait for nomad: a person promotes or rolls back",
        ),
        (
            "promoted by hand meanwhile: nobody is waited for any more",
            world(awaiting(), |own| {
                own.canary("healthy").group(|group| group.promoted = true);
            }),
            "begin to promote version 5",
        ),
    ]);
}

#[test]
fn what_others_did_is_said_and_left_alone() {
    hold(vec![
        (
            "purged",
            world(following(), |own| own.view.job = None),
            "end 1: orders: the job was purged by somebody else",
        ),
        (
            "stopped",
            world(following(), |own| {
                own.set("Stop", json!(true));
            }),
            "end 1: orders: the job was stopped by somebody else",
        ),
        (
            "replaced",
            world(following(), |own| {
                own.job(6).deployment(5, "cancelled", 1);
            }),
            "end 1: orders: version 5 was replaced by version 6, which somebody else registered",
        ),
        (
            "paused",
            world(following(), |own| {
                own.deployment(5, "paused", 1);
            }),
            "wait for nomad: somebody paused the deployment",
        ),
    ]);
}
