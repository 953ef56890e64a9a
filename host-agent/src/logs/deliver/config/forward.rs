//! `[logs.destinations.NAME.forward]`.
//!
//! In: the raw table. Out: a [`ForwardConfig`] with secrets read and TLS set up, or every problem with its key.

mod resolved;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Problems;
use service::secret::Secret;

pub use resolved::{Credentials, ForwardConfig, ServerConfig};

use super::line_file;
use crate::logs::deliver::tls::{self, TlsFiles};

/// Port of Forward where an address has none.
const PORT: u16 = 24224;

/// `[logs.destinations.NAME.forward]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawForward {
    /// The servers, `[[logs.destinations.NAME.forward.servers]]`.
    pub servers: Vec<RawServer>,
    /// File with the key that both sides know; without it there is no handshake.
    pub shared_key_file: Option<PathBuf>,
    /// User, where the server demands one.
    pub user: Option<String>,
    /// File with the user's password.
    pub password_file: Option<PathBuf>,
    /// TLS; absent: plain TCP.
    pub tls: Option<RawTls>,
    /// `gzip`, `none`, or `zstd`, which only fluentd 1.19 and later understands.
    pub compression: Compression,
    /// Whether servers must acknowledge. Without it a broken connection loses what was in flight.
    pub require_ack: bool,
    /// Time after which a chunk without acknowledgement is sent again, in seconds.
    pub ack_timeout_s: u64,
    /// Whether a connection carries more than one message.
    pub keepalive: bool,
    /// Time to connect, TLS and handshake included, in seconds.
    pub connect_timeout_s: u64,
    /// How often a server that carries nothing is tried by connecting to it, in seconds.
    pub heartbeat_s: u64,
    /// Longest pause between attempts to reach a server, in seconds.
    pub backoff_max_s: u64,
    /// Largest chunk before compression; a message above it is sent in parts, a record above it alone.
    pub chunk_kb: u64,
    /// Bytes in flight and waiting to be sent again, before compression.
    pub window_mb: u64,
    /// Messages in flight and waiting to be sent again: at most so many are repeated after a crash.
    pub window_messages: u32,
    /// How often a record must have been refused, while others passed, before it is a dead letter.
    pub refusals: u32,
    /// Where dead letters are written; absent: in the agent's state folder.
    pub dead_letter_file: Option<PathBuf>,
    /// Size at which that file is rotated.
    pub dead_letter_max_mb: u64,
    /// Dead-letter files kept, the current one included.
    pub dead_letter_keep: u32,
}

impl Default for RawForward {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            shared_key_file: None,
            user: None,
            password_file: None,
            tls: None,
            compression: Compression::Gzip,
            require_ack: true,
            ack_timeout_s: 20,
            keepalive: true,
            connect_timeout_s: 5,
            heartbeat_s: 5,
            backoff_max_s: 10,
            chunk_kb: 4096,
            window_mb: 16,
            window_messages: 16,
            refusals: 3,
            dead_letter_file: None,
            dead_letter_max_mb: 64,
            dead_letter_keep: 4,
        }
    }
}

/// `[[logs.destinations.NAME.forward.servers]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawServer {
    /// `HOST` or `HOST:PORT`.
    pub address: String,
    /// Share of the chunks among servers that are up.
    pub weight: u32,
    /// Whether it gets chunks only while no other server is up.
    pub standby: bool,
    /// Name in its certificate, where it differs from the host.
    pub tls_server_name: Option<String>,
}

impl Default for RawServer {
    fn default() -> Self {
        Self { address: String::new(), weight: 1, standby: false, tls_server_name: None }
    }
}

/// `[logs.destinations.NAME.forward.tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTls {
    /// PEM file of the authorities that sign the servers' certificates; absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate shown to servers.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub key_file: Option<PathBuf>,
}

/// How the entries of a chunk are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// `option.compressed = "gzip"`, the protocol's own.
    #[default]
    Gzip,
    /// `option.compressed = "zstd"`: fluentd 1.19 and later; others close the connection.
    Zstd,
    /// As they are.
    None,
}

impl RawForward {
    /// What the output works with; what is wrong is noted under `key`, the path of this table.
    pub(super) fn resolve(
        self,
        key: &str,
        default_dead_letters: PathBuf,
        problems: &mut Problems,
    ) -> Option<ForwardConfig> {
        let servers = servers(key, &self.servers, problems);
        let credentials = self.credentials(key, problems);
        let tls = self.tls.as_ref().map(|raw| raw.resolve(&format!("{key}.tls"), problems));
        for (name, value) in [
            ("ack_timeout_s", self.ack_timeout_s),
            ("connect_timeout_s", self.connect_timeout_s),
            ("heartbeat_s", self.heartbeat_s),
            ("backoff_max_s", self.backoff_max_s),
            ("chunk_kb", self.chunk_kb),
            ("window_mb", self.window_mb),
            ("window_messages", self.window_messages.into()),
            ("refusals", self.refusals.into()),
        ] {
            if value == 0 {
                problems.add(format!("{key}.{name}"), "must be at least 1");
            }
        }
        let dead_letters = line_file(
            key,
            Some(self.dead_letter_file.unwrap_or(default_dead_letters)),
            (self.dead_letter_max_mb, "dead_letter_max_mb"),
            (self.dead_letter_keep, "dead_letter_keep"),
            problems,
        );
        Some(ForwardConfig {
            servers,
            credentials,
            tls: tls.flatten(),
            compression: self.compression,
            require_ack: self.require_ack,
            ack_timeout: Duration::from_secs(self.ack_timeout_s),
            keepalive: self.keepalive,
            connect_timeout: Duration::from_secs(self.connect_timeout_s),
            heartbeat: Duration::from_secs(self.heartbeat_s),
            backoff_max: Duration::from_secs(self.backoff_max_s),
            chunk_bytes: bytes(self.chunk_kb, 1024),
            window_bytes: bytes(self.window_mb, 1024 * 1024),
            window_messages: usize::try_from(self.window_messages).unwrap_or(usize::MAX),
            refusals: self.refusals,
            dead_letters: dead_letters?,
        })
    }

    fn credentials(&self, key: &str, problems: &mut Problems) -> Option<Credentials> {
        let mut read = |name: &str, file: &PathBuf| {
            problems.take(&format!("{key}.{name}"), Secret::from_file(file))
        };
        let shared_key = self.shared_key_file.as_ref().map(|file| read("shared_key_file", file));
        let password = self.password_file.as_ref().map(|file| read("password_file", file));
        if self.user.is_some() != password.is_some() {
            problems.add(format!("{key}.user"), "user and password_file belong together");
        }
        if self.user.is_some() && shared_key.is_none() {
            let why = "a user is told in the handshake, which needs a shared key";
            problems.add(format!("{key}.shared_key_file"), why);
        }
        let user = self.user.clone().zip(password.flatten());
        Some(Credentials { shared_key: shared_key??, user })
    }
}

fn bytes(value: u64, unit: u64) -> usize {
    usize::try_from(value.saturating_mul(unit)).unwrap_or(usize::MAX)
}

fn servers(key: &str, raw: &[RawServer], problems: &mut Problems) -> Vec<ServerConfig> {
    if raw.is_empty() {
        problems.add(format!("{key}.servers"), "name at least one server");
    } else if raw.iter().all(|server| server.standby) {
        problems.add(format!("{key}.servers"), "at least one server must not be a standby");
    }
    let mut servers: Vec<ServerConfig> = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let key = format!("{key}.servers.{index}");
        if raw.weight == 0 {
            problems.add(format!("{key}.weight"), "must be at least 1");
        }
        let Some((host, port)) = problems.take(&format!("{key}.address"), address(&raw.address))
        else {
            continue;
        };
        let tls_server_name = raw.tls_server_name.clone().unwrap_or_else(|| host.clone());
        if rustls::pki_types::ServerName::try_from(tls_server_name.as_str()).is_err() {
            problems.add(format!("{key}.tls_server_name"), "is no DNS name or address");
        }
        let server =
            ServerConfig { host, port, weight: raw.weight, standby: raw.standby, tls_server_name };
        if servers.iter().any(|other| other.host == server.host && other.port == port) {
            problems.add(format!("{key}.address"), format!("{server} is there twice"));
        }
        servers.push(server);
    }
    servers
}

/// `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`.
fn address(text: &str) -> Result<(String, u16), String> {
    let wrong =
        || format!("{text:?} is no address: write HOST or HOST:PORT, [ADDRESS]:PORT for IPv6");
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(wrong)?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| wrong()))?;
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

impl RawTls {
    fn resolve(
        &self,
        key: &str,
        problems: &mut Problems,
    ) -> Option<std::sync::Arc<rustls::ClientConfig>> {
        let identity = problems.certificate(key, self.cert_file.clone(), self.key_file.clone());
        let files = TlsFiles { ca: self.ca_file.clone(), identity };
        problems.take(
            key,
            tls::client_config(&files).map_err(|error| service::ErrorChain(&error).to_string()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(raw: RawForward) -> Result<ForwardConfig, String> {
        let mut problems = Problems::default();
        let config = raw.resolve("f", PathBuf::from("/state/dead.jsonl"), &mut problems);
        problems.finish(None, config).map_err(|error| error.to_string())
    }

    fn one(address: &str) -> Vec<RawServer> {
        vec![RawServer { address: address.to_owned(), ..RawServer::default() }]
    }

    #[test]
    fn an_address_may_leave_out_the_port() {
        assert_eq!(address("fluentd"), Ok(("fluentd".to_owned(), 24224)));
        assert_eq!(address("10.0.0.1:5000"), Ok(("10.0.0.1".to_owned(), 5000)));
        assert_eq!(address("[::1]:5000"), Ok(("::1".to_owned(), 5000)));
        assert_eq!(address("[::1]"), Ok(("::1".to_owned(), 24224)));
        for wrong in ["", ":5000", "a:b", "a:0", "::1", "[::1]5"] {
            assert!(address(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_defaults_need_only_a_server() {
        let config =
            resolve(RawForward { servers: one("fluentd"), ..RawForward::default() }).unwrap();
        assert_eq!(config.servers[0].to_string(), "fluentd:24224");
        assert_eq!(config.compression, Compression::Gzip);
        assert!(config.require_ack && config.credentials.is_none() && config.tls.is_none());
        assert_eq!(config.ack_timeout, Duration::from_secs(20));
        assert_eq!(config.dead_letters.path, PathBuf::from("/state/dead.jsonl"));
    }

    #[test]
    fn every_problem_is_named_with_its_key() {
        let raw = RawForward {
            servers: vec![
                RawServer { address: "a:x".to_owned(), standby: true, ..RawServer::default() },
                RawServer {
                    weight: 0,
                    standby: true,
                    address: "b".to_owned(),
                    tls_server_name: None,
                },
            ],
            shared_key_file: Some("/nonexistent/key".into()),
            user: Some("agent".to_owned()),
            window_mb: 0,
            dead_letter_keep: 0,
            ..RawForward::default()
        };
        let text = resolve(raw).unwrap_err();
        for key in [
            "f.servers: at least one server must not be a standby",
            "f.servers.0.address: ",
            "f.servers.1.weight: ",
            "f.shared_key_file: ",
            "f.user: user and password_file belong together",
            "f.window_mb: ",
            "f.dead_letter_keep: ",
        ] {
            assert!(text.contains(key), "{key} is missing in {text}");
        }
    }

    #[test]
    fn secrets_are_read_from_files_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let config = resolve(RawForward {
            servers: one("fluentd"),
            shared_key_file: file("key", "s3cret\n"),
            user: Some("agent".to_owned()),
            password_file: file("password", "pa55\n"),
            ..RawForward::default()
        })
        .unwrap();
        let printed = format!("{config:?}");
        assert!(!printed.contains("s3cret") && !printed.contains("pa55"), "{printed}");
        let credentials = config.credentials.unwrap();
        assert_eq!(credentials.shared_key.expose(), "s3cret");
        let (user, password) = credentials.user.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("agent", "pa55"));
    }
}
