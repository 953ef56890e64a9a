//! An independent server of Fluentd's Forward protocol: npm's `@fluent-org/logger`, run by `tests/judges/fluent/server.js`.
//!
//! In: what it demands of clients. Out: every record that it took, as it understood it. The part is called `fluent`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::LabError;
use crate::parts;
use crate::process::{Process, Program};

const SOON: Duration = Duration::from_secs(20);

/// What it demands.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// The key that both sides know.
    pub shared_key: Option<String>,
    /// A user and its password, which needs a shared key.
    pub user: Option<(String, String)>,
    /// PEM files of its certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// PEM file of the authority of the clients' certificates.
    pub client_ca: Option<PathBuf>,
}

/// One record as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its tag.
    pub tag: String,
    /// Its time, nanoseconds since the epoch.
    pub time_ns: u64,
    /// The record.
    pub record: Value,
}

/// The running server.
#[derive(Debug)]
pub struct ForwardPeer {
    process: Process,
    address: SocketAddr,
}

impl ForwardPeer {
    /// What it calls itself in the handshake.
    pub const HOST: &'static str = "fluent-judge";

    /// Starts it; its output goes to `DIR/fluent.log`. `None` after [`parts::skip`].
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_or_skip(
        test: &str,
        demands: &Demands,
        dir: &Path,
    ) -> Result<Option<Self>, LabError> {
        let Some(modules) = parts::real_part_or_skip(test, "fluent") else { return Ok(None) };
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/judges/fluent/server.js");
        let program = Program::new("fluent", Path::new("/usr/bin/env"))
            .args(["node", &script.display().to_string(), &demands.settings().to_string()])
            .env("NODE_PATH", modules.display().to_string());
        let mut process = Process::start(&program, dir)?;
        let log = process.log().to_owned();
        let port = process
            .until("the Forward server says its port", SOON, async || {
                let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
                let first = text.split_once('\n').map(|(first, _)| first).ok_or("no line yet")?;
                let line: Value = serde_json::from_str(first).map_err(|error| error.to_string())?;
                let port =
                    line.get("port").and_then(Value::as_u64).and_then(|it| it.try_into().ok());
                port.ok_or_else(|| format!("no port in {first}"))
            })
            .await?;
        Ok(Some(Self { process, address: (Ipv4Addr::LOCALHOST, port).into() }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What arrived so far.
    pub fn entries(&self) -> Vec<Entry> {
        let text = std::fs::read_to_string(self.process.log()).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(entry).collect()
    }
}

fn entry(line: &str) -> Option<Entry> {
    let line: Value = serde_json::from_str(line).ok()?;
    let tag = line.get("tag")?.as_str()?.to_owned();
    let time_ns = line.get("seconds")?.as_u64()? * 1_000_000_000 + line.get("ns")?.as_u64()?;
    Some(Entry { tag, time_ns, record: line.get("record")?.clone() })
}

impl Demands {
    fn settings(&self) -> Value {
        let security = self.shared_key.as_ref().map(|key| {
            let users = self.user.iter().map(|(user, password)| (user.clone(), json!(password)));
            json!({
                "serverHostname": ForwardPeer::HOST,
                "sharedKey": key,
                "authorize": self.user.is_some(),
                "userDict": Value::Object(users.collect()),
            })
        });
        let tls = self.tls.as_ref().map(|(certificate, key)| {
            json!({"certFile": certificate, "keyFile": key, "caFile": self.client_ca})
        });
        json!({"port": 0, "security": security, "tls": tls})
    }
}
