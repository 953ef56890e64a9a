//! One real Envoy: from the write at Consul to the endpoint in its `/clusters`.

use anyhow::Context;
use lab::envoy::Envoy;
use lab::{parts, ports, wait};
use serde_json::json;

use crate::contender::Contender;
use crate::figures::{Figure, percentile, sorted};
use crate::proxy::Mode;
use crate::stage::{DEADLINE, Setup, Stage, identity, seconds};

/// The latencies of events at one Envoy that depends on the hot service alone.
///
/// # Errors
/// A part is missing or does not start, or Envoy never follows.
pub async fn measure(
    setup: &Setup,
    contender: Contender,
    events: u32,
) -> anyhow::Result<Vec<Figure>> {
    let setup = Setup { streams: 1, upstreams: 1, ..setup.clone() };
    let mut stage = Stage::raise(&setup, contender).await?;
    let admin = ports::reserve()?;
    let binary = parts::real_part("envoy")
        .context("Envoy is missing: run `make setup`, or name the binary in AYATORI_ENVOY")?;
    let bootstrap = bootstrap(&setup, &stage, admin)?;
    let mut envoy = Envoy::start(&binary, "envoy", stage.dir.path(), &bootstrap, admin, None)?;
    envoy.wait_live().await?;
    let mut latencies = Vec::new();
    for event in 0..events {
        let begin = stage.flap().await?;
        let address = format!("10.250.{}.{}:", 100 + event / 2 / 150, 100 + event / 2 % 150);
        let is_added = event % 2 == 0;
        let end = loop {
            let is_there = envoy.admin("/clusters").await?.contains(&address);
            let now = stage.fleet.board.now();
            if is_there == is_added {
                break now;
            }
            anyhow::ensure!(
                seconds(begin, now) < DEADLINE.as_secs_f64(),
                "Envoy did not follow event {event}"
            );
        };
        latencies.push(seconds(begin, end) * 1e3);
        rest().await?;
    }
    let faults = envoy.config_faults().await?;
    anyhow::ensure!(faults.is_empty(), "Envoy is not healthy: {faults:?}");
    envoy.stop().await?;
    let latencies = sorted(latencies);
    let how = format!("{events} events at one Envoy; /clusters is asked without pause");
    let figure = |what: &str, share| {
        Figure::new(format!("{what}, one real Envoy"), "ms", percentile(&latencies, share), &how)
    };
    Ok(vec![figure("event p50", 0.5).goal(10.0), figure("event p99", 0.99).goal(50.0)])
}

/// Between events: each is the first change after a quiet moment.
async fn rest() -> anyhow::Result<()> {
    let span = std::time::Duration::from_millis(250);
    Ok(wait::holds("a quiet moment", span, async || Ok::<_, String>(())).await?)
}

/// A bootstrap that either contender can serve.
fn bootstrap(setup: &Setup, stage: &Stage, admin: u16) -> anyhow::Result<String> {
    let (id, cluster, mut mesh) = identity(setup, 0)?;
    // Ports that are free on this machine, whoever else runs.
    mesh.egress = Some(ports::reserve()?);
    for service in &mut mesh.services {
        service.inbound = ports::reserve()?;
    }
    let api_type = match setup.mode {
        Mode::Delta => "DELTA_GRPC",
        Mode::Sotw => "GRPC",
    };
    let source = json!({"resource_api_version": "V3", "ads": {}});
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    let server = json!({"endpoint": {"address": address(stage.server.xds.port())}});
    let bootstrap = json!({
        "node": {"id": id, "cluster": cluster, "metadata": {"mesh": mesh}},
        "admin": {"address": address(admin)},
        "dynamic_resources": {
            "cds_config": source, "lds_config": source,
            "ads_config": {
                "api_type": api_type, "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            },
        },
        "static_resources": {"clusters": [{
            "name": "xds", "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": http2,
            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [server]}]},
        }]},
    });
    Ok(bootstrap.to_string())
}
