//! One deploy of a job at a time: a key in Consul that a live session holds, and the record in it.
//!
//! In: a [`Record`]. Out: a [`Lock`] that writes it and is renewed while it works, or who holds it and since when.
//!
//! **Invariants**: a record is written by the holder alone. The lock ends with its owner, the record does not: it goes
//! when the deploy is over. An owner of this host that is dead is seen to be; any other is believed for up to 30 s.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use consul::{Consistency, ConsulClient, ConsulError, ErrorClass};
use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid, User};
use service::ErrorChain;
use tokio::time::Instant;

use super::record::{Owner, Record};
use crate::console::age;
use crate::failure::Failure;
use crate::store;

/// How long a silent owner is believed at least; Consul ends the session within twice that.
const TTL: Duration = Duration::from_secs(15);
/// Between tries while Consul is away.
const PAUSE: Duration = Duration::from_millis(500);

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The record.
    pub record: Record,
    /// The session that holds it; none: nobody works on it.
    pub session: Option<String>,
    index: u64,
}

/// A held lock.
#[derive(Debug)]
pub struct Lock {
    client: ConsulClient,
    key: String,
    name: String,
    held: Mutex<Held>,
    max_outage: Duration,
}

/// The session, and what was last written under it.
#[derive(Debug, Clone)]
struct Held {
    session: String,
    record: Vec<u8>,
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

    /// Who holds it, since when, for what.
    pub fn describe(&self, now: u64) -> String {
        let Record { job, owner, started, what, state, .. } = &self.record;
        format!(
            "{job} is being deployed by {} (process {}) since {} ago: {what}, {}",
            owner.name,
            owner.pid,
            age(now.saturating_sub(*started)),
            state.name().replace('_', " ")
        )
    }
}

impl Kept {
    /// What somebody is told who comes second.
    pub fn refusal(&self, now: u64) -> Failure {
        Failure::Refused(format!(
            "{}; nothing was done. If that process is gone, its lock ends by itself within {} s",
            self.describe(now),
            2 * TTL.as_secs()
        ))
    }
}

impl Lock {
    /// Takes the lock and writes the record; a holder that is dead makes room. Consul may be away for `max_outage`
    /// while it is held.
    ///
    /// # Errors
    /// When somebody else holds it, or Consul does not answer or refuses.
    pub async fn take(
        client: &ConsulClient,
        key: &str,
        record: &Record,
        now: u64,
        max_outage: Duration,
    ) -> Result<Self, Failure> {
        if let Some(kept) = Kept::read(client, key).await?
            && let Some(session) = &kept.session
            && kept.is_orphaned(&record.owner)
        {
            client.destroy_session(session).await.map_err(store::failure)?;
        }
        let name = format!("meshctl {}: {}", record.job, record.owner.name);
        let (client, key) = (client.clone(), key.to_owned());
        let session = client.create_session(&name, TTL).await.map_err(store::failure)?;
        let held = Held { session, record: json(&key, record)? };
        let outcome = client.lock_key(&key, held.record.clone(), &held.session).await;
        if matches!(outcome, Ok(true)) {
            return Ok(Self { client, key, name, held: Mutex::new(held), max_outage });
        }
        client.destroy_session(&held.session).await.map_err(store::failure)?;
        outcome.map_err(store::failure)?;
        let holder = Kept::read(&client, &key).await?;
        let holder =
            holder.map_or_else(|| "somebody else was faster".to_owned(), |own| own.describe(now));
        Err(Failure::Refused(format!(
            "{holder}; nothing was done. If that process is gone, its lock ends by itself within {} s",
            2 * TTL.as_secs()
        )))
    }

    /// Writes the record, and waits for a Consul that is away.
    ///
    /// # Errors
    /// When the lock is lost, or Consul is away for too long or refuses.
    pub async fn write(&self, record: &Record) -> Result<(), Failure> {
        let record = json(&self.key, record)?;
        let begun = Instant::now();
        loop {
            let session = self.held().session;
            match self.client.lock_key(&self.key, record.clone(), &session).await {
                Ok(true) => {
                    self.hold(Held { session, record });
                    return Ok(());
                }
                Ok(false) => return Err(self.lost("another session holds it")),
                Err(ConsulError::Status { status: 500, message, .. })
                    if message.contains("session") && begun.elapsed() < self.max_outage =>
                {
                    self.take_again().await?;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error)
                    if error.class() == ErrorClass::Retry && begun.elapsed() < self.max_outage =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(store::failure(error)),
            }
        }
    }

    /// Renews it as long as it can be renewed; what comes back is why it is lost.
    pub async fn keep(&self) -> Failure {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(TTL / 3).await;
            match self.client.renew_session(&self.held().session).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => match self.take_again().await {
                    Ok(()) => renewed = Instant::now(),
                    Err(failure) => return failure,
                },
                Err(error) if renewed.elapsed() > self.max_outage.max(TTL) => {
                    return self.lost(&ErrorChain(&error).to_string());
                }
                // While Consul is away nobody else can take it either.
                Err(_) => {}
            }
        }
    }

    /// Lets go of it; with `forget` the record goes, too.
    ///
    /// # Errors
    /// When Consul does not answer or refuses.
    pub async fn release(self, forget: bool) -> Result<(), Failure> {
        let session = self.held().session;
        if forget {
            let kept = Kept::read(&self.client, &self.key).await?;
            if let Some(kept) = kept.filter(|own| own.session.as_ref() == Some(&session)) {
                let deleted = self.client.delete_key(&self.key, Some(kept.index)).await;
                deleted.map_err(store::failure)?;
            }
        }
        self.client.destroy_session(&session).await.map_err(store::failure)
    }

    /// The session has ended without this process: Consul lost it, or nobody renewed it in time. If nobody took the
    /// lock meanwhile it is taken once more.
    async fn take_again(&self) -> Result<(), Failure> {
        let Held { session: old, record } = self.held();
        let kept = Kept::read(&self.client, &self.key).await?;
        if kept.as_ref().is_some_and(|own| own.session.as_ref() == Some(&old)) {
            // It lives: a server that starts answers before it has read all sessions from its log.
            return Ok(());
        }
        let is_ours = kept.is_none_or(|own| {
            own.session.is_none() && json(&self.key, &own.record).is_ok_and(|kept| kept == record)
        });
        if !is_ours {
            return Err(self.lost("its session ended, and somebody else has worked on it since"));
        }
        let session = self.client.create_session(&self.name, TTL).await.map_err(store::failure)?;
        let taken = self.client.lock_key(&self.key, record.clone(), &session).await;
        if !taken.map_err(store::failure)? {
            return Err(self.lost("its session ended, and another one holds it"));
        }
        self.hold(Held { session, record });
        Ok(())
    }

    fn held(&self) -> Held {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::HalfWay(format!(
            "the lock {} in Consul is lost ({why}): somebody else may work on the job now; meshctl status shows who",
            self.key
        ))
    }
}

fn json(key: &str, record: &Record) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec_pretty(record)
        .map_err(|error| Failure::Refused(format!("cannot write {key}: {error}")))
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
