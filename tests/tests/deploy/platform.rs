//! The scenes of the mesh's own parts.

use std::net::SocketAddr;

use lab::LabError;
use lab::balancer::Balancer;
use lab::process::{self, Program};
use tokio::time::{Duration, sleep};

use crate::mesh::{DRAINED, Mesh, SOON};
use crate::scene::play_at;
use crate::stage::{Guard, Stage};

/// How long Consul is away.
const AWAY: Duration = Duration::from_secs(2);
/// How often a deploy is begun again that Consul's absence ended half-way.
const REPEATS: usize = 3;

/// The System's gateways, one after another.
pub(crate) async fn gateway_upgraded(stage: &Stage) {
    let next = [stage.next_gateway()];
    stage.play("gateway upgraded", stage.deployed(&next, &["--strategy=rolling"])).await;
}

/// Two Routers behind a load balancer, each replaced on its ports.
pub(crate) async fn router_upgraded(stage: &Stage) {
    let mesh = &stage.mesh;
    let flags: &[&str] = match stage.guard {
        Guard::On => &DRAINED,
        Guard::Off => &["--drain=0s"],
    };
    let mut routers = Vec::new();
    for name in ["router-a", "router-b"] {
        routers.push((name, mesh.router(name, None, flags).await));
    }
    let behind: Vec<_> = routers.iter().map(|(_, router)| router.at).collect();
    let statistics: Vec<_> =
        behind.iter().map(|at| SocketAddr::from(([127, 0, 0, 1], at.ready))).collect();
    let balancer = Balancer::start(&mesh.parts.envoy, "balancer", mesh.dir(), &behind).await;
    let mut balancer = balancer.unwrap();
    let happens = async {
        for (name, router) in &mut routers {
            let status = router.process.stop(SOON).await.unwrap();
            assert_eq!(status.success(), stage.guard == Guard::On, "{}", router.process.tail());
            *router = mesh.router(&format!("{name}-next"), Some(router.at), flags).await;
            balancer.until_all_ready().await.unwrap();
        }
    };
    let title = stage.title("Router upgraded");
    let consul = mesh.consul.address();
    let told =
        play_at(consul, balancer.address(), &statistics, &title, stage.lead(), happens).await;
    stage.judge(&told);
    balancer.stop().await.unwrap();
}

/// Both control planes, then Consul, while a version is rolled out.
pub(crate) async fn control_restarted(stage: &mut Stage) {
    let next = stage.next();
    let title = stage.title("control planes and Consul restarted in a rolling update");
    let lead = stage.lead();
    let (consul, address) = (stage.mesh.consul.address(), stage.mesh.address());
    let statistics = [stage.mesh.statistics()];
    let commands = next.each_ref().map(|one| stage.command(one, &["--strategy=rolling"]));
    let happens = async {
        let deploys = futures::future::join_all(commands.iter().map(to_its_end));
        futures::future::join(deploys, restart(&mut stage.mesh)).await;
        for one in &next {
            stage.nomad.until_still(&one.job).await;
        }
    };
    let told = play_at(consul, address, &statistics, &title, lead, happens).await;
    stage.judge(&told);
}

/// Deploys; a deploy that ends half-way (exit code 5) goes on with the same command, as it says itself.
async fn to_its_end(deploy: &Program) {
    let half_way = "exit status: 5";
    let mut outcome = process::run(deploy).await;
    for _ in 0..REPEATS {
        match &outcome {
            Err(error @ LabError::Ended { status, .. }) if status == half_way => {
                println!("DEPLOY goes on with the same command: {error}");
                outcome = process::run(deploy).await;
            }
            _ => break,
        }
    }
    outcome.unwrap();
}

/// Control planes die one after the other; Consul is stopped as an operator does it.
async fn restart(mesh: &mut Mesh) {
    for plane in &mut mesh.planes {
        plane.kill().await.unwrap();
        sleep(AWAY).await;
        plane.start_again().unwrap();
        plane.wait_ready().await.unwrap();
    }
    mesh.consul.stop().await.unwrap();
    sleep(AWAY).await;
    mesh.consul.start_again().await.unwrap();
}
