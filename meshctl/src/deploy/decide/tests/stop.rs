//! Jobs of which nothing is to run: stops, and ways back to before the first version.

use super::*;

#[test]
fn where_nothing_ran_before_nothing_runs_after() {
    let back = || State::Reverting { from: 0, to: None, why: "it broke".to_owned() };
    let stopped = |own: &mut World| {
        own.set("Stop", json!(true)).view.allocations.clear();
    };
    hold(vec![
        ("it still runs", world(back(), |_| {}), "stop"),
        (
            "instances drain",
            world(back(), |own| {
                own.set("Stop", json!(true));
            }),
            "wait for nomad: 4 instances answer what they have and end",
        ),
        (
            "all are over and unknown",
            world(back(), |own| {
                stopped(own);
                own.known();
            }),
            "end 1: orders was not deployed: it broke; nothing ran before, so the job was stopped",
        ),
        (
            "a person asked to go back to nothing: done",
            world(back(), |own| {
                stopped(own);
                own.known().record.command = Asked::Rollback;
            }),
            "end 0: orders is stopped",
        ),
    ]);
}

#[test]
fn a_stop_waits_for_the_last_instance_and_the_last_proxy_before_it_purges() {
    let stopping = |purge| State::Stopping { purge };
    let over = |own: &mut World| {
        own.set("Stop", json!(true));
        own.view.allocations.iter_mut().for_each(|own| own.client_status = "complete".to_owned());
    };
    hold(vec![
        ("it runs", world(stopping(true), |_| {}), "stop"),
        (
            "instances drain",
            world(stopping(true), |own| {
                own.set("Stop", json!(true));
            }),
            "wait for nomad: 4 instances answer what they have and end",
        ),
        (
            "all are over: do proxies know?",
            world(stopping(true), over),
            "ask: canary , stable , absent canary-0 v4-0 v4-1 v4-2",
        ),
        (
            "nobody knows of it any more: purge",
            world(stopping(true), |own| {
                over(own);
                own.known();
            }),
            "purge",
        ),
        (
            "or leave it stopped",
            world(stopping(false), |own| {
                over(own);
                own.known();
            }),
            "end 0: orders is stopped",
        ),
        (
            "purged",
            world(stopping(true), |own| own.view.job = None),
            "end 0: orders is stopped and forgotten",
        ),
        (
            "a proxy keeps it",
            world(stopping(false), |own| {
                over(own);
                own.mesh(MeshAnswer::Waiting(vec!["proxy a has it".to_owned()])).late();
            }),
            "end 5: orders is half-way, stopping: proxy a has it; the same command waits again",
        ),
    ]);
}
