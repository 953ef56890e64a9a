//! Clients that do what no Envoy does, one kind after the other, beside a probe.

use std::time::Duration;

use bytes::BufMut as _;
use control_plane::xds::resources::ResourceType::{Cluster, Endpoints};
use control_plane::xds::stream::MAX_NAMES;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use futures::future::{join_all, try_join_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::messages::{delta_request, node};
use crate::plane::{Plane, soon};
use crate::probe::Probe;
use crate::proxy::{Held, Proxy};

/// Memory that any kind of abuse may cost, in KiB.
const MEMORY: u64 = 300 << 10;

#[tokio::test]
async fn whatever_clients_do_memory_stays_bounded_and_others_hear_of_changes() {
    let plane = Plane::start().await;
    let mut probe = Probe::of(&plane);
    let ((), quiet) = probe.during(async {}).await;
    println!("at rest: {quiet}");
    let mut scene = Scene { plane: &plane, probe, before: plane.resident() };
    scene.during("500 streams that never read", never_read(&plane)).await;
    scene.during("50 streams that read slowly", read_slowly(&plane)).await;
    scene.during("3 streams of 100,000 names", ask_for_a_lot(&plane, 3)).await;
    scene.during("20 streams that flood requests", flood(&plane)).await;
    scene.during("500 streams that change their node", change_node(&plane)).await;
    scene.during("500 streams that say nothing", say_nothing(&plane)).await;
    scene.during("10 connections that reset rapidly", reset_rapidly(&plane)).await;
}

struct Scene<'a> {
    plane: &'a Plane,
    probe: Probe,
    /// Memory at rest, in KiB.
    before: u64,
}

impl Scene<'_> {
    /// Lets clients misbehave beside the probe; what `abuse` keeps stays open until the figures are taken.
    async fn during<T>(&mut self, what: &str, abuse: impl Future<Output = T>) {
        let (_kept, latencies) = self.probe.during(soon(what, abuse)).await;
        let grown = self.plane.resident().saturating_sub(self.before);
        println!("{what}: {latencies}; {grown} KiB more than at rest");
        latencies.check(what);
        assert!(grown < MEMORY, "{what}: {grown} KiB");
    }
}

/// Takes every resource there is, through windows too small for one of them.
async fn never_read(plane: &Plane) -> Vec<Proxy> {
    let silent = |n: usize| async move {
        let channel = plane.connect(16).await;
        let opened = (0..50).map(|k| {
            let channel = channel.clone();
            async move {
                let proxy = Proxy::open(channel, &format!("deaf-{n}-{k}"), Held::new()).await?;
                proxy.ask(Endpoints, &["service:trading/s00"]).await?;
                Ok::<_, tonic::Status>(proxy)
            }
        });
        try_join_all(opened).await.unwrap()
    };
    let deaf = join_all((0..10).map(silent)).await;
    plane.until("mesh_xds_streams", "", |open| open >= 500).await;
    deaf.into_iter().flatten().collect()
}

/// Reads a few bytes, and a response only every now and then.
async fn read_slowly(plane: &Plane) -> Vec<Proxy> {
    let slow = |n: usize| async move {
        let channel = plane.connect(1 << 10).await;
        let mut proxy = Proxy::open(channel, &format!("slow-{n}"), Held::new()).await.unwrap();
        for _ in 0..3 {
            proxy.next().await.unwrap();
            proxy.ask(Endpoints, &["service:trading/s00"]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        proxy
    };
    join_all((0..50).map(slow)).await
}

/// As many names as a stream may have are answered; one more ends the stream.
async fn ask_for_a_lot(plane: &Plane, count: usize) -> Vec<Proxy> {
    let greedy = |n: usize| async move {
        let channel = plane.connect(1 << 20).await;
        let mut proxy = Proxy::open(channel, &format!("greedy-{n}"), Held::new()).await.unwrap();
        proxy.next().await.unwrap();
        let names: Vec<String> = (0..MAX_NAMES).map(|k| format!("service:other/{k:06}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        proxy.ask(Endpoints, &names).await.unwrap();
        let mut absent = 0;
        while absent < MAX_NAMES {
            absent += proxy.next().await.unwrap().removed_resources.len();
        }
        proxy.ask(Endpoints, &["one-too-many"]).await.unwrap();
        let status = proxy.next().await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        proxy
    };
    join_all((0..count).map(greedy)).await
}

/// Sends as fast as the transport takes it.
async fn flood(plane: &Plane) {
    let flooding = |n: usize| async move {
        let channel = plane.connect(1 << 20).await;
        let proxy = Proxy::open(channel, &format!("flood-{n}"), Held::new()).await.unwrap();
        for k in 0..100_000 {
            let name = format!("service:trading/s{:02}", k % 20);
            proxy.ask(Endpoints, &[&name]).await.unwrap();
        }
    };
    // It never ends: the server reads 500 a second.
    let floods = join_all((0..20).map(flooding));
    assert!(tokio::time::timeout(Duration::from_secs(2), floods).await.is_err());
}

/// Becomes somebody else after its first request.
async fn change_node(plane: &Plane) {
    let channels = join_all((0..10).map(|_| plane.connect(1 << 16))).await;
    let changing = |n: usize| {
        let channel = channels.get(n % 10).unwrap().clone();
        async move {
            let mut proxy = Proxy::open(channel, &format!("one-{n}"), Held::new()).await.unwrap();
            let request = delta_request(Cluster, &[]);
            let other = Some(node(&format!("other-{n}")));
            proxy.send(DeltaDiscoveryRequest { node: other, ..request }).await.unwrap();
            loop {
                if let Err(status) = proxy.next().await {
                    // The ACK may find the stream ended before its end is read.
                    let codes = [Code::InvalidArgument, Code::Cancelled];
                    return assert!(codes.contains(&status.code()), "{status}");
                }
            }
        }
    };
    let refused = plane.metric("mesh_xds_ended_streams_total", "bad_node").await;
    join_all((0..500).map(changing)).await;
    plane.until("mesh_xds_ended_streams_total", "bad_node", |count| count == refused + 500).await;
}

/// Opens streams and leaves it at that; the server ends them after ten seconds, which nobody waits for here.
async fn say_nothing(plane: &Plane) {
    use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
    let channels = join_all((0..10).map(|_| plane.connect(1 << 16))).await;
    let silent = (0..500).map(|n| {
        let mut client =
            AggregatedDiscoveryServiceClient::new(channels.get(n % 10).unwrap().clone());
        async move {
            let (_requests, receiver) = mpsc::channel::<DeltaDiscoveryRequest>(1);
            client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.map(drop)
        }
    });
    let all = join_all(silent);
    assert!(tokio::time::timeout(Duration::from_secs(2), all).await.is_err());
}

/// Streams that are reset as soon as they are opened; the server gives up on such a connection.
async fn reset_rapidly(plane: &Plane) {
    let resetting = |_| async move {
        let mut connection = TcpStream::connect(plane.xds()).await.unwrap();
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        for stream in (1..20_000_u32).step_by(2) {
            put_opening(&mut out, stream);
            // RST_STREAM: CANCEL.
            out.put_slice(&[0, 0, 4, 3, 0]);
            out.put_u32(stream);
            out.put_u32(8);
        }
        let (mut reader, mut writer) = connection.split();
        let mut said = Vec::new();
        // The server closes it in the middle of all that: neither end comes to a good end.
        let (_written, _read) = tokio::join!(writer.write_all(&out), reader.read_to_end(&mut said));
    };
    join_all((0..10).map(resetting)).await;
}

/// HEADERS of a call of the discovery service, on this stream.
fn put_opening(out: &mut Vec<u8>, stream: u32) {
    let path = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    // By index `:method: POST` and `:scheme: http`; then `:authority` and `:path` as literals.
    let mut block = vec![0x83, 0x86, 0x01, 1, b'x', 0x04, u8::try_from(path.len()).unwrap()];
    block.put_slice(path);
    let length = u32::try_from(block.len()).unwrap();
    out.put_slice(&length.to_be_bytes()[1..]);
    // HEADERS with END_HEADERS.
    out.put_slice(&[1, 4]);
    out.put_u32(stream);
    out.put_slice(&block);
}
