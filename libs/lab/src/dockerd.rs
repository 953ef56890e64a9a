//! A real dockerd beside a [`Journald`], whose containers log to its journal. Needs root, Debian's docker.io and busybox-static.
//!
//! It lives in journald's mount namespace, has its state in the lab's folder, and gives containers no network: so it leaves
//! neither bridges nor rules behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::journald::Journald;
use crate::process::{Process, Program, run};
use crate::{LabError, parts};

const DEADLINE: Duration = Duration::from_secs(60);
const IMAGE: &str = "lab/busybox:1";

/// A running dockerd.
#[derive(Debug)]
pub struct Dockerd {
    process: Process,
    folder: PathBuf,
    namespace: i32,
}

impl Dockerd {
    /// Starts one in the namespace of `journald`, with an image that has busybox.
    pub async fn start(folder: &Path, journald: &Journald) -> Result<Self, LabError> {
        let binary = parts::real_part("dockerd").ok_or_else(|| LabError::Missing {
            what: "dockerd".to_owned(),
            next: "run `make setup` as root, or install docker.io and busybox-static".to_owned(),
        })?;
        let at = |name: &str| folder.join(name).display().to_string();
        let flags = [
            format!("--data-root={}", at("docker")),
            format!("--exec-root={}", at("exec")),
            format!("--pidfile={}", at("docker.pid")),
            format!("--host=unix://{}", at("docker.sock")),
            "--bridge=none".to_owned(),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            "--storage-driver=vfs".to_owned(),
            "--log-driver=journald".to_owned(),
        ];
        let process = Process::start(&inside(journald.id(), "dockerd", &binary, flags), folder)?;
        let mut own = Self { process, folder: folder.to_owned(), namespace: journald.id() };
        let probe = own.command(&["version".to_owned()]);
        own.process.until("dockerd answers", DEADLINE, async || run(&probe).await).await?;
        own.import().await?;
        Ok(own)
    }

    /// Runs a shell script in a container to its end; `flags` go before the image, such as `--label a=b`.
    pub async fn run(&self, name: &str, flags: &[&str], script: &str) -> Result<String, LabError> {
        let fixed = ["run", "--rm", "--network=none", "--name", name];
        let command = [IMAGE, "/busybox", "sh", "-c", script];
        let words = fixed.iter().chain(flags).chain(&command);
        run(&self.command(&words.map(|word| (*word).to_owned()).collect::<Vec<_>>())).await
    }

    /// Stops it in peace, and its containers with it.
    pub async fn stop(&mut self) -> Result<(), LabError> {
        self.process.stop(DEADLINE).await.map(drop)
    }

    async fn import(&self) -> Result<(), LabError> {
        let script = format!(
            "tar -c -C /bin busybox | docker -H unix://{}/docker.sock import - {IMAGE}",
            self.folder.display()
        );
        let args = ["-c".to_owned(), script];
        run(&inside(self.namespace, "import", Path::new("/bin/sh"), args)).await.map(drop)
    }

    fn command(&self, words: &[String]) -> Program {
        let host = format!("unix://{}", self.folder.join("docker.sock").display());
        let words = ["-H".to_owned(), host].into_iter().chain(words.iter().cloned());
        inside(self.namespace, "docker", Path::new("/usr/bin/docker"), words)
    }
}

fn inside(
    namespace: i32,
    name: &str,
    program: &Path,
    args: impl IntoIterator<Item = String>,
) -> Program {
    let target = ["-t".to_owned(), namespace.to_string(), "-m".to_owned(), "--".to_owned()];
    let words = target.into_iter().chain([program.display().to_string()]).chain(args);
    Program::new(name, Path::new("/usr/bin/nsenter")).args(words)
}
