//! Strangers connect to the xDS port and send what is no request, too much, or nonsense.

use std::net::SocketAddr;

use lab::control_plane::ControlPlane;
use lab::http::Client;
use lab::load::Call;
use lab::world::WorldOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::follows_again;
use crate::scene::{Scene, none_lost, soon};

const DELTA: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const CONNECTIONS: usize = 100;
/// What each of them sends before it falls silent.
const GARBAGE: usize = 64 * 1024;
/// Far above what any request of an Envoy needs.
const OVERSIZED: usize = 64 * 1024 * 1024;
/// What all of this together may cost.
const GROWTH_KB: u64 = 32 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_xds_port_is_refused_and_costs_neither_memory_nor_the_others() {
    let test = "garbage_on_the_xds_port_is_refused_and_costs_neither_memory_nor_the_others";
    let one = |options: &mut WorldOptions| options.control_planes = 1;
    let Some(mut scene) = Scene::trading(test, 2, one).await else { return };
    let load = scene.load(Call::Get, "/trading/orders/7");
    let (xds, before) = (scene.world.control_planes[0].xds(), resident_kb(&scene));

    let mut open = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(xds).await.unwrap();
        // Half of them speak HTTP/2 up to its preface. The server may hang up before the end: that is refusal too.
        let preface: &[u8] = if number % 2 == 0 {
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        } else {
            b"GET / HTTP/1.1\r\n"
        };
        let garbage = [preface, &vec![u8::try_from(number).unwrap(); GARBAGE]].concat();
        stream.write_all(&garbage).await.ok();
        open.push(stream);
    }
    for mut stream in open {
        let hang_up = async || match stream.read(&mut [0; 1024]).await {
            Ok(0) | Err(_) => Ok(()),
            Ok(said) => Err(format!("{said} bytes of an answer")),
        };
        soon("the control plane hangs up", hang_up).await;
    }
    refused(xds, &vec![0xff; 1000], 3, "malformed").await;
    refused(xds, &[], 3, "node").await;
    refused(xds, &vec![0; OVERSIZED], 8, "").await;
    follows_again(&mut scene).await;
    soon("memory is what it was", async || {
        let grown = resident_kb(&scene).saturating_sub(before);
        if grown < GROWTH_KB { Ok(()) } else { Err(format!("{grown} KiB more")) }
    })
    .await;
    none_lost(load).await;
    scene.end().await;
}

/// One message on a delta stream, and the status that must end it.
async fn refused(xds: SocketAddr, message: &[u8], code: u32, reason: &str) {
    let answer = Client::new().grpc(xds, "control-plane", DELTA, message).await;
    let (status, said) = answer.unwrap().grpc_status().unwrap();
    assert!(status == code && said.contains(reason), "{status} {said}");
}

/// Resident memory of the control plane.
fn resident_kb(scene: &Scene) -> u64 {
    let id = scene.world.control_planes.first().and_then(ControlPlane::id).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
