//! Nomad in these tests: what it is told, by its API or by `meshctl`, and waiting for what it then does.
//!
//! **Invariant**: whatever waits has a deadline, and says at its end what was the case instead.

use std::time::Duration;

use lab::nomad::NomadOptions;
use lab::process::Program;
use lab::{parts, wait};
use nomad::{Allocation, Deployment, Drain, NomadClient, NomadConfig, Query, Registration};

use crate::mesh::Mesh;
use crate::version::Version;

/// Within which a whole deployment is over, one instance after another.
const DEPLOYED: Duration = Duration::from_secs(90);

/// Hosts that the stand-in has, so that one can be drained; a real agent is one.
const HOSTS: u8 = 2;

/// A Nomad beside a mesh.
pub(crate) struct Nomad {
    /// Ends with this, and what it runs.
    server: lab::nomad::Nomad,
    pub(crate) client: NomadClient,
    common: Vec<(&'static str, String)>,
}

impl Nomad {
    /// Starts one that registers in the mesh's Consul; `None`: there is none, and it is said.
    pub(crate) async fn start(test: &str, mesh: &Mesh) -> Option<Self> {
        if let Err(error) = lab::nomad::choose() {
            parts::skip(test, "ours", &lab::chain(&error));
            return None;
        }
        // Another test of the process may have been first.
        rustls::crypto::ring::default_provider().install_default().ok();
        let consul = Some((mesh.consul.address(), None));
        let options = NomadOptions { consul, nodes: HOSTS, ..NomadOptions::default() };
        let server = lab::nomad::Nomad::start(mesh.dir(), &options).await.unwrap();
        println!("DEPLOY on {:?}", server.kind());
        let client = NomadClient::new(NomadConfig::new(server.url())).unwrap();
        let common = vec![
            ("bin", format!("{:?}", mesh.parts.ours)),
            ("envoy", format!("{:?}", mesh.parts.envoy)),
            ("control_planes", format!("{:?}", mesh.xds())),
        ];
        Some(Self { server, client, common })
    }

    /// Whether it has a host to move to when one is drained.
    pub(crate) fn has_two_hosts(&self) -> bool {
        self.server.is_stand_in()
    }

    /// The first version of a service, for this host.
    pub(crate) fn service(&self, system: &str, name: &str, protocol: &str, path: &str) -> Version {
        self.here(Version::service(system, name, protocol, path))
    }

    /// The first version of a System's gateway, for this host.
    pub(crate) fn gateway(&self, system: &str) -> Version {
        self.here(Version::gateway(system))
    }

    fn here(&self, version: Version) -> Version {
        self.common.iter().fold(version, |version, (name, value)| version.with(name, value))
    }

    /// Submits a version by the API, as `nomad job run -detach` does.
    pub(crate) async fn submit(&self, version: &Version) {
        let (text, variables) = version.hcl();
        let job = self.client.parse(text, &variables).await.unwrap();
        self.client.register(&job, Registration::Always).await.unwrap();
    }

    /// A job's newest deployment.
    pub(crate) async fn deployment(&self, job: &str) -> Result<Deployment, String> {
        let answer = self.client.read(&Query::latest_deployment_of(job)).await;
        let answer = answer.map_err(|error| lab::chain(&error))?;
        answer.value.ok_or_else(|| format!("{job} has no deployment"))
    }

    /// Waits until a job's newest deployment is as the probe wants it.
    pub(crate) async fn until_deployment(
        &self,
        job: &str,
        what: &str,
        is_right: impl Fn(&Deployment) -> bool,
    ) -> Deployment {
        let what = format!("the deployment of {job} is {what}");
        let seen = wait::until(&what, DEPLOYED, async || {
            let seen = self.deployment(job).await?;
            if is_right(&seen) { Ok(seen) } else { Err(format!("{seen:?}")) }
        });
        seen.await.unwrap()
    }

    /// Waits until a job's newest deployment has ended so, and nothing runs but what it wants.
    pub(crate) async fn until_settled(&self, job: &str, status: &str) {
        self.until_deployment(job, status, |seen| seen.is_over() && seen.status == status).await;
        self.until_still(job).await;
    }

    /// Waits until everything of a job runs that is to run, and everything else has ended.
    pub(crate) async fn until_still(&self, job: &str) {
        let what = format!("the allocations of {job} are as they are to be");
        wait::until(&what, DEPLOYED, async || {
            let answer = self.client.read(&Query::allocations_of(job)).await;
            let all = answer.map_err(|error| lab::chain(&error))?.value;
            let is_right = |one: &Allocation| match one.desired_status.as_str() {
                "run" => one.client_status == "running",
                _ => one.is_over(),
            };
            let other: Vec<String> = all
                .iter()
                .filter(|one| !is_right(one))
                .map(|one| format!("{} {}/{}", one.name, one.desired_status, one.client_status))
                .collect();
            if other.is_empty() && !all.is_empty() { Ok(()) } else { Err(other.join(", ")) }
        })
        .await
        .unwrap();
    }

    /// The node on which a job's first running instance is.
    pub(crate) async fn host_of(&self, job: &str) -> String {
        let all = self.client.read(&Query::allocations_of(job)).await.unwrap().value;
        all.iter().find(|one| one.client_status == "running").unwrap().node.clone()
    }

    /// Begins to drain a node.
    pub(crate) async fn drain(&self, node: &str) {
        self.client.drain(node, Drain::Begin(DEPLOYED)).await.unwrap();
    }

    /// Waits until nothing runs on a node that is drained.
    pub(crate) async fn until_drained(&self, node: &str) {
        wait::until("nothing runs on the host that is drained", DEPLOYED, async || {
            let answer = self.client.read(&Query::allocations_of_node(node)).await;
            let all = answer.map_err(|error| lab::chain(&error))?.value;
            let left: Vec<String> =
                all.iter().filter(|one| !one.is_over()).map(|one| one.name.clone()).collect();
            if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
        })
        .await
        .unwrap();
    }

    /// Lets a node take allocations again.
    pub(crate) async fn end_drain(&self, node: &str) {
        self.client.drain(node, Drain::End).await.unwrap();
    }

    /// A `meshctl` command about jobs.
    pub(crate) fn meshctl(&self, mesh: &Mesh, words: impl IntoIterator<Item = String>) -> Program {
        let planes = mesh.planes.iter().map(|plane| format!("http://{}", plane.api()));
        Program::new("meshctl", &mesh.parts.our("meshctl").unwrap())
            .args(words)
            .args(["--nomad".to_owned(), self.client.address().to_owned()])
            .args(["--consul".to_owned(), mesh.consul.url()])
            .args(["--api".to_owned(), planes.collect::<Vec<_>>().join(",")])
    }

    /// The command that deploys a version.
    pub(crate) fn deploy(&self, mesh: &Mesh, version: &Version, flags: &[&str]) -> Program {
        let (file, variables) = version.file(mesh.dir());
        let begin = ["deploy".to_owned(), file.display().to_string(), "--yes".to_owned()];
        let flags = flags.iter().map(|&flag| flag.to_owned());
        self.meshctl(mesh, begin.into_iter().chain(variables).chain(flags))
    }
}
