//! The command lines of `jobs/service.nomad.hcl`, run as they are written: by hand, in the order in which Nomad starts and
//! ends tasks, in a network namespace as its bridge mode gives one.
//!
//! What the job says is read as `meshctl lint` reads it. The application is a sample's, with the job's ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use jobspec::node::Node;
use jobspec::scope::Scope;
use jobspec::source::Source;
use lab::netns::{NetNs, Network};
use lab::placer::ServiceSpec;
use lab::process::{self, Process, Program};
use lab::registry::{Check, Registration};
use lab::world::WorldOptions;
use meshctl::lint::job::{Group, Job};
use meshctl::lint::proxy::likely;

use crate::SOON;
use crate::scene::{Scene, TRADING, soon};

const JOB: &str = "jobs/service.nomad.hcl";

/// The job's group, with these control planes, and the path at which its check asks.
fn group(planes: &str) -> (Group, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join(JOB)).unwrap();
    let body = jobspec::parse(&text).unwrap();
    let given = BTreeMap::from([("control_planes".to_owned(), format!("[{planes:?}]"))]);
    let scope = Scope::of_file(&body, &given);
    let source = Source { name: JOB.to_owned(), text };
    let file = Node::of_file(&source, &body, scope);
    let within = ["group", "service", "check"];
    let check = within.iter().try_fold(file.block("job").unwrap(), |node, name| node.block(name));
    let path = check.unwrap().text("path").known().unwrap().clone();
    (Job::of_file(&file).remove(0).groups.remove(0), path)
}

/// A host of the bridge, and what Nomad would put on it.
struct Placed<'a> {
    scene: &'a Scene,
    group: Group,
    check: String,
    netns: NetNs,
    host: String,
}

impl Placed<'_> {
    /// What Nomad fills in, and this machine's programs in place of the image's.
    fn filled(&self, text: &str) -> String {
        let text = text
            .replace("${NOMAD_TASK_DIR}", &self.scene.dir().display().to_string())
            .replace("${NOMAD_HOST_IP_mesh}", &self.host)
            .replace("/usr/local/bin/envoy", &self.scene.parts.envoy.display().to_string())
            .replace(
                "/usr/local/bin/meshctl",
                &self.scene.parts.our("meshctl").unwrap().display().to_string(),
            );
        likely(&text, &self.group)
    }

    /// A task's command line in the namespace.
    fn program(&self, label: &str) -> Program {
        let task = self.group.tasks.iter().find(|task| task.label == label).unwrap();
        let words: Vec<String> =
            task.words.iter().map(|word| self.filled(word.as_ref().unwrap())).collect();
        let (binary, args) = words.split_first().unwrap();
        Program::new(label, Path::new(binary))
            .args(args.iter().cloned())
            .in_netns(Some(&self.netns))
    }

    fn start(&self, program: &Program) -> Process {
        Process::start(program, self.scene.dir()).unwrap()
    }

    /// What Nomad registers for the group's service.
    fn registration(&self, ip: std::net::Ipv4Addr) -> Registration {
        let service = self.group.mesh_services().next().unwrap();
        let meta = service.meta.keys.iter();
        let meta = meta.map(|(key, value)| (key.clone(), self.filled(value.known().unwrap())));
        let port = self.filled("${NOMAD_PORT_mesh}").parse().unwrap();
        let id = self.filled("_nomad-task-${NOMAD_ALLOC_ID}-group-orders-orders-mesh");
        Registration {
            id,
            name: service.called().to_owned(),
            address: SocketAddr::from((ip, port)),
            meta: meta.collect(),
            tags: Vec::new(),
            weight: 1,
            check: Check::Http(self.check.clone()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_jobs_command_lines_make_an_instance_that_starts_and_ends_in_order() {
    let test = "the_service_jobs_command_lines_make_an_instance_that_starts_and_ends_in_order";
    if let Err(why) = Network::is_possible() {
        return lab::parts::skip(test, "netns", &why);
    }
    let bridge = |options: &mut WorldOptions| options.bridge = true;
    let Some(mut scene) = Scene::with_consul(test, bridge).await else { return };
    scene.world.place(&[ServiceSpec::gateway("trading")]).await.unwrap();
    let network = scene.world.network().unwrap();
    let (netns, ip) = network.join().unwrap();
    let planes: Vec<String> =
        scene.world.control_planes.iter().map(|plane| plane.xds().to_string()).collect();
    let (group, check) = group(&planes.join(","));
    let placed =
        Placed { scene: &scene, group, check, host: network.host_address().to_string(), netns };

    // As Nomad starts them: both prestart tasks, then the application when the one that is no sidecar has ended.
    let mut envoy = placed.start(&placed.program("envoy"));
    process::run(&placed.program("wait-envoy")).await.unwrap();
    let app = Program::new("app", &scene.parts.our("orders").unwrap())
        .args(["--listen=127.0.0.1:8080", "--egress=http://127.0.0.1:15001", "--instance=by-job"])
        .in_netns(Some(&placed.netns));
    let mut app = placed.start(&app);
    let registration = placed.registration(ip);
    scene.world.registry().register(&registration).await.unwrap();
    soon("the check passes through the sidecar", async || {
        match scene.world.consul().unwrap().passing("orders").await {
            Ok(passing) if passing.contains(&registration.id) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    scene.world.apply("trading", TRADING).await.unwrap();
    scene.answers("/trading/orders/7", 200, "by-job").await;

    // As Nomad ends them: deregistered, then the application, then the sidecar.
    scene.world.registry().deregister(&registration.name, &registration.id).await.unwrap();
    scene.answers("/trading/orders/7", 503, "").await;
    assert!(app.stop(SOON).await.unwrap().success(), "{}", app.tail());
    let status = envoy.stop(SOON).await.unwrap();
    assert!(status.success() && envoy.tail().contains("nothing was cut"), "{}", envoy.tail());
    scene.end().await;
}
