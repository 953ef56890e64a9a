//! Whether what an instance writes arrives with its System and service.
//!
//! The samples write to stdout, which the placer shows where Nomad's `exec` driver has it; the host's agent tails it there. The
//! machine's journal is read as well, where it has one that may be read.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use super::checks::Checks;
use crate::host_agent::JOURNAL_WRITER;
use crate::wait;
use crate::world::World;

/// A new allocation's lines wait for Consul to know it, at most two seconds.
const DEADLINE: Duration = Duration::from_secs(20);
const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether this machine has a journal that may be read; `Err` says why not.
pub fn journal() -> Result<(), &'static str> {
    if UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET)).is_err() {
        return Err("no journald runs on this machine");
    }
    let folders = ["/var/log/journal", "/run/log/journal"];
    if !folders.iter().any(|folder| Path::new(folder).exists()) {
        return Err("journald keeps no journal on this machine");
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("the journal is read as root or in the group systemd-journal only");
    }
    Ok(())
}

/// Looks for a line of `orders`, and for one that is written into the journal.
pub async fn check(world: &World, checks: &mut Checks) {
    let what = "a line of orders arrives with its System and service";
    let Some(agent) = world.host_agent.as_ref().filter(|_| world.consul().is_some()) else {
        checks.skip(what, "the agent knows no instances without a Consul");
        return;
    };
    let is_of_orders = |line: &str| {
        line.contains("\"system\":\"trading\"") && line.contains("\"service\":\"orders\"")
    };
    let found = until_line(agent.logs(), is_of_orders).await;
    checks.record(what, found);

    let what = "a line in the journal arrives";
    match journal() {
        Err(why) => checks.skip(what, why),
        Ok(()) => {
            let line = format!(
                "PRIORITY=6\nSYSLOG_IDENTIFIER={JOURNAL_WRITER}\nMESSAGE=hello from the demo\n"
            );
            let sent =
                UnixDatagram::unbound().and_then(|socket| socket.send_to(line.as_bytes(), SOCKET));
            let found = match sent {
                Ok(_) => {
                    until_line(agent.logs(), |line| line.contains("hello from the demo")).await
                }
                Err(error) => Err(error.to_string()),
            };
            checks.record(what, found);
        }
    }
}

/// Waits for such a line in a file; gives its message.
async fn until_line(file: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<String, String> {
    let found = wait::until("the line arrives", DEADLINE, async || {
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        let line = text.lines().find(|line| is_wanted(line));
        let line: serde_json::Value = match line {
            Some(line) => serde_json::from_str(line).map_err(|error| error.to_string())?,
            None => return Err(format!("{} other lines", text.lines().count())),
        };
        let text = |key| line.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        Ok(format!("{} {}", text("tag"), text("time")))
    });
    found.await.map_err(|error| crate::chain(&error))
}
