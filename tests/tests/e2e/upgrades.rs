//! Parts of the platform itself are replaced, under load.

use std::time::Duration;

use lab::balancer::{Balancer, Behind};
use lab::load::{Call, Load, LoadReport, LoadSpec};
use lab::ports::reserve;
use lab::process::{self, Process, Program};

use crate::SOON;
use crate::scene::{LOCAL, RATE, Scene};

/// Fifty requests are always under way on two Routers, so that some have to be lost where one is cut; a POST is never sent
/// twice.
const SLOW: &str = "/trading/slow?ms=1000";

/// A Router under `run-envoy`, awaited by `wait-envoy`, as jobs/router.nomad.hcl runs it.
async fn router(scene: &Scene, name: &str, flags: &[&str]) -> (Process, Behind) {
    let meshctl = scene.parts.our("meshctl").unwrap();
    let [port, ready, admin] = [0; 3].map(|_| reserve().unwrap());
    let planes: Vec<String> =
        scene.world.control_planes.iter().map(|plane| plane.xds().to_string()).collect();
    let file = scene.dir().join(format!("{name}.yaml"));
    let program = Program::new(name, &meshctl)
        .args(["run-envoy", "--role=router", "--bind=127.0.0.1", "--id", name])
        .args([format!("--bootstrap-file={}", file.display()), format!("--admin={admin}")])
        .args([format!("--service=router={port}"), format!("--stats={ready}")])
        .args([format!("--xds={}", planes.join(","))])
        .args(flags.iter().copied())
        .args(["--".to_owned(), scene.parts.envoy.display().to_string()])
        .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
    let process = Process::start(&program, scene.dir()).unwrap();
    let wait = Program::new("wait-envoy", &meshctl).args([
        "wait-envoy".to_owned(),
        format!("--admin={admin}"),
        "--timeout=20s".to_owned(),
    ]);
    process::run(&wait).await.unwrap();
    (process, Behind { port, ready })
}

/// Stops one of two Routers behind a load balancer: what the load came to, and the exit code.
async fn stop_one(scene: &Scene, name: &str, flags: &[&str]) -> (LoadReport, Option<i32>) {
    let (mut first, a) = router(scene, &format!("{name}-a"), flags).await;
    let (_second, b) = router(scene, &format!("{name}-b"), flags).await;
    let balancer = Balancer::start(&scene.parts.envoy, name, scene.dir(), &[a, b]).await.unwrap();
    let mut load = Load::start(LoadSpec {
        client: scene.world.client().clone(),
        address: balancer.address(),
        host: LOCAL.to_owned(),
        path: SLOW.to_owned(),
        call: Call::Post,
        rate: RATE,
        timeout: Duration::from_secs(15),
    });
    load.until_more_sent(2 * u64::from(RATE)).await;
    let status = first.stop(SOON).await.unwrap();
    load.until_more_sent(RATE.into()).await;
    (load.finish().await.unwrap(), status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_is_replaced_without_a_lost_request_and_without_draining_some_are() {
    let test = "a_router_is_replaced_without_a_lost_request_and_without_draining_some_are";
    let Some(scene) = Scene::trading(test, 2, |_| ()).await else { return };
    let drained = ["--linger=1s", "--quiet=500ms", "--drain=15s"];
    let (report, code) = stop_one(&scene, "drained", &drained).await;
    println!("drained: {report}");
    assert_eq!((report.lost(), code), (0, Some(0)), "{report}");
    let (report, code) = stop_one(&scene, "cut", &["--drain=0s"]).await;
    println!("cut: {report}");
    assert!(report.lost() > 0 && code == Some(1), "the load proves nothing: {report}");
    scene.end().await;
}
