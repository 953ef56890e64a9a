//! Deploying under load: what is replaced, and that nobody notices.
//!
//! Each scene plays on a mesh whose news for proxies is 300 ms late, under an open-loop load of short requests, requests of
//! five seconds and streams, over HTTP/1.1, HTTP/2 and gRPC. It prints one line, `DEPLOY …`. Beside it stands the same
//! without what protects it, under the same load and with the same retries: that has to lose some.
//!
//! | module | is |
//! |---|---|
//! | [`services`] | the scenes of services' jobs: rolling, blue/green, canaries, a version that is broken, a host drained |
//! | [`platform`] | the scenes of the mesh's own parts: gateway, Router, control planes, Consul |
//! | [`stage`] | a mesh with its instances, protected or not |
//! | [`scene`], [`mix`] | what a scene is, and its load |
//! | [`mesh`], [`cluster`], [`version`] | the mesh, its Nomad, and the jobs |
//!
//! A test without its real part prints `SKIP` and fails when `E2E_REQUIRE` names the part.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]
#![expect(clippy::print_stdout, reason = "what was measured is told to whoever runs it")]

mod cluster;
mod mesh;
mod mix;
mod platform;
mod scene;
mod services;
mod stage;
mod version;

use crate::stage::{Guard, Stage};

/// Every scene, one after another on one mesh; of those that `AYATORI_DEPLOY_SCENES` names, where it does.
async fn every_scene(test: &str, guard: Guard) {
    let Some(mut stage) = Stage::set(test, guard).await else { return };
    let asked = scene::asked();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|one| one == name);
    if is_asked("rolling") {
        services::rolling(&stage).await;
    }
    if is_asked("blue-green") {
        services::blue_green(&stage).await;
    }
    if is_asked("promoted") {
        services::canary_promoted(&stage).await;
    }
    if is_asked("aborted") {
        services::canary_aborted(&stage).await;
    }
    if is_asked("drained") {
        services::host_drained(&stage).await;
    }
    if is_asked("gateway") {
        platform::gateway_upgraded(&stage).await;
    }
    if is_asked("router") {
        platform::router_upgraded(&stage).await;
    }
    if is_asked("control") {
        platform::control_restarted(&mut stage).await;
    }
    if is_asked("broken") {
        services::broken(&stage).await;
    }
    stage.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_replaced_under_load_no_request_is_lost() {
    every_scene("whatever_is_replaced_under_load_no_request_is_lost", Guard::On).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_protection_every_replacement_loses_some_of_the_same_load() {
    let test = "without_protection_every_replacement_loses_some_of_the_same_load";
    every_scene(test, Guard::Off).await;
}
