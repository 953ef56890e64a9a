//! Connections: who may use which, and how many.
//!
//! In: [`ConsulConfig`]. Out: a [`Seat`] for each watch, a permit for each one-shot request. Used by the client only.
//!
//! HTTPS is HTTP/2: up to `streams_per_connection` watches share a connection, and the least loaded takes the next one,
//! because the HTTP library opens one connection per client and queues what exceeds its streams.
//! Plain HTTP has a connection per watch, and Consul closes what exceeds its limit per source address: hence a cap well
//! below it. One-shot requests have connections of their own, so that they never queue behind watches.
//!
//! **Invariants**: a watch has its seat as long as it lives, or is refused; proxies from the environment are not used.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url};
use service::tls;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::config::{ConfigError, ConsulConfig};
use crate::error::ConsulError;

/// The connections of one client.
#[derive(Debug)]
pub(crate) struct Transport {
    base: Url,
    config: ConsulConfig,
    shards: Mutex<Vec<Shard>>,
    reads: Client,
    read_permits: Semaphore,
}

#[derive(Debug)]
struct Shard {
    client: Client,
    seats: Arc<Semaphore>,
}

/// A watch's place on a connection; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) client: Client,
    _permit: OwnedSemaphorePermit,
}

impl Transport {
    pub(crate) fn new(config: ConsulConfig) -> Result<Self, ConfigError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ConfigError::NoCryptoProvider);
        }
        let base = base_url(&config)?;
        let reads = build_client(&config, config.limits.reads)?;
        let read_permits = Semaphore::new(config.limits.reads.max(1));
        Ok(Self { base, config, shards: Mutex::default(), reads, read_permits })
    }

    /// `path` below `/v1`.
    pub(crate) fn url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url
    }

    pub(crate) fn config(&self) -> &ConsulConfig {
        &self.config
    }

    /// The client for one-shot requests; hold a [`Self::read_permit`] while using it.
    pub(crate) fn reads(&self) -> &Client {
        &self.reads
    }

    pub(crate) async fn read_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.read_permits.acquire().await.ok()
    }

    /// A place for one more watch, on the least loaded connection.
    pub(crate) fn seat(&self, request: String) -> Result<Seat, ConsulError> {
        let limits = &self.config.limits;
        let (shards_max, seats_max) = if self.config.is_tls() {
            (limits.watch_connections, limits.streams_per_connection)
        } else {
            (1, limits.plain_watches)
        };
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let least_loaded = shards.iter().max_by_key(|shard| shard.seats.available_permits());
        if let Some(seat) = least_loaded.and_then(Shard::seat) {
            return Ok(seat);
        }
        if shards.len() < shards_max.max(1) {
            let client = match build_client(&self.config, limits.plain_watches) {
                Ok(client) => client,
                Err(source) => return Err(ConsulError::Setup { request, source }),
            };
            let shard = Shard { client, seats: Arc::new(Semaphore::new(seats_max)) };
            let seat = shard.seat();
            shards.push(shard);
            if let Some(seat) = seat {
                return Ok(seat);
            }
        }
        Err(ConsulError::NoCapacity { request, watches: shards.len() * seats_max })
    }

    /// Own watches and reads that exist now.
    pub(crate) fn open(&self) -> usize {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = &self.config.limits;
        let seats =
            if self.config.is_tls() { limits.streams_per_connection } else { limits.plain_watches };
        let watches: usize =
            shards.iter().map(|shard| seats.saturating_sub(shard.seats.available_permits())).sum();
        watches + limits.reads.max(1).saturating_sub(self.read_permits.available_permits())
    }
}

impl Shard {
    fn seat(&self) -> Option<Seat> {
        let permit = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        Some(Seat { client: self.client.clone(), _permit: permit })
    }
}

/// The address as a URL; its host is the TLS server name where one is configured.
fn base_url(config: &ConsulConfig) -> Result<Url, ConfigError> {
    let wrong = |problem: String| ConfigError::Address { address: config.address.clone(), problem };
    let mut url = Url::parse(&config.address).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("is neither http:// nor https://".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(wrong("carries credentials or parameters".to_owned()));
    }
    if config.wait.is_zero() || config.wait > Duration::from_secs(600) {
        return Err(ConfigError::Range {
            key: "wait",
            expected: "more than 0 and at most 10 minutes",
        });
    }
    if let Some(name) = config.tls_server_name.as_deref().filter(|_| config.is_tls()) {
        url.set_host(Some(name))
            .map_err(|error| wrong(format!("has a bad TLS server name ({error})")))?;
    }
    Ok(url)
}

/// On plain HTTP it keeps up to `idle` connections for later.
fn build_client(config: &ConsulConfig, idle: usize) -> Result<Client, ConfigError> {
    let limits = &config.limits;
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("ayatori/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(15))
        .tcp_user_timeout(Duration::from_secs(30))
        .gzip(!is_loopback(config));
    if config.is_tls() {
        builder = builder
            .http2_prior_knowledge()
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .http2_keep_alive_while_idle(true);
    } else {
        builder = builder.http1_only().pool_max_idle_per_host(idle.max(1));
    }
    let (authorities, certificate) =
        (config.ca_file.as_deref(), config.client_certificate.as_ref());
    builder = tls::set_up(builder, config.is_tls(), authorities, certificate)?;
    if config.is_tls() && config.tls_server_name.is_some() {
        builder = builder.dns_resolver(Arc::new(ConfiguredHost::of(config)));
    }
    builder
        .build()
        .map_err(|source| ConfigError::Client { address: config.address.clone(), source })
}

/// Over loopback, compressing costs Consul more time than it saves.
fn is_loopback(config: &ConsulConfig) -> bool {
    let url = Url::parse(&config.address).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Resolves any name to the configured host, so that the URL can carry the TLS server name.
#[derive(Debug)]
struct ConfiguredHost {
    host: String,
}

impl ConfiguredHost {
    fn of(config: &ConsulConfig) -> Self {
        let url = Url::parse(&config.address).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        Self { host: host.trim_matches(['[', ']']).to_owned() }
    }
}

impl Resolve for ConfiguredHost {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
