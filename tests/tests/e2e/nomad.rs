//! A mesh on Nomad alone: no Consul, services with `provider = "nomad"`, checks that Nomad makes, documents from a folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use contract::api::{Convergence, ServiceView, Status};
use contract::node::ProxyRole;
use http::{Request, StatusCode};
use lab::control_plane::{ControlPlane, Source};
use lab::envoy::{Envoy, ProxySpec};
use lab::folder::Folder;
use lab::http::{Answer, Client};
use lab::load::{Call, Load, LoadSpec};
use lab::nomad::{Nomad, NomadOptions};
use lab::parts::{self, Parts};
use lab::{ports, wait};

use crate::scene::{RATE, folder, judge, none_lost, soon};

const CANARY: (&str, &str) = ("x-mesh-track", "canary");

/// Nomad with a job, a control plane that follows it, and an Envoy that calls.
struct World {
    nomad: Nomad,
    control_plane: ControlPlane,
    caller: Envoy,
    egress: SocketAddr,
    client: Client,
    parts: Parts,
    dir: Folder,
}

impl World {
    /// `None`: a part is missing, and it is said.
    async fn start(test: &str) -> Option<Self> {
        let ours = ["control-plane", "meshctl", "nomad-stand-in", "orders"];
        let parts = parts::parts_or_skip(test, &ours)?;
        let dir = folder();
        let options = NomadOptions { durable: true, ..NomadOptions::default() };
        let nomad = Nomad::start(dir.path(), &options).await.unwrap();
        let documents = dir.path().join("systems");
        std::fs::create_dir_all(&documents).unwrap();
        let source = Source::Nomad(nomad.url(), documents);
        let binary = parts.our("control-plane").unwrap();
        let mut control_plane =
            ControlPlane::start(&binary, "control-plane", dir.path(), &source, None, None).unwrap();
        control_plane.wait_ready().await.unwrap();
        let egress = ports::reserve().unwrap();
        let spec = caller(egress, control_plane.xds());
        let bootstrap = spec.render(&parts.our("meshctl").unwrap()).await.unwrap();
        let mut caller =
            Envoy::start(&parts.envoy, "desk", dir.path(), &bootstrap, spec.admin, None).unwrap();
        caller.wait_live().await.unwrap();
        let egress = SocketAddr::from((Ipv4Addr::LOCALHOST, egress));
        let client = Client::new();
        Some(Self { nomad, control_plane, caller, egress, client, parts, dir })
    }

    /// The job's file in a version of its application.
    fn job(&self, version: &str) -> PathBuf {
        let path = |path: PathBuf| path.display().to_string();
        let text = JOB
            .replace("MESHCTL", &path(self.parts.our("meshctl").unwrap()))
            .replace("ENVOY", &path(self.parts.envoy.clone()))
            .replace("ORDERS", &path(self.parts.our("orders").unwrap()))
            .replace("XDS", &self.control_plane.xds().to_string())
            .replace("VERSION", version);
        let file = self.dir.path().join(format!("orders-{version}.nomad.hcl"));
        std::fs::write(&file, text).unwrap();
        file
    }

    async fn nomad(&self, words: &[&str]) {
        let output = self.nomad.run(words, Duration::from_secs(60)).await.unwrap();
        assert!(output.status.success(), "nomad {words:?}: {output:?}");
    }

    async fn run(&self, version: &str) {
        let file = self.job(version).display().to_string();
        self.nomad(&["job", "run", "-detach", &file]).await;
    }

    async fn ask(&self, header: Option<(&str, &str)>) -> Result<Answer, String> {
        let mut request = Request::get("/orders/7").header("host", "orders");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = self.client.exchange(self.egress, request, bytes::Bytes::new()).await;
        answer.map_err(|error| lab::chain(&error))
    }

    /// Waits until the version answers.
    async fn answers(&self, header: Option<(&str, &str)>, version: &str) {
        soon(&format!("{version} answers {header:?}"), async || {
            judge(&self.ask(header).await?, 200, version)
        })
        .await;
    }

    /// The allocations that are registered on a track.
    async fn allocations(&self, track: &str) -> Vec<String> {
        let services: Vec<ServiceView> = self.control_plane.get("/v1/services").await.unwrap();
        let instances = services.into_iter().flat_map(|service| service.instances);
        let on_track = instances.filter(|instance| instance.track.as_str() == track);
        on_track.filter_map(|instance| instance.instance).collect()
    }

    async fn converged(&self, allocations: &str) {
        let path = format!("/v1/convergence?system=trading&service=orders&{allocations}");
        soon(&format!("{allocations} has converged"), async || {
            let answer: Convergence =
                self.control_plane.get(&path).await.map_err(|error| lab::chain(&error))?;
            if answer.converged { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }

    /// Whether the control plane says that Nomad answers.
    async fn nomad_answers(&self, answers: bool) {
        soon(&format!("Nomad answers: {answers}"), async || {
            let status: Status =
                self.control_plane.get("/v1/status").await.map_err(|error| lab::chain(&error))?;
            let nomad = status.sources.iter().find(|source| source.name == "nomad");
            match nomad {
                Some(source) if source.error.is_none() == answers => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    fn load(&self) -> Load {
        Load::start(LoadSpec {
            client: self.client.clone(),
            address: self.egress,
            host: "orders".to_owned(),
            path: "/slow?ms=100".to_owned(),
            call: Call::Post,
            rate: RATE,
            timeout: Duration::from_secs(15),
        })
    }
}

fn caller(egress: u16, xds: SocketAddr) -> ProxySpec {
    ProxySpec {
        role: ProxyRole::Sidecar,
        system: Some("trading".to_owned()),
        id: "desk-1".to_owned(),
        cluster: "desk".to_owned(),
        services: Vec::new(),
        ingress: None,
        egress: Some(egress),
        upstreams: None,
        bind: Ipv4Addr::LOCALHOST.into(),
        host: None,
        agent: None,
        spans: Vec::new(),
        stats: None,
        admin: ports::reserve().unwrap(),
        xds: vec![xds],
        sotw: false,
        tls: None,
        trusted_hops: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_consul_a_service_is_called_switched_and_outlives_a_dead_nomad() {
    let test = "without_consul_a_service_is_called_switched_and_outlives_a_dead_nomad";
    let Some(mut world) = World::start(test).await else { return };
    let unknown = world.ask(None).await.unwrap();
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.text());
    world.run("one").await;
    world.answers(None, "one").await;
    let old = world.allocations("stable").await.join(",");

    let load = world.load();
    world.run("two").await;
    world.answers(Some(CANARY), "two").await;
    let new = world.allocations("canary").await.join(",");
    world.converged(&format!("stable={old}&canary={new}")).await;
    for _ in 0..30 {
        judge(&world.ask(None).await.unwrap(), 200, "one").unwrap();
    }
    soon("the canary is healthy and promoted", async || {
        let deployment = world.nomad.get("/v1/job/orders/deployment").await.unwrap();
        let id = deployment.get("ID").and_then(|id| id.as_str()).unwrap().to_owned();
        let words = ["deployment", "promote", "-detach", &id];
        let output = world.nomad.run(&words, Duration::from_secs(20)).await.unwrap();
        if output.status.success() { Ok(()) } else { Err(format!("{output:?}")) }
    })
    .await;
    world.converged(&format!("stable={new}&absent={old}")).await;
    world.answers(None, "two").await;
    none_lost(load).await;

    let load = world.load();
    world.nomad.kill().await.unwrap();
    world.nomad_answers(false).await;
    let still = async || judge(&world.ask(None).await?, 200, "two");
    wait::holds("the mesh goes on", Duration::from_secs(2), still).await.unwrap();
    world.nomad.start_again().await.unwrap();
    world.nomad_answers(true).await;
    world.converged(&format!("stable={new}&absent={old}")).await;
    none_lost(load).await;

    world.nomad(&["job", "stop", "-detach", "orders"]).await;
    soon("it is gone", async || match world.ask(None).await?.status {
        StatusCode::NOT_FOUND => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    world.caller.process().check().unwrap();
}

const JOB: &str = r#"
job "orders" {
  datacenters = ["dc1"]

  update {
    canary            = 1
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "1s"
    healthy_deadline  = "60s"
    progress_deadline = "120s"
  }

  group "orders" {
    shutdown_delay = "2s"

    network {
      mode = "host"
      port "mesh" {}
      port "app" {}
      port "admin" {}
    }

    service {
      provider    = "nomad"
      name        = "orders"
      port        = "mesh"
      tags        = ["mesh_system=trading", "VERSION"]
      canary_tags = ["mesh_system=trading", "mesh_track=canary", "VERSION"]

      check {
        type     = "http"
        path     = "/healthz"
        port     = "mesh"
        interval = "1s"
        timeout  = "5s"
      }
    }

    task "envoy" {
      driver = "raw_exec"

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        command = "MESHCTL"
        args = [
          "run-envoy", "--bootstrap-file", "${NOMAD_TASK_DIR}/envoy.yaml", "--drain", "2s",
          "--role", "sidecar", "--system", "trading", "--id", "${NOMAD_ALLOC_ID}",
          "--service", "orders=${NOMAD_PORT_mesh}:${NOMAD_PORT_app}",
          "--bind", "${NOMAD_IP_mesh}", "--admin", "${NOMAD_PORT_admin}", "--xds", "XDS",
          "--", "ENVOY", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning",
        ]
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "5s"
    }

    task "orders" {
      driver = "raw_exec"

      config {
        command = "ORDERS"
        args    = ["--listen", "127.0.0.1:${NOMAD_PORT_app}", "--instance", "VERSION"]
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "5s"
    }
  }
}
"#;
