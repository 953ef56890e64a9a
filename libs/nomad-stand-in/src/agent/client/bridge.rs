//! Bridge networks: a network namespace for each allocation, its host ports led into it.
//!
//! Only where the agent itself lives in a named network namespace, as the lab makes hosts: the machine's own tables are
//! never touched. Needs root, iproute2's `ip` and `bridge`, `nsenter` and `iptables`. Addresses are Nomad's: 172.26.64.0/20, the bridge is
//! `nomad` at 172.26.64.1. Hairpin is on: an allocation reaches its own host port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::executor::Spec;
use super::process::Process;
use crate::agent::state::{AllocatedPort, Allocation};

const BRIDGE: &str = "nomad";
/// Locally administered.
const HARDWARE: &str = "02:00:ac:1a:40:01";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 26, 64, 1);

/// Whether this agent may make bridge networks: its own namespace is one that has a name below `/run/netns`.
pub(crate) fn is_possible() -> bool {
    let Ok(own) = std::fs::metadata("/proc/self/ns/net") else { return false };
    let named = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let mut named = named.filter_map(|entry| std::fs::metadata(entry.path()).ok());
    nix::unistd::geteuid().is_root()
        && named.any(|one| one.dev() == own.dev() && one.ino() == own.ino())
}

/// An allocation's namespace, and the process that keeps it while tasks come and go.
#[derive(Debug)]
pub(super) struct Bridge {
    keeper: Process,
    pub(super) address: Ipv4Addr,
}

impl Bridge {
    /// The namespace of an allocation, made unless an earlier agent made it.
    pub(super) async fn join(
        allocation: &Allocation,
        folder: &Path,
        lifelines: Vec<i32>,
        taken: &[Ipv4Addr],
    ) -> Result<Self, String> {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        if let Some(keeper) = Process::adopt(folder).filter(Process::is_running) {
            let shown = run(&format!("{} ip -4 -o addr show dev eth0", inside(&keeper))).await?;
            let address =
                shown.split_whitespace().find_map(|word| word.split_once('/')?.0.parse().ok());
            let address = address.ok_or_else(|| format!("no address: {shown}"))?;
            return Ok(Self { keeper, address });
        }
        bridge().await?;
        let address = free(taken).ok_or("every address of 172.26.64.0/20 is taken")?;
        let keeper = Process::start(&keeper(folder, lifelines)).await?;
        let near = format!("nv{}", allocation.id.get(..8).unwrap_or(&allocation.id));
        let within = inside(&keeper);
        for step in [
            format!("ip link add {near} type veth peer name eth0 netns {}", keeper.id()),
            format!("ip link set {near} master {BRIDGE} up"),
            format!("bridge link set dev {near} hairpin on"),
            format!("{within} ip addr add {address}/20 dev eth0"),
            format!("{within} ip link set eth0 up"),
            format!("{within} ip route add default via {GATEWAY}"),
        ] {
            run(&step).await?;
        }
        let bridge = Self { keeper, address };
        for port in &allocation.allocated_resources.shared.ports {
            bridge.lead(port, "-A").await?;
        }
        Ok(bridge)
    }

    /// Where tasks find the namespace.
    pub(super) fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.keeper.id()))
    }

    /// Ends the namespace and removes its rules.
    pub(super) async fn leave(&self, ports: &[AllocatedPort]) {
        for port in ports {
            if let Err(error) = self.lead(port, "-D").await {
                tracing::warn!(error, port = port.value, "A port's rule stays");
            }
        }
        self.keeper.kill();
        self.keeper.wait().await;
    }

    async fn lead(&self, port: &AllocatedPort, action: &str) -> Result<(), String> {
        let AllocatedPort { value, to, host_ip, .. } = port;
        for protocol in ["tcp", "udp"] {
            for chain in ["PREROUTING", "OUTPUT"] {
                run(&format!(
                    "iptables -w -t nat {action} {chain} -p {protocol} -d {host_ip} --dport {value} -j DNAT --to-destination {}:{to}",
                    self.address
                ))
                .await?;
            }
        }
        Ok(())
    }
}

/// The bridge of the host, made when the first allocation comes.
async fn bridge() -> Result<(), String> {
    if run(&format!("ip link show {BRIDGE}")).await.is_ok() {
        return Ok(());
    }
    // A bridge without an address of its own takes the lowest of its members': when that one left, every allocation would
    // send to a gateway that is no more until its neighbour table says otherwise.
    run(&format!("ip link add {BRIDGE} address {HARDWARE} type bridge")).await?;
    run(&format!("ip addr add {GATEWAY}/20 dev {BRIDGE}")).await?;
    run(&format!("ip link set {BRIDGE} up")).await?;
    run("sysctl -q -w net.ipv4.ip_forward=1").await?;
    run(&format!("sysctl -q -w net.ipv4.conf.{BRIDGE}.route_localnet=1")).await?;
    // What goes from one allocation to another through a host port must come back the same way.
    run("iptables -w -t nat -A POSTROUTING -s 172.26.64.0/20 -j MASQUERADE").await.map(drop)
}

fn free(taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let first = u32::from(GATEWAY) + 1;
    (first..first + 4000).map(Ipv4Addr::from).find(|address| !taken.contains(address))
}

async fn run(words: &str) -> Result<String, String> {
    let mut parts = words.split_whitespace();
    let output = Command::new(parts.next().unwrap_or_default())
        .args(parts)
        .output()
        .await
        .map_err(|error| format!("{words}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{words}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A process that does nothing in a namespace of its own, as the pause container does for Docker.
fn keeper(folder: &Path, lifelines: Vec<i32>) -> Spec {
    Spec {
        command: ["sleep", "infinity"].map(str::to_owned).into(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        dir: folder.to_owned(),
        stdout: folder.join("out.log"),
        stderr: folder.join("out.log"),
        folder: folder.to_owned(),
        netns: None,
        is_isolated: true,
        image: None,
        memory_mb: None,
        lifelines,
    }
}

fn inside(keeper: &Process) -> String {
    format!("nsenter --net=/proc/{}/ns/net", keeper.id())
}

impl From<&Bridge> for IpAddr {
    fn from(bridge: &Bridge) -> Self {
        Self::V4(bridge.address)
    }
}
