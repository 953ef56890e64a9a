//! Network namespaces, as Nomad's bridge mode gives one to each task group. Needs root and iproute2's `ip`.
//!
//! A [`Network`] is a host of its own: one namespace with a bridge, where Consul, control planes and the Router live,
//! and a namespace per pair, joined to the bridge by a veth pair. Addresses are private and exist only inside;
//! the machine's own network is never touched. Unlike Nomad, no host port is mapped to a pair: the registered
//! address is the pair's own (Nomad's `address_mode = "alloc"`).
//!
//! Namespaces go when their owner is dropped; what a killed lab left is removed by the next one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;

use crate::LabError;

const SUBNET: [u8; 3] = [10, 213, 0];
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

static NEXT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Owned {
    name: String,
}

/// A network namespace of ours; the last clone removes it.
#[derive(Debug, Clone)]
pub struct NetNs(Arc<Owned>);

impl NetNs {
    fn create() -> Result<Self, LabError> {
        let name = format!("lab-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&format!("netns add {name}"))?;
        let netns = Self(Arc::new(Owned { name }));
        ip(&format!("-n {} link set lo up", netns.name()))?;
        Ok(netns)
    }

    /// Its name for `ip netns`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Opens a TCP connection from inside; the socket then works from anywhere.
    pub async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let path = format!("/run/netns/{}", self.name());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A thread of its own, because it stays in the namespace until it ends.
        std::thread::spawn(move || {
            let connect = || {
                setns(std::fs::File::open(path)?, CloneFlags::CLONE_NEWNET)?;
                let stream = std::net::TcpStream::connect_timeout(&address, CONNECT_DEADLINE)?;
                stream.set_nonblocking(true)?;
                Ok(stream)
            };
            // Nobody listens any more when the caller gave up: nothing is lost.
            sender.send(connect()).ok();
        });
        let stream: std::io::Result<_> =
            receiver.await.unwrap_or_else(|_| Err(std::io::ErrorKind::BrokenPipe.into()));
        TcpStream::from_std(stream?)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // A namespace that cannot be removed now is removed by the next lab.
        ip(&format!("netns del {}", self.name)).ok();
    }
}

/// A host in a namespace of its own, to which pairs are joined.
#[derive(Debug)]
pub struct Network {
    host: NetNs,
    next: AtomicU8,
}

impl Network {
    /// Whether this machine can have one; `Err` says why not.
    pub fn is_possible() -> Result<(), String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("network namespaces need root".to_owned());
        }
        ip("netns list").map(|_| ()).map_err(|error| crate::chain(&error))
    }

    /// Makes the host and its bridge.
    pub fn create() -> Result<Self, LabError> {
        remove_stale()?;
        let host = NetNs::create()?;
        let name = host.name();
        // Without an address of its own a bridge takes a member's, and loses packets when that one leaves.
        ip(&format!("-n {name} link add mesh0 address 02:00:0a:d5:00:01 type bridge"))?;
        let address = Ipv4Addr::new(SUBNET[0], SUBNET[1], SUBNET[2], 1);
        ip(&format!("-n {name} addr add {address}/24 dev mesh0"))?;
        ip(&format!("-n {name} link set mesh0 up"))?;
        Ok(Self { host, next: AtomicU8::new(2) })
    }

    /// The namespace of the host.
    pub fn host(&self) -> &NetNs {
        &self.host
    }

    /// The host's address, as pairs reach it.
    pub fn host_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(SUBNET[0], SUBNET[1], SUBNET[2], 1)
    }

    /// Makes a namespace joined to the bridge, and its address.
    pub fn join(&self) -> Result<(NetNs, Ipv4Addr), LabError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if !(2..=254).contains(&number) {
            return Err(LabError::Missing {
                what: format!("an address for pair {number}"),
                next: "one network holds 253 pairs; create another".to_owned(),
            });
        }
        let address = Ipv4Addr::new(SUBNET[0], SUBNET[1], SUBNET[2], number);
        let pair = NetNs::create()?;
        let (host, name, near) = (self.host.name(), pair.name(), format!("pair{number}"));
        ip(&format!("-n {host} link add {near} type veth peer name eth0 netns {name}"))?;
        ip(&format!("-n {host} link set {near} master mesh0 up"))?;
        ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        Ok((pair, address))
    }
}

/// Removes the namespaces of labs whose process is gone.
fn remove_stale() -> Result<(), LabError> {
    for line in ip("netns list")?.lines() {
        let Some(name) = line.split_whitespace().next() else { continue };
        let owner = name.strip_prefix("lab-").and_then(|rest| rest.split('-').next());
        let is_stale = owner.is_some_and(|id| !Path::new("/proc").join(id).exists());
        // Another lab may be at it too, and be quicker.
        if is_stale
            && let Err(error) = ip(&format!("netns del {name}"))
            && Path::new("/run/netns").join(name).exists()
        {
            return Err(error);
        }
    }
    Ok(())
}

fn ip(words: &str) -> Result<String, LabError> {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .map_err(LabError::io(format!("run ip {words} (install iproute2)")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Ended {
        process: format!("ip {words}"),
        status: output.status.to_string(),
        tail: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
