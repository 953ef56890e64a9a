//! Consul's records → [`KeyTable`]s, for as long as the process lives.

use std::sync::Arc;
use std::time::Duration;

use consul::{Consistency, ConsulClient, ConsulError, KeyValue, Query};
use contract::keys::ROOT;
use service::ErrorChain;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::KeyTable;

/// A folder that came out empty is asked for again after this time, until Consul says whether it is.
const DOUBT: Duration = Duration::from_secs(1);

/// Follows the records of keys.
#[derive(Debug)]
pub struct KeyFollower {
    client: ConsulClient,
    table: watch::Sender<Arc<KeyTable>>,
    /// A record that was there when Consul last listed any.
    witness: Option<String>,
}

impl KeyFollower {
    /// Prepares it; the table is unread until [`Self::run`] has read it.
    pub fn new(client: ConsulClient) -> (Self, watch::Receiver<Arc<KeyTable>>) {
        let (table, receiver) = watch::channel(Arc::default());
        (Self { client, table, witness: None }, receiver)
    }

    /// Reads the records, and again whenever one changes, until `shutdown`.
    ///
    /// # Errors
    /// [`ConsulError::NoCapacity`] when the client has no place for a watch; everything else is tried again.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), ConsulError> {
        let mut watch = self.client.watch(Query::keys_below(ROOT))?;
        loop {
            let answer = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                answer = watch.next() => answer,
            };
            match answer {
                Err(error) => self.fails(&ErrorChain(&error).to_string()),
                Ok(answer) => match self.believed(&answer.value).await {
                    Ok(()) => self.publish(&answer.value),
                    Err(reason) => {
                        self.fails(&reason);
                        watch.restart();
                        tokio::select! {
                            () = shutdown.cancelled() => return Ok(()),
                            () = tokio::time::sleep(DOUBT) => {}
                        }
                    }
                },
            }
        }
    }

    /// Consul lists nothing, without an error, for a token that may read nothing; one key, unlike a listing, is
    /// refused to it.
    async fn believed(&self, entries: &[KeyValue]) -> Result<(), String> {
        let Some(witness) = self.witness.as_ref().filter(|_| entries.is_empty()) else {
            return Ok(());
        };
        match self.client.get_key(witness, Consistency::Consistent).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(format!(
                "Consul lists no key but has one: restore the token's rule key_prefix \"{ROOT}\""
            )),
            Err(error) => Err(ErrorChain(&error).to_string()),
        }
    }

    fn publish(&mut self, entries: &[KeyValue]) {
        self.witness = entries.first().map(|entry| entry.key.clone());
        let table = KeyTable::read(entries);
        let before = self.table.borrow().clone();
        for (key, reason) in &table.rejected {
            if before.rejected.get(key) != Some(reason) {
                warn!(key, reason, "Ignoring a key's record: repair or delete it");
            }
        }
        if before.failing_since.is_some() || !before.is_read {
            info!(keys = table.len(), "Reading API keys from Consul");
        }
        self.table.send_replace(Arc::new(table));
    }

    fn fails(&self, error: &str) {
        let before = self.table.borrow().clone();
        if before.failing_since.is_some() {
            return;
        }
        warn!(
            error,
            keys = before.len(),
            "Cannot read API keys from Consul; those known stay valid"
        );
        let failing_since = Some(Instant::now().into_std());
        self.table.send_replace(Arc::new(KeyTable { failing_since, ..(*before).clone() }));
    }
}
