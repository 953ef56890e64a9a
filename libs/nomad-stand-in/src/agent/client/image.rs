//! Image trees: a folder that holds what a container image would, made to the root of one task.
//!
//! In: a tree, read only and shared. Out: a mount namespace of the executor's own with a root of bind mounts, so that the
//! task finds `/local`, `/secrets` and `/alloc` beside what the image has. Nothing is copied, nothing is written to the tree.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

/// A task's root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Root {
    pub(crate) tree: PathBuf,
    /// Where it is put together.
    pub(crate) at: PathBuf,
    /// Folders of the host and where they are inside.
    pub(crate) binds: Vec<(PathBuf, String)>,
}

impl Root {
    /// Puts the root together; only this process and its children see it.
    pub(super) fn mount(&self) -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        std::fs::create_dir_all(&self.at)?;
        mount(Some("tmpfs"), &self.at, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        for entry in std::fs::read_dir(&self.tree)? {
            let entry = entry?;
            let target = self.at.join(entry.file_name());
            if entry.file_type()?.is_symlink() {
                std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, &target)?;
            } else {
                bind(&entry.path(), &target)?;
            }
        }
        for (host, inside) in &self.binds {
            bind(host, &self.at.join(inside.trim_start_matches('/')))?;
        }
        for folder in ["dev", "proc", "sys"] {
            bind(&Path::new("/").join(folder), &self.at.join(folder))?;
        }
        let tmp = self.at.join("tmp");
        if !tmp.exists() {
            std::fs::create_dir(&tmp)?;
        }
        Ok(())
    }
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    let none: Option<&str> = None;
    if from.is_dir() {
        std::fs::create_dir_all(to)?;
    } else if !to.exists() {
        std::fs::write(to, "")?;
    }
    mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).map_err(|errno| {
        io::Error::other(format!("bind {} at {}: {errno}", from.display(), to.display()))
    })
}
