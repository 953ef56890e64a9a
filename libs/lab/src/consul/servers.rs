//! Consul servers beside the agent that the mesh talks to, so that one of them can lose the lead to another.
//!
//! The agent joins them with [`ConsulOptions::servers`](super::ConsulOptions::servers) and keeps its registrations.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use serde_json::json;

use super::{START_DEADLINE, STOP_GRACE, common};
use crate::daemon::Daemon;
use crate::http::Client;
use crate::process::Program;
use crate::{LabError, ports, wait};

const LEADER: &str = "/v1/status/leader";

/// A group of servers that elect a leader.
#[derive(Debug)]
pub struct Servers {
    members: Vec<Daemon<Member>>,
}

#[derive(Debug)]
struct Member {
    gossip: SocketAddr,
    http: SocketAddr,
    /// Where the others speak to it; the name under which it leads.
    raft: SocketAddr,
}

impl Servers {
    /// Starts `count` servers with their files in `dir`, and waits until they have a leader.
    pub async fn start(binary: &Path, dir: &Path, count: usize) -> Result<Self, LabError> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let gossip = (0..count)
            .map(|_| ports::reserve().map(local))
            .collect::<Result<Vec<SocketAddr>, _>>()?;
        let members = gossip
            .iter()
            .enumerate()
            .map(|(number, address)| Member::start(binary, dir, number + 1, *address, &gossip))
            .collect::<Result<Vec<_>, _>>()?;
        let servers = Self { members };
        servers.wait_leader().await?;
        Ok(servers)
    }

    /// Where agents join them.
    pub fn gossip(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.gossip).collect()
    }

    /// Waits until all that run name the same running leader, and gives it.
    pub async fn wait_leader(&self) -> Result<SocketAddr, LabError> {
        wait::until("the running servers agree on a leader", START_DEADLINE, async || {
            let running: Vec<_> =
                self.members.iter().filter(|member| member.process().is_some()).collect();
            let named = join_all(running.iter().map(|member| member.leader())).await;
            match named.first() {
                Some(Some(leader))
                    if named.iter().all(|other| other.as_ref() == Some(leader))
                        && running.iter().any(|member| member.raft == *leader) =>
                {
                    Ok(*leader)
                }
                _ => Err(format!("{named:?}")),
            }
        })
        .await
    }

    /// Kills the leader without warning.
    pub async fn kill_leader(&mut self) -> Result<(), LabError> {
        let leader = self.wait_leader().await?;
        self.kill(|member| member.raft == leader).await
    }

    /// Kills all servers without warning.
    pub async fn kill_all(&mut self) -> Result<(), LabError> {
        self.kill(|_| true).await
    }

    /// Starts those that were killed, and waits until there is a leader.
    pub async fn start_again(&mut self) -> Result<(), LabError> {
        self.members.iter_mut().try_for_each(Daemon::launch)?;
        self.wait_leader().await.map(|_| ())
    }

    async fn kill(&mut self, which: impl Fn(&Member) -> bool) -> Result<(), LabError> {
        for member in self.members.iter_mut().filter(|member| which(member)) {
            member.kill().await?;
        }
        Ok(())
    }
}

impl Member {
    fn start(
        binary: &Path,
        dir: &Path,
        number: usize,
        gossip: SocketAddr,
        all: &[SocketAddr],
    ) -> Result<Daemon<Self>, LabError> {
        let name = format!("consul-server-{number}");
        let dir = dir.join(&name);
        std::fs::create_dir_all(&dir)
            .map_err(LabError::io(format!("make the folder {}", dir.display())))?;
        let (http, raft) = (ports::reserve()?, ports::reserve()?);
        let mut config = common(Ipv4Addr::LOCALHOST, http, gossip.port(), raft);
        let mut set = |key: &str, value| config.insert(key.to_owned(), value);
        set("data_dir", json!(dir.join("data")));
        set("node_name", json!(name));
        set("server", json!(true));
        set("bootstrap_expect", json!(all.len()));
        set("retry_join", json!(all));
        set("retry_interval", json!("500ms"));
        set("performance", json!({"raft_multiplier": 1}));
        let file = dir.join("agent.json");
        std::fs::write(&file, serde_json::Value::Object(config).to_string())
            .map_err(LabError::io(format!("write {}", file.display())))?;
        let program = Program::new(&name, binary)
            .args(["agent", "-config-file"])
            .args([file.display().to_string()]);
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let member = Self { gossip, http: local(http), raft: local(raft) };
        let mut server = Daemon::new(program, &dir, STOP_GRACE, member);
        server.launch()?;
        Ok(server)
    }

    async fn leader(&self) -> Option<SocketAddr> {
        let answer = Client::new().expect(self.http, Method::GET, LEADER, Bytes::new()).await;
        serde_json::from_slice::<String>(&answer.ok()?.body).ok()?.parse().ok()
    }
}
