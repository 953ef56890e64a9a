//! A real Consul: one agent that is server and leader, on ports that the kernel chose.
//!
//! The binary is `AYATORI_CONSUL`, or else `consul` on the PATH.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use service::secret::Secret;

use crate::{ConsulClient, ConsulConfig, ConsulError, Query, Token};

/// How the agent runs.
#[derive(Debug, Clone, Default)]
pub struct ConsulOptions {
    /// ACLs on, denying by default; [`ConsulProcess::management_token`] may do everything.
    pub has_acl: bool,
    /// State on disk, so that it survives [`ConsulProcess::restart`].
    pub is_persistent: bool,
    /// PEM texts of a certificate and its key: HTTPS beside HTTP.
    pub tls: Option<(String, String)>,
}

/// A running Consul agent; ends with its value.
#[derive(Debug)]
pub struct ConsulProcess {
    child: Child,
    binary: PathBuf,
    options: ConsulOptions,
    folder: tempfile::TempDir,
    ports: Ports,
}

#[derive(Debug)]
struct Ports {
    http: u16,
    https: u16,
    server: u16,
    serf_lan: u16,
    serf_wan: u16,
}

impl ConsulProcess {
    /// Starts an agent and waits until it leads; `None`, after saying so, where there is no Consul.
    ///
    /// # Panics
    /// When `E2E_REQUIRE` names `consul` and there is none, or when it does not start.
    #[expect(
        clippy::panic,
        clippy::print_stderr,
        reason = "a fixture of tests: a test must fail or say that it is skipped"
    )]
    pub async fn start(options: ConsulOptions) -> Option<Self> {
        let Some(binary) = binary() else {
            let required = std::env::var_os("E2E_REQUIRE").unwrap_or_default();
            let is_required = required.to_string_lossy().split(',').any(|part| part == "consul");
            assert!(
                !is_required,
                "E2E_REQUIRE names consul, and there is none: set AYATORI_CONSUL"
            );
            eprintln!("SKIP: no consul on the PATH, and AYATORI_CONSUL is not set");
            return None;
        };
        match Self::launch(binary, options).await {
            Ok(process) => Some(process),
            Err(error) => panic!("consul does not start: {error}"),
        }
    }

    async fn launch(binary: PathBuf, options: ConsulOptions) -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ports = Ports::choose()?;
        write_configuration(folder.path(), &ports, &options)?;
        let child = spawn(&binary, folder.path(), &options)?;
        let mut process = Self { child, binary, options, folder, ports };
        process.until_ready().await?;
        Ok(process)
    }

    /// `http://…`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// `https://…`, where TLS is on.
    pub fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.https)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The token that may do everything, where ACLs are on.
    pub fn management_token(&self) -> &'static str {
        "5a1f9c1e-0000-4000-8000-000000000001"
    }

    /// A client over plain HTTP that may do everything.
    ///
    /// # Errors
    /// As [`ConsulClient::new`].
    pub fn client(&self) -> Result<ConsulClient, crate::ConfigError> {
        super::install_crypto_provider();
        let mut config = ConsulConfig::new(self.url());
        if self.options.has_acl {
            config.token = Token::Value(Secret::new(self.management_token().to_owned()));
        }
        ConsulClient::new(config)
    }

    /// Any request to `path` below `/v1`, with all rights: ACLs, snapshots, registrations of other nodes.
    ///
    /// # Errors
    /// As Consul answers.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Vec<u8>>,
    ) -> Result<Vec<u8>, ConsulError> {
        let client = self.client().map_err(|source| ConsulError::Setup {
            request: format!("{method} /v1/{path}"),
            source,
        })?;
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let request = client.request(method, path.split('/'), None).body(body.into());
        client.submit(request, "none: the management token may do everything").await
    }

    /// Freezes the agent: connections live, nothing answers.
    ///
    /// # Errors
    /// When it is gone.
    pub fn freeze(&self) -> std::io::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Ends [`Self::freeze`].
    ///
    /// # Errors
    /// When it is gone.
    pub fn thaw(&self) -> std::io::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Ends it as by `kill -9`.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again on the same ports, after [`Self::kill`].
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self) -> std::io::Result<()> {
        self.child = spawn(&self.binary, self.folder.path(), &self.options)?;
        self.until_ready().await
    }

    /// Connections that clients have open to its HTTP port.
    ///
    /// # Errors
    /// Where there is no `/proc/net/tcp`.
    pub fn connections(&self) -> std::io::Result<usize> {
        connections_to(self.ports.http)
    }

    /// Connections that clients have open to its HTTPS port.
    ///
    /// # Errors
    /// Where there is no `/proc/net/tcp`.
    pub fn tls_connections(&self) -> std::io::Result<usize> {
        connections_to(self.ports.https)
    }

    fn signal(&self, signal: Signal) -> std::io::Result<()> {
        let pid = i32::try_from(self.child.id()).map_err(std::io::Error::other)?;
        kill(Pid::from_raw(pid), signal).map_err(std::io::Error::from)
    }

    /// Until it leads and its own registration is visible, without opening many connections.
    async fn until_ready(&mut self) -> std::io::Result<()> {
        let client = self.client().map_err(std::io::Error::other)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        let own = Query::health_service("consul");
        loop {
            let own = client.read(&own, crate::Consistency::Default);
            if own.await.is_ok_and(|answer| !answer.value.is_empty()) {
                return Ok(());
            }
            if Instant::now() > deadline || self.child.try_wait()?.is_some() {
                let log =
                    std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(std::io::Error::other(format!("not ready; its log:\n{log}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for ConsulProcess {
    fn drop(&mut self) {
        // It may be gone already, which is what is wanted.
        drop(self.kill());
    }
}

impl Ports {
    fn choose() -> std::io::Result<Self> {
        let next = || lab::ports::reserve().map_err(std::io::Error::other);
        Ok(Self {
            http: next()?,
            https: next()?,
            server: next()?,
            serf_lan: next()?,
            serf_wan: next()?,
        })
    }
}

/// Established connections of this host's own to a port.
fn connections_to(port: u16) -> std::io::Result<usize> {
    const ESTABLISHED: &str = "01";
    let ours = format!(":{port:04X}");
    let is_ours = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next().unwrap_or_default(), fields.nth(1));
        state == Some(ESTABLISHED) && local.ends_with(&ours)
    };
    Ok(std::fs::read_to_string("/proc/net/tcp")?.lines().filter(is_ours).count())
}

fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("AYATORI_CONSUL") {
        return Some(path.into());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join("consul")).find(|path| path.is_file())
}

fn write_configuration(
    folder: &Path,
    ports: &Ports,
    options: &ConsulOptions,
) -> std::io::Result<()> {
    let Ports { http, https, server, serf_lan, serf_wan } = ports;
    let https = if options.tls.is_some() { i64::from(*https) } else { -1 };
    let mut hcl = format!(
        r#"
        node_name = "host-1"
        disable_update_check = true
        bind_addr = "127.0.0.1"
        performance {{ raft_multiplier = 1 }}
        ports {{ http = {http} https = {https} grpc = -1 dns = -1 server = {server} serf_lan = {serf_lan} serf_wan = {serf_wan} }}
        "#
    );
    if options.is_persistent {
        let data = folder.join("data");
        hcl.push_str(&format!("server = true\nbootstrap_expect = 1\ndata_dir = {data:?}\n"));
    }
    if options.has_acl {
        hcl.push_str(
            r#"acl { enabled = true default_policy = "deny" tokens { master = "5a1f9c1e-0000-4000-8000-000000000001" agent = "5a1f9c1e-0000-4000-8000-000000000001" } }"#,
        );
    }
    if let Some((certificate, key)) = &options.tls {
        let (certificate_file, key_file) = (folder.join("tls.pem"), folder.join("tls.key"));
        std::fs::write(&certificate_file, certificate)?;
        std::fs::write(&key_file, key)?;
        hcl.push_str(&format!("cert_file = {certificate_file:?}\nkey_file = {key_file:?}\n"));
    }
    std::fs::File::create(folder.join("agent.hcl"))?.write_all(hcl.as_bytes())
}

fn spawn(binary: &Path, folder: &Path, options: &ConsulOptions) -> std::io::Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(binary);
    command.args([
        OsStr::new("agent"),
        OsStr::new("-config-file"),
        folder.join("agent.hcl").as_os_str(),
    ]);
    if !options.is_persistent {
        command.arg("-dev");
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}
