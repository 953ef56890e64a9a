//! On plain HTTP a dead client's blocking queries count against Consul's limit until their wait ends: whoever comes
//! after it must still find room.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::catalogue::Catalogue;

/// In a debug build on a busy machine; the waits of the dead one's queries last longer.
const DEADLINE: Duration = Duration::from_secs(15);
/// Consul's `limits.http_max_conns_per_client`.
const LIMIT: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_is_not_locked_out_by_the_connections_of_two_that_were_killed() {
    let Some(catalogue) = Catalogue::start().await else { return };
    let mut held = Vec::new();
    for start in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let mut process = ControlPlane::start(folder.path(), &catalogue.consul.url());
        process.until_ready().await;
        let connections = catalogue.consul.connections().unwrap();
        println!("start {start}: ready after {:?}, {connections} connections", began.elapsed());
        held.push(connections);
        process.kill();
    }
    assert!(held.iter().all(|connections| *connections < LIMIT / 2), "{held:?}");
}

/// The built binary with nothing on disk.
struct ControlPlane {
    process: Child,
    admin: SocketAddr,
}

impl ControlPlane {
    fn start(folder: &Path, consul: &str) -> Self {
        let [xds, admin, api] = ports();
        let config = folder.join("control-plane.toml");
        let text = format!(
            "data_dir = {:?}\n[consul]\naddress = \"{consul}\"\n[xds]\nlisten = \"{xds}\"\n\
             [admin]\nlisten = \"{admin}\"\n[api]\nlisten = \"{api}\"\n",
            folder.join("data")
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
        command.args(["run", "--config"]).arg(&config).stdin(Stdio::null()).stderr(Stdio::null());
        Self { process: command.spawn().unwrap(), admin }
    }

    async fn until_ready(&mut self) {
        let client = reqwest::Client::new();
        let url = format!("http://{}/readyz", self.admin);
        let deadline = Instant::now() + DEADLINE;
        let mut last = String::new();
        while Instant::now() < deadline {
            match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => last = answer.text().await.unwrap(),
                Err(error) => last = error.to_string(),
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the control plane ended with {status}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not ready within {DEADLINE:?}: {last}");
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // It is gone already, unless the test failed.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn ports() -> [SocketAddr; 3] {
    [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], lab::ports::reserve().unwrap())))
}
