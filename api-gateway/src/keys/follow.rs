//! Consul's records → [`KeyTable`]s, for as long as the process lives.
//!
//! In: a watch of the records. Out: a table whenever they change, or when Consul fails and when it answers again.
//!
//! **Invariants**
//! - Records of the past never come into force: a key that was revoked stays revoked. A server that starts answers while
//!   it replays its log; only a consistent read waits until it has done so. What follows no other answer, or is older than
//!   what is known, is therefore read once more, consistently.
//! - All records at once vanish only when it is confirmed: Consul lists nothing, without an error, for a token that may
//!   read nothing; one key, unlike a listing, is refused to it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use consul::{Answer, Consistency, ConsulClient, ConsulError, KeyValue, Query, Watch};
use contract::keys::ROOT;
use service::ErrorChain;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::KeyTable;

/// Records that are not believed are asked for again after this time.
const DOUBT: Duration = Duration::from_secs(1);

type Records = Vec<KeyValue>;

/// Follows the records of keys.
#[derive(Debug)]
pub struct KeyFollower {
    client: ConsulClient,
    table: watch::Sender<Arc<KeyTable>>,
    /// The index of the records that are in force.
    index: u64,
    /// A record that was there when Consul last listed any.
    witness: Option<String>,
    /// What the log was last told of Consul's failing; `None` while it answers.
    told: Option<String>,
}

impl KeyFollower {
    /// Prepares it; the table is unread until [`Self::run`] has read it.
    pub fn new(client: ConsulClient) -> (Self, watch::Receiver<Arc<KeyTable>>) {
        let (table, receiver) = watch::channel(Arc::default());
        (Self { client, table, index: 0, witness: None, told: None }, receiver)
    }

    /// Reads the records, and again whenever one changes, until `shutdown`.
    ///
    /// # Errors
    /// [`ConsulError::NoCapacity`] when the client has no place for a watch; everything else is tried again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ConsulError> {
        let watch = self.client.watch(Query::keys_below(ROOT))?;
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            never = self.follow(watch) => match never {},
        }
    }

    async fn follow(mut self, mut watch: Watch<Records>) -> Infallible {
        loop {
            let asked = watch.index();
            let answer = match watch.next().await {
                Ok(answer) => answer,
                Err(error) => {
                    self.fails(ErrorChain(&error).to_string());
                    continue;
                }
            };
            match self.believed(answer, asked).await {
                Ok(answer) => self.publish(&answer),
                Err(reason) => {
                    self.fails(reason);
                    watch.restart();
                    tokio::time::sleep(DOUBT).await;
                }
            }
        }
    }

    /// The answer to a query that asked for what is newer than `asked`, or what one more read makes of it.
    async fn believed(
        &self,
        answer: Answer<Records>,
        asked: u64,
    ) -> Result<Answer<Records>, String> {
        let is_newer = asked > 0 && answer.index >= self.index;
        if is_newer && !answer.value.is_empty() {
            return Ok(answer);
        }
        self.confirmed().await.map_err(|error| ErrorChain(&error).to_string())?.ok_or_else(|| {
            format!(
                "Consul lists no key but has one: restore the token's rule key_prefix \"{ROOT}\""
            )
        })
    }

    /// What the leader has, once it has all of its log; `None` when its answers contradict each other.
    async fn confirmed(&self) -> Result<Option<Answer<Records>>, ConsulError> {
        let answer = self.client.read(&Query::keys_below(ROOT), Consistency::Consistent).await?;
        let witness = self.witness.as_ref().filter(|_| answer.value.is_empty());
        if let Some(witness) = witness
            && self.client.get_key(witness, Consistency::Consistent).await?.is_some()
        {
            return Ok(None);
        }
        Ok(Some(answer))
    }

    fn publish(&mut self, answer: &Answer<Records>) {
        self.index = answer.index;
        self.witness = answer.value.first().map(|entry| entry.key.clone());
        let table = KeyTable::read(&answer.value);
        let before = self.table.borrow().clone();
        for (key, reason) in &table.rejected {
            if before.rejected.get(key) != Some(reason) {
                warn!(key, reason, "Ignoring a key's record: repair or delete it");
            }
        }
        if self.told.take().is_some() || !before.is_read {
            info!(keys = table.len(), "Reading API keys from Consul");
        }
        self.table.send_replace(Arc::new(table));
    }

    fn fails(&mut self, error: String) {
        if self.told.as_ref() == Some(&error) {
            return;
        }
        let before = self.table.borrow().clone();
        let keys = before.len();
        warn!(error, keys, "Cannot read API keys from Consul; those known stay valid");
        self.told = Some(error);
        if before.failing_since.is_none() {
            let failing_since = Some(Instant::now().into_std());
            self.table.send_replace(Arc::new(KeyTable { failing_since, ..(*before).clone() }));
        }
    }
}

#[cfg(test)]
mod tests;
