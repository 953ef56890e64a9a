//! A real Envoy, what it is asked, and an application behind it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::Source;
use crate::harness::*;

/// The binary, or a loud skip.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find their real parts through the environment"
)]
#[expect(clippy::print_stderr, reason = "a skip is loud")]
pub(super) fn envoy() -> Option<PathBuf> {
    if let Ok(path) = std::env::var("AYATORI_ENVOY") {
        return Some(path.into());
    }
    let required = std::env::var("E2E_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|part| part == "envoy"), "AYATORI_ENVOY names no Envoy");
    eprintln!("SKIP real Envoy: AYATORI_ENVOY is not set");
    None
}

/// One HTTP/1.1 exchange; the body, or what went wrong.
async fn get(port: u16, path: &str) -> Result<String, std::io::Error> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await?;
    Ok(text)
}

/// An application that answers every request with its name.
pub(super) async fn application(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "the test owns its application")]
    drop(tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let length = name.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{name}"
            );
            if connection.read(&mut request).await.is_ok() {
                // The client may have gone.
                drop(connection.write_all(answer.as_bytes()).await);
            }
        }
    }));
    port
}

/// A running Envoy.
pub(super) struct Envoy {
    admin: u16,
    /// Of its listener.
    pub(super) port: u16,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Envoy {
    /// Starts one whose clusters and listeners come from `source`; it speaks ADS of the variant `api_type` besides.
    pub(super) async fn start(
        binary: &PathBuf,
        server: &Server,
        api_type: &str,
        source: Source,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (_, xds) = server.address.rsplit_once(':').unwrap();
        let port = lab::ports::reserve().unwrap();
        let bootstrap = include_str!("../envoy.yaml")
            .replace("SOURCE", &source.in_bootstrap())
            .replace("API_TYPE", api_type)
            .replace("XDS", xds);
        let (config, admin) = (folder.path().join("envoy.yaml"), folder.path().join("admin"));
        std::fs::write(&config, bootstrap).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(binary)
            .arg("-c")
            .arg(&config)
            .args(["--use-dynamic-base-id", "--concurrency", "1", "--admin-address-path"])
            .arg(&admin)
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let admin = until("Envoy's admin port", async || {
            let text = std::fs::read_to_string(&admin).ok()?;
            text.rsplit_once(':')?.1.trim().parse().ok()
        })
        .await;
        Self { admin, port, _process: process, _folder: folder }
    }

    pub(super) async fn stat(&self, name: &str) -> Option<u64> {
        let text = get(self.admin, &format!("/stats?filter={name}$")).await.ok()?;
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.filter_map(|(_, value)| value.trim().parse::<u64>().ok()).reduce(|a, b| a + b)
    }

    /// Which application answers.
    pub(super) async fn answers(&self, name: &str) {
        until(name, async || {
            let text = get(self.port, "/").await.ok()?;
            (text.starts_with("HTTP/1.1 200") && text.ends_with(name)).then_some(())
        })
        .await;
    }

    /// Sends requests one after the other while something happens: each must succeed.
    pub(super) async fn without_a_failure(&self, happening: impl Future<Output = ()>) {
        let requests = async {
            loop {
                let answer = get(self.port, "/").await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
        };
        tokio::select! {
            () = happening => {}
            never = requests => never,
        }
    }

    pub(super) async fn check_nothing_went_wrong(&self) {
        for stat in
            ["update_rejected", "init_fetch_timeout", "warming_clusters", "total_listeners_warming"]
        {
            assert_eq!(self.stat(stat).await, Some(0), "{stat}");
        }
    }
}

/// Asks again until there is an answer.
pub(super) async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}
