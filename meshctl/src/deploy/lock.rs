//! One deploy of a job at a time: a key in Consul that a live session holds, and the record in it.
//!
//! In: a [`Record`]. Out: a [`Lock`] that writes it and is renewed while it works, or who holds it and since when.
//!
//! **Invariants**: a record is written by the holder alone, over nothing but what was looked at. The lock ends with its
//! owner, the record does not: it goes when the deploy is over. A holder that Consul has not heard of for 15 s may have a
//! successor and knows it ([`Lock::is_sure`]).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use consul::{Consistency, ConsulClient, ConsulError, ErrorClass, KeyValue};
use service::ErrorChain;
use tokio::time::Instant;

use super::kept::{Kept, overtaken};
use super::record::Record;
use crate::failure::Failure;
use crate::store;

/// How long a silent owner is believed at least; Consul ends the session within twice that.
pub(super) const TTL: Duration = Duration::from_secs(15);
/// Between tries while Consul is away.
const PAUSE: Duration = Duration::from_millis(500);

/// A held lock.
#[derive(Debug)]
pub struct Lock {
    client: ConsulClient,
    key: String,
    name: String,
    held: Mutex<Held>,
    ttl: Duration,
    max_outage: Duration,
}

/// The session, and what was last written under it.
#[derive(Debug, Clone)]
struct Held {
    session: String,
    record: Vec<u8>,
    /// Until when nobody else can have it.
    sure_until: Instant,
    /// A session that is to hold it next, where Consul did not say whether it does already.
    next: Option<String>,
}

/// Why a lock is not known to be held.
enum Broken {
    /// Somebody else may have it.
    Lost(Failure),
    /// Consul cannot tell at the moment.
    Away(ConsulError),
}

impl Lock {
    /// Takes the lock and writes the record, if what was kept is still what was `seen`; a holder that is dead makes room.
    /// Consul may be away for `max_outage` while it is held.
    ///
    /// # Errors
    /// When somebody else holds it or was at work meanwhile, or Consul does not answer or refuses.
    pub async fn take(
        client: &ConsulClient,
        key: &str,
        record: &Record,
        seen: Option<&Kept>,
        now: u64,
        max_outage: Duration,
    ) -> Result<Self, Failure> {
        let (job, me) = (&record.job, &record.owner);
        let mut kept = Kept::read(client, key).await?;
        if let Some(kept) = kept.as_ref().filter(|own| own.is_held(me)) {
            return Err(kept.refusal(me, now));
        }
        if kept.as_ref().map(|own| &own.record) != seen.map(|own| &own.record) {
            return Err(overtaken(job, kept.as_ref(), me, now));
        }
        if let Some(dead) = kept.as_ref().and_then(|own| own.session.as_ref()) {
            client.destroy_session(dead).await.map_err(store::failure)?;
            kept = Kept::read(client, key).await?;
        }
        let index = kept.map_or(0, |own| own.index);
        let name = format!("meshctl {}: {}", record.job, me.name);
        let (client, key, begun) = (client.clone(), key.to_owned(), Instant::now());
        let session = client.create_session(&name, TTL).await.map_err(store::failure)?;
        let text = json(&key, record)?;
        let outcome = client.lock_key_at(&key, &text, &session, index).await;
        if matches!(outcome, Ok(true)) {
            let held =
                Mutex::new(Held { session, record: text, sure_until: begun + TTL, next: None });
            return Ok(Self { client, key, name, held, ttl: TTL, max_outage });
        }
        client.destroy_session(&session).await.map_err(store::failure)?;
        outcome.map_err(store::failure)?;
        let kept = Kept::read(&client, &key).await?;
        Err(overtaken(job, kept.as_ref(), me, now))
    }

    /// Writes the record, and waits for a Consul that is away.
    ///
    /// # Errors
    /// When the lock is lost, or Consul is away for too long or refuses.
    pub async fn write(&self, record: &Record) -> Result<(), Failure> {
        let record = json(&self.key, record)?;
        let begun = Instant::now();
        loop {
            let (session, at) = (self.held().session, Instant::now());
            let error = match self.client.lock_key(&self.key, record.clone(), &session).await {
                Ok(true) => {
                    self.hold(session, Some(record), Some(at));
                    return Ok(());
                }
                Ok(false) => return Err(self.lost("another session holds it")),
                Err(error) if is_about_session(&error) => match self.take_again().await {
                    Ok(()) => error,
                    Err(Broken::Lost(failure)) => return Err(failure),
                    Err(Broken::Away(error)) => error,
                },
                Err(error) => error,
            };
            if !is_for_later(&error) || begun.elapsed() > self.max_outage {
                return Err(store::failure(error));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether nobody else can have it: Consul has said so not longer ago than a session lives at least.
    pub fn is_sure(&self) -> bool {
        Instant::now() < self.held().sure_until
    }

    /// Renews it as long as it can be renewed; what comes back is why it is lost.
    pub async fn keep(&self) -> Failure {
        let (mut renewed, mut pause) = (Instant::now(), self.ttl / 3);
        loop {
            tokio::time::sleep(pause).await;
            let (session, at) = (self.held().session, Instant::now());
            let outcome = match self.client.renew_session(&session).await {
                Ok(true) => {
                    self.hold(session, None, Some(at));
                    Ok(())
                }
                Ok(false) => self.take_again().await,
                Err(error) => Err(Broken::Away(error)),
            };
            pause = self.ttl / 3;
            match outcome {
                Ok(()) => renewed = Instant::now(),
                Err(Broken::Lost(failure)) => return failure,
                Err(Broken::Away(error)) if renewed.elapsed() > self.max_outage.max(self.ttl) => {
                    return self.lost(&ErrorChain(&error).to_string());
                }
                Err(Broken::Away(_)) => pause = pause.min(PAUSE),
            }
        }
    }

    /// Lets go of it; with `forget` the record goes, too.
    ///
    /// # Errors
    /// When Consul does not answer or refuses.
    pub async fn release(&self, forget: bool) -> Result<(), ConsulError> {
        let Held { session, record, next, .. } = self.held();
        if forget {
            let kept = self.client.get_key(&self.key, Consistency::Consistent).await?;
            // A session that ended while Consul was away leaves the record; as long as it says the same, it is ours.
            let is_own = |own: &KeyValue| match &own.session {
                Some(holder) => *holder == session || next.as_ref() == Some(holder),
                None => own.value == record,
            };
            if let Some(kept) = kept.filter(is_own) {
                self.client.delete_key(&self.key, Some(kept.modify_index)).await?;
            }
        }
        self.client.destroy_session(&session).await
    }

    /// The session has ended without this process: Consul lost it, or nobody renewed it in time. If nobody took the
    /// lock meanwhile it is taken once more.
    async fn take_again(&self) -> Result<(), Broken> {
        let Held { session: old, record, next, .. } = self.held();
        let found = self.client.get_key(&self.key, Consistency::Consistent).await;
        let found = found.map_err(Broken::Away)?;
        let holder = found.as_ref().and_then(|own| own.session.as_ref());
        if holder == Some(&old) {
            // It lives: a server that starts answers before it has read all sessions from its log.
            return Ok(());
        }
        if holder.is_some() && holder == next.as_ref() {
            // An earlier try, whose answer did not come back.
            self.hold(next.unwrap_or_default(), None, None);
            return Ok(());
        }
        if found.as_ref().is_some_and(|own| own.session.is_some() || own.value != record) {
            let why = "its session ended, and somebody else has worked on it since";
            return Err(Broken::Lost(self.lost(why)));
        }
        let at = Instant::now();
        let session = match next {
            Some(own) if self.client.renew_session(&own).await.map_err(Broken::Away)? => own,
            _ => {
                let made = self.client.create_session(&self.name, self.ttl).await;
                made.map_err(Broken::Away)?
            }
        };
        let index = found.map_or(0, |own| own.modify_index);
        match self.client.lock_key_at(&self.key, &record, &session, index).await {
            Ok(true) => {
                self.hold(session, None, Some(at));
                Ok(())
            }
            Ok(false) => {
                let why = "its session ended, and somebody else was faster to take it";
                Err(Broken::Lost(self.lost(why)))
            }
            Err(error) => {
                self.expect(session);
                Err(Broken::Away(error))
            }
        }
    }

    fn held(&self) -> Held {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The session holds it, and is known to have lived `at` some time; the record, where a new one was written.
    fn hold(&self, session: String, record: Option<Vec<u8>>, at: Option<Instant>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.session = session;
        held.next = None;
        if let Some(at) = at {
            held.sure_until = at + self.ttl;
        }
        if let Some(record) = record {
            held.record = record;
        }
    }

    fn expect(&self, next: String) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).next = Some(next);
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::HalfWay(format!(
            "the lock {} in Consul is lost ({why}): somebody else may work on the job now; meshctl status shows who",
            self.key
        ))
    }
}

/// Whether the same request may do later: Consul is away, or asks for fewer requests or connections.
pub(super) fn is_for_later(error: &ConsulError) -> bool {
    !matches!(error.class(), ErrorClass::Denied | ErrorClass::Invalid)
}

/// Whether a session has ended, in Consul's words: those of its servers' connections speak of other sessions.
fn is_about_session(error: &ConsulError) -> bool {
    matches!(error, ConsulError::Status { status: 500, message, .. }
        if message.contains("session") && !message.contains("session shutdown"))
}

fn json(key: &str, record: &Record) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec_pretty(record)
        .map_err(|error| Failure::Refused(format!("cannot write {key}: {error}")))
}

#[cfg(test)]
mod tests;
