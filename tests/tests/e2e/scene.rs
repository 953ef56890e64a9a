//! A mesh for one test: started, asked, and taken down; what it logged is kept when the test fails.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;

use contract::api::{Problem, ProxyView};
use contract::registration::Protocol;
use http::Method;
use lab::folder::Folder;
use lab::http::Answer;
use lab::load::{Call, Load, LoadSpec};
use lab::parts::{self, Parts};
use lab::placer::{Allocation, ServiceSpec};
use lab::process::{Process, Program};
use lab::wait;
use lab::world::{World, WorldOptions};
use serde_json::Value;

use crate::SOON;

/// A host that no System claims: the path decides.
pub(crate) const LOCAL: &str = "localhost";

/// Requests a second: what two busy cores bear beside everything else.
pub(crate) const RATE: u32 = 50;

/// The smallest document that lets the Router's clients in.
pub(crate) const TRADING: &str = "\
kind: System
name: trading
default_auth: none
routes:
- {match: {prefix: /orders}, to: orders}
- {match: {prefix: /slow}, to: orders}
";

/// A mesh and the folder it writes to.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) parts: Parts,
    // After the mesh: it is written to until the last process is gone.
    dir: Folder,
}

impl Scene {
    /// Starts a mesh on Consul; `None`: a part is missing, and it is said.
    pub(crate) async fn with_consul(
        test: &str,
        shape: impl FnOnce(&mut WorldOptions),
    ) -> Option<Self> {
        parts::real_part_or_skip(test, "consul")?;
        Self::start(test, shape).await
    }

    /// Starts a mesh; `None`: a part is missing, and it is said.
    pub(crate) async fn start(test: &str, shape: impl FnOnce(&mut WorldOptions)) -> Option<Self> {
        let ours = ["api-gateway", "control-plane", "meshctl", "orders", "positions", "quotes"];
        let parts = parts::parts_or_skip(test, &ours)?;
        let dir = folder();
        let mut options = WorldOptions::new(parts.clone(), dir.path());
        shape(&mut options);
        let world = World::start(&options).await.unwrap();
        Some(Self { world, parts, dir })
    }

    /// A mesh on Consul with System `trading` let in: a gateway, and so many instances of `orders`.
    pub(crate) async fn trading(
        test: &str,
        orders: usize,
        shape: impl FnOnce(&mut WorldOptions),
    ) -> Option<Self> {
        let mut scene = Self::with_consul(test, shape).await?;
        let mut specs = vec![scene.orders(); orders];
        specs.push(ServiceSpec::gateway("trading"));
        scene.world.place(&specs).await.unwrap();
        scene.world.apply("trading", TRADING).await.unwrap();
        scene.answers("/trading/orders/7", 200, "instance").await;
        Some(scene)
    }

    /// An instance of `orders` in System `trading`.
    pub(crate) fn orders(&self) -> ServiceSpec {
        self.sample("orders", Protocol::Http)
    }

    /// The `orders` program as a service of System `trading` under another name.
    pub(crate) fn sample(&self, name: &str, protocol: Protocol) -> ServiceSpec {
        ServiceSpec::new("trading", name, protocol, self.parts.our("orders").unwrap())
    }

    /// The folder of logs and configurations.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The `orders` program without sidecar: an application outside the mesh, and where it answers.
    pub(crate) fn outsider(&self, name: &str) -> (Process, SocketAddr) {
        let address = SocketAddr::from(([127, 0, 0, 1], lab::ports::reserve().unwrap()));
        let program = Program::new(name, &self.parts.our("orders").unwrap())
            .args([format!("--listen={address}"), format!("--instance={name}")]);
        (Process::start(&program, self.dir()).unwrap(), address)
    }

    /// Asks the Router.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, String> {
        let answer = self.world.client().get(self.world.router_address(), LOCAL, path).await;
        answer.map_err(|error| lab::chain(&error))
    }

    /// Waits until the Router's answer has this status and this in its body.
    pub(crate) async fn answers(&self, path: &str, status: u16, text: &str) {
        let what = format!("{path} is answered {status} {text:?}");
        soon(&what, async || judge(&self.get(path).await?, status, text)).await;
    }

    /// Asks through the egress of the first instance of a service.
    pub(crate) async fn call(&self, from: &str, host: &str, path: &str) -> Result<Answer, String> {
        let caller = self.world.instances_of(from).next().and_then(Allocation::egress);
        let (client, egress) = caller.ok_or(format!("no instance of {from}"))?;
        client.get(egress, host, path).await.map_err(|error| lab::chain(&error))
    }

    /// Waits until the answer to such a call has this status and this in its body.
    pub(crate) async fn call_answers(
        &self,
        from: &str,
        host: &str,
        path: &str,
        status: u16,
        text: &str,
    ) {
        let what = format!("{from} gets {status} {text:?} from {host}{path}");
        soon(&what, async || judge(&self.call(from, host, path).await?, status, text)).await;
    }

    /// Begins to send requests to the Router.
    pub(crate) fn load(&self, call: Call, path: &str) -> Load {
        Load::start(LoadSpec {
            client: self.world.client().clone(),
            address: self.world.router_address(),
            host: LOCAL.to_owned(),
            path: path.to_owned(),
            call,
            rate: RATE,
            timeout: std::time::Duration::from_secs(15),
        })
    }

    /// Every control plane's problems.
    pub(crate) async fn problems(&self) -> Result<Vec<Problem>, String> {
        let mut problems = Vec::new();
        for control_plane in &self.world.control_planes {
            let own: Vec<Problem> =
                control_plane.get("/v1/problems").await.map_err(|error| lab::chain(&error))?;
            problems.extend(own);
        }
        Ok(problems)
    }

    /// Waits until a problem of every control plane names the subject and holds the reason.
    pub(crate) async fn problem(&self, subject: &str, reason: &str) {
        let replicas = self.world.control_planes.len();
        soon(&format!("a problem says {subject}: {reason}"), async || {
            let problems = self.problems().await?;
            let is_it = |p: &&Problem| p.subject.contains(subject) && p.reason.contains(reason);
            let found = problems.iter().filter(is_it).count();
            if found >= replicas { Ok(()) } else { Err(format!("{problems:?}")) }
        })
        .await;
    }

    /// How a proxy stands at the control plane that it is connected to.
    pub(crate) async fn proxy(&self, id: &str) -> Result<ProxyView, String> {
        for control_plane in &self.world.control_planes {
            let proxies: Vec<ProxyView> =
                control_plane.get("/v1/proxies").await.map_err(|error| lab::chain(&error))?;
            if let Some(proxy) = proxies.into_iter().find(|proxy| proxy.id == id) {
                return Ok(proxy);
            }
        }
        Err(format!("proxy {id} is not connected"))
    }

    /// Calls Consul's API.
    pub(crate) async fn consul(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.world.consul().unwrap().call(method, path, body).await.unwrap()
    }

    /// Waits until no Envoy has refused an update, waited for one in vain, or has one warming; then ends the mesh.
    pub(crate) async fn end(self) {
        soon("no Envoy has a refused or unfinished update", async || {
            match self.world.config_faults().await {
                Ok(faults) if faults.is_empty() => Ok(()),
                Ok(faults) => Err(faults.join(", ")),
                Err(error) => Err(lab::chain(&error)),
            }
        })
        .await;
    }
}

/// Where a test's processes write.
pub(crate) fn folder() -> Folder {
    Folder::new("e2e").unwrap()
}

/// Waits until the probe is right.
#[track_caller]
pub(crate) fn soon<T, E: Display>(
    what: &str,
    probe: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let seen = wait::until(what, SOON, probe).await;
        seen.map_err(|error| format!("{place}: {error}")).unwrap()
    }
}

/// Ends a load of which nothing may be lost, also not in the second to come.
pub(crate) async fn none_lost(mut load: Load) {
    load.until_more_sent(RATE.into()).await;
    let report = load.finish().await.unwrap();
    assert!(report.sent > 0 && report.lost() == 0, "{report}");
}

/// Whether an answer has this status and this in its body.
pub(crate) fn judge(answer: &Answer, status: u16, text: &str) -> Result<(), String> {
    let said = answer.text();
    if answer.status.as_u16() == status && said.contains(text) {
        Ok(())
    } else {
        Err(format!("{} {}", answer.status.as_u16(), said.trim()))
    }
}
