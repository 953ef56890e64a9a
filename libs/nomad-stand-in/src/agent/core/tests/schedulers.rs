//! Placing, retrying, draining; batch and system jobs.

use std::collections::BTreeSet;

use super::world::{World, record, service};
use super::*;

fn batch(reschedule: Value) -> JobRecord {
    let task = json!({"Name": "main", "Driver": "raw_exec", "Config": {"command": "main"}});
    let group = json!({"Name": "g", "Tasks": [task], "ReschedulePolicy": reschedule});
    record(json!({"ID": "web", "Type": "batch", "TaskGroups": [group]}))
}

fn system(version: &str) -> JobRecord {
    let task = json!({"Name": "main", "Driver": "raw_exec", "Env": {"VERSION": version}});
    let update = json!({"MaxParallel": 1, "Stagger": 30 * SECOND});
    record(
        json!({"ID": "web", "Type": "system", "Update": update, "TaskGroups": [{"Name": "g", "Tasks": [task]}]}),
    )
}

fn status(world: &World) -> &str {
    &world.state.jobs.get("web").unwrap().status
}

#[test]
fn what_finds_no_place_is_blocked_with_the_reason_and_placed_when_there_is_room() {
    let mut world = World::new(1);
    let mut big = service("1", json!({}));
    let groups = big.body.get_mut("TaskGroups").unwrap();
    groups[0]["Tasks"][0]["Resources"]["CPU"] = json!(400);
    world.register(JobRecord::read(big.body).unwrap());
    assert_eq!(world.shown(), ["g[0] v0", "g[1] v0"]);
    let blocked =
        world.state.evaluations.values().find(|one| one.status == EvalStatus::Blocked).unwrap();
    let why = blocked.failed.as_ref().unwrap().get("g").unwrap();
    assert_eq!(serde_json::to_value(&why.dimension_exhausted).unwrap(), json!({"cpu": 1}));
    assert_eq!(blocked.queued_allocations.get("g"), Some(&1));
    let node = world.state.nodes.get("node-0").unwrap();
    let larger = crate::agent::state::Node { cpu: 2000, ..(**node).clone() };
    world.act(|state, _, _| state.put_node(larger));
    world.obey();
    assert_eq!(world.shown(), ["g[0] v0", "g[1] v0", "g[2] v0"]);
    assert!(world.state.evaluations.values().all(|one| one.status != EvalStatus::Blocked));
}

#[test]
fn fewer_instances_are_those_with_the_lowest_numbers_and_a_stopped_job_has_none() {
    let mut world = World::with(&json!({}));
    let mut less = service("1", json!({}));
    less.body.get_mut("TaskGroups").unwrap()[0]["Count"] = json!(1);
    let less = JobRecord::read(less.body).unwrap();
    world.register(less.clone());
    assert_eq!(world.shown(), ["g[0] v1"]);
    world.register(JobRecord { stop: true, ..less });
    assert_eq!((world.shown().len(), status(&world)), (0, "dead"));
    assert_eq!(world.deployment(), "v1 cancelled: Cancelled because job is stopped");
}

#[test]
fn no_port_of_one_node_is_given_away_on_another_since_both_are_one_host() {
    let mut world = World::new(3);
    world.register(service("1", json!({})));
    world.register(service("2", json!({})));
    let mut ports = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for one in world.state.allocations.values().filter(|one| !one.client_status.is_terminal()) {
        for port in &one.allocated_resources.shared.ports {
            assert!(ports.insert(port.value), "{} twice", port.value);
            addresses.insert(port.host_ip.as_str());
        }
    }
    assert_eq!((ports.len(), addresses.len()), (3, 3));
}

#[test]
fn instances_spread_over_nodes_and_leave_a_draining_one_one_by_one() {
    let mut world = World::new(3);
    let mut six = service("1", json!({}));
    six.body.get_mut("TaskGroups").unwrap()[0]["Count"] = json!(6);
    world.register(JobRecord::read(six.body).unwrap());
    while world.heal() {}
    let on =
        |world: &World, node: &str| world.running().filter(|one| one.node_name == node).count();
    assert_eq!([on(&world, "n0"), on(&world, "n1"), on(&world, "n2")], [2, 2, 2]);
    let node = (**world.state.nodes.get("node-0").unwrap()).clone();
    let drain = Drain { deadline: 3600 * SECOND, ignore_system_jobs: false, started_at: world.now };
    world.act(|state, _, _| {
        state.put_node(crate::agent::state::Node { drain: Some(drain), ..node })
    });
    world.obey();
    assert_eq!(on(&world, "n0"), 1, "the second one waits for the first one's replacement");
    while world.heal() {}
    assert_eq!((on(&world, "n0"), world.shown().len()), (0, 6));
    let drained = world.state.nodes.get("node-0").unwrap();
    assert!(drained.drain.is_none() && !drained.is_eligible);
}

#[test]
fn a_batch_that_failed_is_tried_again_as_often_as_it_says_and_a_good_one_is_not() {
    for (policy, tries) in [
        (json!({"Attempts": 0, "Unlimited": false}), 1),
        (
            json!({"Attempts": 2, "Unlimited": false, "Delay": 5 * SECOND, "Interval": 3600 * SECOND}),
            3,
        ),
    ] {
        let mut world = World::new(1);
        world.register(batch(policy));
        for _ in 0..5 {
            let running: Vec<String> = world.running().map(|one| one.id.clone()).collect();
            for id in running {
                world.report(&id, ClientStatus::Failed);
            }
            world.pass(6);
        }
        assert_eq!((world.state.allocations.len(), status(&world)), (tries, "dead"));
    }
    let mut world = World::new(1);
    world.register(batch(json!({})));
    let id = world.some(0);
    world.report(&id, ClientStatus::Complete);
    world.pass(600);
    assert_eq!((world.state.allocations.len(), status(&world)), (1, "dead"));
}

#[test]
fn a_service_s_failed_instance_comes_back_after_the_delay_of_its_policy() {
    let mut world = World::with(&json!({}));
    let id = world.some(0);
    world.report(&id, ClientStatus::Failed);
    world.pass(29);
    assert_eq!(world.shown().len(), 2);
    world.pass(2);
    assert_eq!(world.shown(), ["g[0] v0", "g[1] v0", "g[2] v0"]);
    let new = world.running().find(|one| one.previous_allocation == id).unwrap();
    assert_eq!(new.reschedule_tracker.as_ref().unwrap().events.len(), 1);
    assert_eq!(world.state.allocations.get(&id).unwrap().next_allocation, new.id);
}

#[test]
fn a_system_job_has_an_instance_on_each_node_and_changes_them_in_turn() {
    let mut world = World::new(3);
    world.register(system("1"));
    assert_eq!(world.shown(), ["g[0] v0 n0", "g[0] v0 n1", "g[0] v0 n2"]);
    world.register(system("2"));
    assert_eq!(world.shown(), ["g[0] v0 n1", "g[0] v0 n2", "g[0] v1 n0"]);
    world.pass(31);
    assert_eq!(world.shown(), ["g[0] v0 n2", "g[0] v1 n0", "g[0] v1 n1"]);
    world.pass(31);
    assert_eq!(world.shown(), ["g[0] v1 n0", "g[0] v1 n1", "g[0] v1 n2"]);
}
