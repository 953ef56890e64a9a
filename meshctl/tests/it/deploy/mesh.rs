//! With a real mesh: control planes that say what real Envoys know, and the Envoys' own statistics.

use std::path::{Path, PathBuf};
use std::time::Duration;

use consul::{Consistency, ConsulClient, ConsulConfig, Query, ServiceDefinition};
use lab::control_plane::{ControlPlane, Source};
use lab::nomad::NomadOptions;
use lab::wait;

use super::yard::{DEADLINE, Yard};

/// A yard with two control planes, and what instances run.
struct Mesh {
    yard: Yard,
    planes: Vec<ControlPlane>,
    envoy: PathBuf,
    orders: PathBuf,
}

impl Mesh {
    async fn open(test: &str) -> Option<Self> {
        let parts = lab::parts::parts_or_skip(test, &["control-plane", "orders"])?;
        let mut yard = Yard::open(test, NomadOptions::default()).await?;
        let mut planes = Vec::new();
        let folder = yard.write("planes", "").with_extension("d");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["cp-1", "cp-2"] {
            let binary = parts.our("control-plane").unwrap();
            let source = Source::Consul(yard.consul.url(), None);
            let plane = ControlPlane::start(&binary, name, &folder, &source, None, None);
            let mut plane = plane.unwrap();
            plane.wait_ready().await.unwrap();
            planes.push(plane);
        }
        let apis: Vec<String> = planes.iter().map(|own| format!("http://{}", own.api())).collect();
        yard.api = apis.join(",");
        let orders = parts.our("orders").unwrap();
        Some(Self { yard, planes, envoy: parts.envoy, orders })
    }

    /// A job of two instances with sidecars; `app` is the application's command.
    fn job(&self, name: &str, word: &str, app: &str) -> String {
        let xds: Vec<String> = self.planes.iter().map(|own| own.xds().to_string()).collect();
        let meshctl = Path::new(env!("CARGO_BIN_EXE_meshctl"));
        let text = JOB
            .replace("@meshctl@", &meshctl.display().to_string())
            .replace("@envoy@", &self.envoy.display().to_string())
            .replace("@xds@", &xds.join(","))
            .replace("@app@", app)
            .replace("@word@", word);
        self.yard.write(name, &text).display().to_string()
    }

    fn orders(&self, name: &str, word: &str) -> String {
        self.job(
            name,
            word,
            &format!("exec {} --listen 127.0.0.1:$NOMAD_PORT_app", self.orders.display()),
        )
    }

    /// Sends requests to every instance that is registered, through its sidecar.
    async fn ask_all(&self, times: usize) {
        let consul = ConsulClient::new(ConsulConfig::new(self.yard.consul.url())).unwrap();
        let query = Query::health_service("orders");
        let found = consul.read(&query, Consistency::Default).await.unwrap().value;
        let http = reqwest::Client::new();
        for entry in &found {
            let url = format!("http://{}:{}/orders/7", entry.service.address, entry.service.port);
            for _ in 0..times {
                // Whatever it answers; one that has just ended refuses.
                if http.get(&url).send().await.is_err() {
                    break;
                }
            }
        }
    }

    /// Sends requests while the command runs.
    async fn deploy_under_load(&self, file: &str, more: &[&str]) -> super::yard::Said {
        let load = async {
            loop {
                self.ask_all(5).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            said = self.yard.deploy(file, more) => said,
            () = load => unreachable!("the load does not end"),
        }
    }
}

#[tokio::test]
async fn it_is_done_when_every_proxy_knows() {
    let Some(mesh) = Mesh::open("every_proxy").await else { return };
    let yard = &mesh.yard;
    yard.deploy(&mesh.orders("a.hcl", "one"), &[])
        .await
        .expect(0, &["all 2 proxies that call it know", "orders runs as version 0"]);
    let said = yard.deploy(&mesh.orders("b.hcl", "two"), &["--strategy", "blue-green"]).await;
    said.expect(0, &["all 4 proxies that call it know"]);
    yard.run(&["status", "orders"]).await.expect(0, &["REGISTERED", "healthy", "current"]);
    yard.run(&["rollback", "orders", "--yes"]).await.expect(0, &["runs as version 0 did"]);

    // Somebody is registered, and no control plane has its proxy.
    let consul = ConsulClient::new(ConsulConfig::new(yard.consul.url())).unwrap();
    let meta = [("mesh_system", "trading"), ("mesh_instance", "c0ffee00")];
    let corpse = ServiceDefinition {
        id: "corpse".to_owned(),
        name: "quotes".to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 9,
        meta: meta.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..ServiceDefinition::default()
    };
    consul.register_service(&corpse).await.unwrap();
    let third = mesh.orders("c.hcl", "three");
    yard.deploy(&third, &["--timeout", "8s"])
        .await
        .expect(5, &["proxy c0ffee00 is registered and not connected", "half-way, reverting"]);
    yard.run(&["rollback", "orders", "--yes", "--allow-unconnected"]).await.expect(0, &[]);
    yard.deploy(&third, &["--allow-unconnected"]).await.expect(0, &["orders runs as version"]);
    consul.deregister_service("corpse").await.unwrap();
    yard.run(&["stop", "orders", "--yes"]).await.expect(0, &["orders is stopped"]);
}

#[tokio::test]
async fn canaries_are_compared_with_the_old_instances() {
    let Some(mesh) = Mesh::open("sli").await else { return };
    let yard = &mesh.yard;
    yard.deploy(&mesh.orders("a.hcl", "one"), &[]).await.expect(0, &[]);
    let sli = ["--strategy", "canary", "--gate", "sli", "--sli-requests", "50"];

    // Its application never listens: the sidecar is ready and answers 503.
    let broken = mesh.job("b.hcl", "two", "exec sleep 1000");
    let said = mesh.deploy_under_load(&broken, &sli).await;
    said.expect(
        1,
        &["sidecars compared, breached: more errors than before", "what ran before runs"],
    );

    let good = mesh.orders("c.hcl", "three");
    let nobody_asks = [&sli[..], &["--sli-window", "2s"]].concat();
    yard.deploy(&good, &nobody_asks)
        .await
        .expect(4, &["the new instances answered 0 of 50 requests within 2 s", "waits for you"]);
    yard.run(&["rollback", "orders", "--yes"]).await.expect(0, &[]);

    let lenient = [&sli[..], &["--sli-p99", "1000"]].concat();
    let said = mesh.deploy_under_load(&good, &lenient).await;
    said.expect(0, &["sidecars compared, passed: new: 0.00 % errors", "orders runs as version"]);
}

#[tokio::test]
async fn a_control_plane_that_is_away_holds_it_up_until_it_is_back() {
    let Some(mut mesh) = Mesh::open("plane_away").await else { return };
    let first = mesh.orders("a.hcl", "one");
    mesh.yard.deploy(&first, &[]).await.expect(0, &[]);
    let second = mesh.orders("b.hcl", "two");
    mesh.planes[0].kill().await.unwrap();
    let child = mesh.yard.begin(&second, &[]);
    mesh.yard.until_state("following").await;
    let waits = async || {
        let deployment = mesh.yard.nomad.get("/v1/job/orders/deployment").await.unwrap();
        let group = &deployment["TaskGroups"]["web"];
        let is_ready = group["HealthyAllocs"] == 1 && group["Promoted"] == false;
        if is_ready { Ok(()) } else { Err(format!("{deployment}")) }
    };
    wait::until("the canary is healthy", DEADLINE, waits).await.unwrap();
    wait::holds("it is not promoted", Duration::from_secs(3), waits).await.unwrap();
    mesh.planes[0].start_again().unwrap();
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains("does not answer"), "{err}");
    assert_eq!(mesh.yard.running().await, [1, 1]);
}

const JOB: &str = r#"
job "orders" {
  datacenters = ["dc1"]
  type        = "service"

  update {
    canary            = 1
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "1s"
    healthy_deadline  = "20s"
    progress_deadline = "40s"
  }

  group "web" {
    count          = 2
    shutdown_delay = "1s"

    restart {
      attempts = 0
      mode     = "fail"
    }

    network {
      mode = "host"

      port "mesh" {}
      port "app" {}
      port "stats" {}
      port "admin" {}
      port "egress" {}
    }

    service {
      name = "orders"
      port = "mesh"

      meta {
        mesh_system   = "trading"
        mesh_instance = "${NOMAD_ALLOC_ID}"
        mesh_stats    = "${NOMAD_HOST_PORT_stats}"
        mesh_track    = "stable"
      }

      canary_meta {
        mesh_system   = "trading"
        mesh_instance = "${NOMAD_ALLOC_ID}"
        mesh_stats    = "${NOMAD_HOST_PORT_stats}"
        mesh_track    = "canary"
      }

      check {
        type     = "http"
        path     = "/ready"
        port     = "stats"
        interval = "1s"
        timeout  = "1s"
      }
    }

    task "envoy" {
      driver       = "raw_exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "5s"

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        command = "@meshctl@"
        args = [
          "run-envoy",
          "--bootstrap-file", "${NOMAD_TASK_DIR}/envoy.yaml",
          "--drain", "2s",
          "--role", "sidecar",
          "--system", "trading",
          "--id", "${NOMAD_ALLOC_ID}",
          "--service", "orders=${NOMAD_PORT_mesh}:${NOMAD_PORT_app}",
          "--bind", "127.0.0.1",
          "--host", "127.0.0.1",
          "--stats", "${NOMAD_PORT_stats}",
          "--admin", "${NOMAD_PORT_admin}",
          "--egress", "${NOMAD_PORT_egress}",
          "--xds", "@xds@",
          "--", "@envoy@", "--log-level", "error", "--disable-hot-restart", "--concurrency", "1",
        ]
      }

      resources {
        cpu    = 20
        memory = 20
      }
    }

    task "app" {
      driver       = "raw_exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "5s"

      config {
        command = "/bin/sh"
        args    = ["-c", "@app@"]
      }

      env {
        WORD = "@word@"
      }

      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
"#;
