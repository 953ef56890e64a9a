//! The record of a deploy as Consul keeps it, and whoever works on it or did last.
//!
//! In: Consul's key. Out: [`Kept`]; what somebody is told who comes second.
//!
//! **Invariants**: an owner of this host that is dead is seen to be; any other is believed as long as its session lives.

use std::path::Path;

use consul::{Consistency, ConsulClient};
use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid, User};

use super::lock::TTL;
use super::record::{Owner, Record};
use crate::console::age;
use crate::failure::Failure;
use crate::store;

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The record.
    pub record: Record,
    /// The session that holds it; none: nobody works on it.
    pub session: Option<String>,
    /// What a check-and-set names.
    pub(super) index: u64,
}

impl Kept {
    /// The record below `key`.
    ///
    /// # Errors
    /// When Consul does not answer or refuses, or the record is not one of ours.
    pub async fn read(client: &ConsulClient, key: &str) -> Result<Option<Self>, Failure> {
        let found = client.get_key(key, Consistency::Consistent).await.map_err(store::failure)?;
        let Some(found) = found else { return Ok(None) };
        let record = serde_json::from_slice(&found.value).map_err(|error| {
            Failure::Refused(format!(
                "{key} in Consul is no record of a deploy ({error}): use a meshctl of the version that wrote it, or delete the key"
            ))
        })?;
        Ok(Some(Self { record, session: found.session, index: found.modify_index }))
    }

    /// Whether its holder ran on this host and is gone.
    pub fn is_orphaned(&self, me: &Owner) -> bool {
        let owner = &self.record.owner;
        let Ok(pid) = i32::try_from(owner.pid) else { return false };
        owner.boot == me.boot
            && owner.pid != me.pid
            && kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH)
    }

    /// Whether somebody else is at work on it.
    pub fn is_held(&self, me: &Owner) -> bool {
        self.session.is_some() && !self.is_orphaned(me)
    }

    /// Who works on it, or did last, since when, for what.
    pub fn describe(&self, me: &Owner, now: u64) -> String {
        let Record { job, owner, started, what, state, .. } = &self.record;
        let (since, state) = (age(now.saturating_sub(*started)), state.name().replace('_', " "));
        let Owner { name, pid, .. } = owner;
        if self.is_held(me) {
            format!(
                "{job} is being deployed by {name} (process {pid}) since {since} ago: {what}, {state}"
            )
        } else {
            let what = self.record.title();
            format!("{job}: {what}, begun by {name} {since} ago, is half-way ({state})")
        }
    }

    /// What somebody is told who comes second.
    pub fn refusal(&self, me: &Owner, now: u64) -> Failure {
        Failure::Refused(format!(
            "{}; nothing was done. If that process is gone, its lock ends by itself within {} s",
            self.describe(me, now),
            2 * TTL.as_secs()
        ))
    }
}

/// What somebody is told who looked, and came to the lock after another one.
pub(super) fn overtaken(job: &str, kept: Option<&Kept>, me: &Owner, now: u64) -> Failure {
    let what = match kept {
        Some(kept) => kept.describe(me, now),
        None => format!("what was half-way of {job} is over"),
    };
    Failure::Refused(format!(
        "somebody else was faster: {what}; nothing was done. Look at meshctl status {job}, and repeat the command"
    ))
}

/// This process, as records name it.
pub fn me() -> Owner {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let user = user.map_or_else(|| Uid::effective().to_string(), |user| user.name);
    let namespace = std::fs::read_link(Path::new("/proc/self/ns/pid")).unwrap_or_default();
    Owner {
        name: format!("{user}@{}", read("/proc/sys/kernel/hostname")),
        pid: std::process::id(),
        boot: format!("{} {}", read("/proc/sys/kernel/random/boot_id"), namespace.display()),
        meshctl: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
