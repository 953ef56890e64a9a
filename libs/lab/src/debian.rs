//! A small Debian with systemd as its init, booted in systemd-nspawn. Needs root and the tree that `make setup` makes.
//!
//! The tree stays as it is: everything that is written lies in an overlay in memory, and ends with the machine. The network is
//! this machine's. Nothing registers with machined, so none has to run here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{Process, Program, run};
use crate::{LabError, parts, wait};

const NSPAWN: &str = "/usr/bin/systemd-nspawn";
const DEADLINE: Duration = Duration::from_secs(60);

/// A booted machine; it ends with its value.
#[derive(Debug)]
pub struct Debian {
    _process: Process,
    init: i32,
}

impl Debian {
    /// Boots one, with files of this machine at these places; `None` after a SKIP of the part `systemd`.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn boot_or_skip(
        test: &str,
        folder: &Path,
        files: &[(PathBuf, &str)],
    ) -> Result<Option<Self>, LabError> {
        if !nix::unistd::geteuid().is_root() {
            parts::skip(test, "systemd", "booting a Debian needs root");
            return Ok(None);
        }
        let Some(tree) = parts::real_part("systemd-tree") else {
            parts::skip(test, "systemd", "this machine has no tree to boot; run `make setup`");
            return Ok(None);
        };
        let name = format!("ayatori-{}", std::process::id());
        let binds = files.iter().map(|(own, place)| format!("--bind-ro={}:{place}", own.display()));
        let fixed = ["--register=no", "--keep-unit", "--volatile=overlay", "--console=pipe", "-b"];
        let program = Program::new("debian", Path::new(NSPAWN))
            .args(fixed)
            .args([format!("--machine={name}"), format!("--directory={}", tree.display())])
            .args(binds);
        let mut process = Process::start(&program, folder)?;
        let nspawn = process.id();
        let init = process.until("the machine has an init", DEADLINE, async || init_of(nspawn));
        let init = init.await?;
        let machine = Self { _process: process, init };
        wait::until("the machine is up", DEADLINE, async || {
            match machine.run(&["systemctl", "is-system-running"]).await {
                Ok(_) => Ok(()),
                // Debian's minimal tree is degraded by nothing; while it starts the command fails.
                Err(error) => Err(crate::chain(&error)),
            }
        })
        .await?;
        Ok(Some(machine))
    }

    /// Runs a command inside and gives its standard output.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run(&self, command: &[&str]) -> Result<String, LabError> {
        let target = self.init.to_string();
        let program = Program::new("inside", Path::new("/usr/bin/nsenter"))
            .args(["-t", &target, "-a", "--"])
            .args(command.iter().copied());
        run(&program).await
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        // An nspawn that is killed leaves its machine running; with its init everything in it ends. It is gone already when
        // the machine ended by itself.
        kill(Pid::from_raw(self.init), Signal::SIGKILL).ok();
    }
}

/// The init below an nspawn: its child that became systemd.
fn init_of(nspawn: i32) -> Result<i32, String> {
    let children = std::fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"));
    let children = children.map_err(|error| error.to_string())?;
    let is_init = |id: &&str| {
        std::fs::read_to_string(format!("/proc/{id}/comm"))
            .is_ok_and(|name| name.trim() == "systemd")
    };
    let init = children.split_whitespace().find(is_init).and_then(|id| id.parse().ok());
    init.ok_or_else(|| format!("children: {children}"))
}
