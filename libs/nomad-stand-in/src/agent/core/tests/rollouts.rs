//! Deployments from a registration to their end.

use super::world::{World, service};
use super::*;

#[test]
fn a_rolling_update_replaces_one_instance_at_a_time_and_waits_for_its_health() {
    let mut world = World::with(&json!({}));
    world.register(service("2", json!({})));
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v0", "g[2] v0"]);
    world.pass(60);
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v0", "g[2] v0"], "nothing happens without health");
    world.heal();
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v1", "g[2] v0"]);
    while world.heal() {}
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v1", "g[2] v1"]);
    assert_eq!(world.deployment(), "v1 successful: Deployment completed successfully");
    assert!(world.state.version("web", 1).unwrap().stable);
}

#[test]
fn the_first_version_makes_no_canaries_and_later_ones_wait_for_a_promotion() {
    let canary = json!({"Canary": 1});
    let mut world = World::with(&canary);
    world.register(service("2", canary));
    assert_eq!(world.shown(), ["g[0] v0", "g[0] v1 canary", "g[1] v0", "g[2] v0"]);
    assert_eq!(
        world.deployment(),
        "v1 running: Deployment is running but requires manual promotion"
    );
    let id = world.deployment_id();
    let refused =
        world.act(|state, now, chance| promote(state, &id, None, now, chance)).unwrap_err();
    assert_eq!(refused.to_string(), "Task group \"g\" has 0/1 healthy allocations");
    world.heal();
    world.pass(3600);
    assert_eq!(world.shown().len(), 4, "no deadline ends the wait for a promotion");
    world.act(|state, now, chance| promote(state, &id, None, now, chance)).unwrap();
    world.obey();
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v1", "g[2] v0"], "then the rest rolls");
    while world.heal() {}
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v1", "g[2] v1"]);
    assert_eq!(world.deployment(), "v1 successful: Deployment completed successfully");
}

#[test]
fn as_many_canaries_as_instances_are_promoted_by_themselves_and_all_old_ones_stop_at_once() {
    let blue_green = json!({"Canary": 3, "AutoPromote": true});
    let mut world = World::with(&blue_green);
    world.register(service("2", blue_green));
    assert_eq!(world.shown().len(), 6);
    assert_eq!(world.deployment(), "v1 running: Deployment is running pending automatic promotion");
    world.heal();
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v1", "g[2] v1"]);
    assert_eq!(world.deployment(), "v1 successful: Deployment completed successfully");
}

#[test]
fn a_version_that_does_not_get_healthy_fails_by_its_deadline_and_the_stable_one_comes_back() {
    let update = json!({"AutoRevert": true});
    let mut world = World::with(&update);
    world.register(service("2", update));
    world.pass(601);
    assert_eq!(world.deployment(), "v2 running: Deployment is running");
    let failed = world.state.deployments.values().find(|one| one.job_version == 1).unwrap();
    assert_eq!(
        failed.status_description,
        "Failed due to progress deadline - rolling back to job version 0"
    );
    while world.heal() {}
    assert_eq!(world.shown(), ["g[0] v2", "g[1] v2", "g[2] v2"]);
    assert_eq!(
        world.state.jobs.get("web").unwrap().body,
        service("1", json!({"AutoRevert": true})).body
    );
}

#[test]
fn a_bad_canary_is_taken_away_and_the_others_are_not_touched() {
    let update = json!({"AutoRevert": true, "Canary": 1});
    let mut world = World::with(&update);
    let before: Vec<String> = world.running().map(|one| one.id.clone()).collect();
    world.register(service("2", update));
    let canary = world.some(1);
    world.report(&canary, ClientStatus::Failed);
    world.pass(601);
    while world.heal() {}
    let after: Vec<String> = world.running().map(|one| one.id.clone()).collect();
    assert_eq!(after, before);
    assert_eq!(world.deployment(), "v2 successful: Deployment completed successfully");
}

#[test]
fn without_a_stable_version_or_a_deadline_a_failure_is_only_a_failure() {
    let mut world = World::new(1);
    world.register(service("1", json!({"AutoRevert": true, "ProgressDeadline": 0})));
    let id = world.some(0);
    world.act(|state, now, chance| report_health(state, &id, false, now, chance));
    assert_eq!(
        world.deployment(),
        "v0 failed: Failed due to unhealthy allocations - no stable job version to auto revert to"
    );
}

#[test]
fn a_deployment_that_is_failed_by_hand_goes_no_further() {
    let mut world = World::with(&json!({}));
    world.register(service("2", json!({})));
    let id = world.deployment_id();
    let (_, reverted) = world.act(|state, now, chance| fail(state, &id, now, chance)).unwrap();
    world.heal();
    world.pass(60);
    assert_eq!(reverted, None);
    assert_eq!(world.deployment(), "v1 failed: Deployment marked as failed");
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v0", "g[2] v0"]);
    let again = world.act(|state, now, chance| fail(state, &id, now, chance)).unwrap_err();
    assert_eq!(again.to_string(), "can't fail terminal deployment");
}

#[test]
fn a_paused_deployment_waits_until_it_is_resumed() {
    let mut world = World::with(&json!({}));
    world.register(service("2", json!({})));
    let id = world.deployment_id();
    world.act(|state, now, chance| pause(state, &id, true, now, chance)).unwrap();
    world.heal();
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v0", "g[2] v0"]);
    world.act(|state, now, chance| pause(state, &id, false, now, chance)).unwrap();
    world.obey();
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v1", "g[2] v0"]);
}

#[test]
fn a_newer_version_ends_the_deployment_of_the_one_before_and_its_canaries() {
    let update = json!({"Canary": 1});
    let mut world = World::with(&update);
    world.register(service("2", update.clone()));
    world.register(service("3", update));
    assert_eq!(world.shown(), ["g[0] v0", "g[0] v2 canary", "g[1] v0", "g[2] v0"]);
    let old = world.state.deployments.values().find(|one| one.job_version == 1).unwrap();
    assert_eq!(old.status_description, "Cancelled due to newer version of job");
}

#[test]
fn what_changes_in_place_keeps_its_allocations() {
    let mut world = World::with(&json!({}));
    let before: Vec<String> = world.running().map(|one| one.id.clone()).collect();
    world.register(service("1", json!({"MaxParallel": 2})));
    while world.heal() {}
    let after: Vec<String> = world.running().map(|one| one.id.clone()).collect();
    assert_eq!(after, before);
    assert_eq!(world.shown(), ["g[0] v1", "g[1] v1", "g[2] v1"]);
    assert_eq!(world.deployment(), "v1 successful: Deployment completed successfully");
}
