//! The built program on a directory of files, and what can be seen of it from outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};
use tonic::transport::{Channel, Endpoint};

/// Services that every sidecar of the System may call.
const SERVICES: usize = 20;
/// Instances of each.
const INSTANCES: usize = 10;
/// How long anything may take that must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// One storm at a time: each has the machine for itself.
static TURN: Mutex<()> = Mutex::const_new(());

/// A running control plane.
pub(crate) struct Plane {
    _turn: MutexGuard<'static, ()>,
    process: Child,
    folder: tempfile::TempDir,
    xds: SocketAddr,
    admin: SocketAddr,
}

/// Awaits something that must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {DEADLINE:?}"),
    }
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], lab::ports::reserve().unwrap()))
}

/// One HTTP/1.1 exchange, headers included.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await?;
    Ok(text)
}

/// Registrations of a service of System `trading`, from this port on.
fn service(name: &str, port: u16) -> String {
    let instances = (0_u16..).take(INSTANCES).map(|n| {
        let port = port + n;
        format!("- {{id: {name}-{n}, address: 10.0.0.1, port: {port}, meta: {{mesh_system: trading}}}}\n")
    });
    format!("kind: Service\nname: {name}\ninstances:\n{}", instances.collect::<String>())
}

fn replace(folder: &Path, file: &str, text: &str) {
    let new = folder.join("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, folder.join(file)).unwrap();
}

/// See [`Plane::connect`].
pub(crate) async fn connect(xds: SocketAddr, window: u32) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{xds}")).unwrap();
    soon("a connection", endpoint.initial_stream_window_size(window).connect()).await.unwrap()
}

/// A directory of registrations.
#[derive(Clone)]
pub(crate) struct Registry(PathBuf);

impl Registry {
    /// Gives the instances of `s00` ports from this one on.
    pub(crate) fn move_instances(&self, port: u16) {
        replace(&self.0, "s00.yaml", &service("s00", port));
    }
}

impl Plane {
    /// Starts one and waits until it serves.
    pub(crate) async fn start() -> Self {
        let _turn = TURN.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let registry = folder.path().join("registry");
        std::fs::create_dir(&registry).unwrap();
        for n in 0..SERVICES {
            let name = format!("s{n:02}");
            replace(&registry, &format!("{name}.yaml"), &service(&name, 8000));
        }
        let (xds, admin, api) = (free_address(), free_address(), free_address());
        let config = format!(
            "registry = \"file\"\ndata_dir = \"\"\n\n[file]\ndirectory = {registry:?}\ninterval_ms = 20\n\n\
             [xds]\nlisten = \"{xds}\"\n\n[admin]\nlisten = \"{admin}\"\n\n[api]\nlisten = \"{api}\"\n"
        );
        let file = folder.path().join("control-plane.toml");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_control-plane"))
            .args(["run", "--config"])
            .arg(&file)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let plane = Self { _turn, process, folder, xds, admin };
        soon("readiness", async {
            while !get(admin, "/readyz").await.is_ok_and(|it| it.starts_with("HTTP/1.1 200")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        plane
    }

    /// The files that it follows.
    pub(crate) fn registry(&self) -> Registry {
        Registry(self.folder.path().join("registry"))
    }

    /// Where proxies connect.
    pub(crate) fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// A connection of its own; `window` bytes may be on their way to each of its streams.
    pub(crate) async fn connect(&self, window: u32) -> Channel {
        connect(self.xds, window).await
    }

    /// The sum of a metric's series whose line holds `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> u64 {
        let text = get(self.admin, "/metrics").await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Waits until a metric has reached a value.
    pub(crate) async fn until(&self, name: &str, label: &str, is_reached: impl Fn(u64) -> bool) {
        soon(&format!("{name}{{{label}}}"), async {
            while !is_reached(self.metric(name, label).await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let id = self.process.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}
