//! The folders of an allocation, as Nomad lays them out below its data folder.
//!
//! `alloc/ID/alloc/{data,logs,tmp}` is shared by the tasks, `alloc/ID/TASK/{local,secrets,tmp}` is a task's own, and
//! `alloc/ID/.stand-in/TASK` holds what the executor writes. Image tasks see theirs as `/alloc`, `/local` and `/secrets`.

use std::io;
use std::path::{Path, PathBuf};

/// Where a task's folders are, on the host and as the task sees them.
#[derive(Debug, Clone)]
pub(super) struct TaskPaths {
    /// `alloc/ID/TASK`
    pub(super) root: PathBuf,
    pub(super) alloc: PathBuf,
    pub(super) local: PathBuf,
    pub(super) secrets: PathBuf,
    pub(super) tmp: PathBuf,
    pub(super) executor: PathBuf,
    pub(super) stdout: PathBuf,
    pub(super) stderr: PathBuf,
    pub(super) seen_alloc: PathBuf,
    pub(super) seen_local: PathBuf,
    pub(super) seen_secrets: PathBuf,
}

impl TaskPaths {
    pub(super) fn new(allocation: &Path, task: &str, is_image: bool) -> Self {
        let root = allocation.join(task);
        let alloc = allocation.join("alloc");
        let (local, secrets) = (root.join("local"), root.join("secrets"));
        let seen = |inside: &str, host: &Path| {
            if is_image { PathBuf::from(inside) } else { host.to_owned() }
        };
        Self {
            seen_alloc: seen("/alloc", &alloc),
            seen_local: seen("/local", &local),
            seen_secrets: seen("/secrets", &secrets),
            tmp: root.join("tmp"),
            executor: allocation.join(".stand-in").join(task),
            stdout: alloc.join(format!("logs/{task}.stdout.0")),
            stderr: alloc.join(format!("logs/{task}.stderr.0")),
            alloc,
            local,
            secrets,
            root,
        }
    }

    pub(super) fn make(&self) -> io::Result<()> {
        let shared = ["data", "logs", "tmp"].map(|name| self.alloc.join(name));
        let own = [&self.local, &self.secrets, &self.tmp, &self.executor];
        shared.iter().chain(own).try_for_each(std::fs::create_dir_all)
    }

    /// A path of the job that is relative to the task's root; one that leaves the allocation is refused.
    pub(super) fn within(&self, relative: &str) -> Result<PathBuf, String> {
        let relative = relative.trim_start_matches('/');
        let escapes = Path::new(relative)
            .components()
            .any(|part| matches!(part, std::path::Component::ParentDir));
        let (first, rest) = relative.split_once('/').unwrap_or((relative, ""));
        match (escapes, first) {
            (true, _) => Err(format!("path {relative} escapes the allocation directory")),
            (false, "alloc") => Ok(self.alloc.join(rest)),
            (false, _) => Ok(self.root.join(relative)),
        }
    }
}
