//! The System documents in Consul's KV store.
//!
//! In: a watch of `PREFIX`. Out: [`RegistryEvent::Documents`] whenever a document's text, or which there are, changes;
//! the `consul-kv` [`RegistryEvent::Source`].
//!
//! **Invariants**
//! - A key with a further `/` is no document (earlier versions live there).
//! - All documents at once vanish only when it is confirmed: Consul lists nothing, with no error, for a token that may
//!   read nothing.
//! - Documents of the past are never published. A server that starts answers while it replays its log, and only a
//!   consistent read waits until it has done so. What differs in an answer that follows no other, because nothing was
//!   asked before, asking failed, or the index went back, is therefore read once more, consistently and at once. An
//!   answer that a blocking query waited for is newer than the one before it, and as good.
//! - A text that is not UTF-8 is passed on with replacement characters, so that its reader can name the bad document.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::consul::{Answer, Consistency, ConsulError, KeyValue, Query};
use tokio::sync::watch;

use super::Context;
use crate::registry::guard::{Verdict, judge_documents};
use crate::registry::hold::Hold;
use crate::registry::outlet::{Ended, chain};
use crate::registry::{RegistryError, RegistryEvent};

type Texts = BTreeMap<String, String>;

#[derive(Debug)]
pub(super) struct Documents {
    context: Arc<Context>,
    restored: watch::Receiver<u64>,
    published: Option<Texts>,
    /// Whether the watch's answers follow, without a gap, what was read consistently.
    is_sure: bool,
    /// `None`: nothing was said yet.
    reported: Option<Option<String>>,
    hold: Hold,
}

impl Documents {
    pub(super) fn new(context: Arc<Context>, restored: watch::Receiver<u64>) -> Self {
        let hold = context.hold("documents".to_owned());
        Self { context, restored, published: None, is_sure: false, reported: None, hold }
    }

    pub(super) async fn run(mut self) -> Result<(), Ended> {
        let mut watch = self.context.client.watch(self.query()).map_err(|error| {
            Ended::Died(RegistryError {
                registry: "consul",
                step: "watch the documents: raise the limits of its client".to_owned(),
                source: Box::new(error),
            })
        })?;
        loop {
            let asked = watch.index();
            tokio::select! {
                answer = watch.next() => self.take(answer, asked).await?,
                () = self.hold.due() => self.confirm().await?,
                Ok(()) = self.restored.changed() => watch.restart(),
            }
        }
    }

    fn query(&self) -> Query<Vec<KeyValue>> {
        Query::keys_below(&self.context.config.documents_prefix)
    }

    async fn take(
        &mut self,
        answer: Result<Answer<Vec<KeyValue>>, ConsulError>,
        asked: u64,
    ) -> Result<(), Ended> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.report(Some(chain(&error))).await,
        };
        self.report(None).await?;
        if asked == 0 || answer.index < asked {
            self.is_sure = false;
        }
        let texts = texts(answer.value, &self.context.config.documents_prefix);
        match judge_documents(self.published.as_ref(), &texts) {
            Verdict::Unchanged => self.hold.release().await,
            Verdict::Accept if self.is_sure => self.publish(texts).await,
            Verdict::Accept => self.confirm().await,
            Verdict::Confirm(reason) => self.hold.suspect(reason).await,
        }
    }

    /// Asks the leader, once it has all of its log, and publishes what it says.
    async fn confirm(&mut self) -> Result<(), Ended> {
        match self.read().await {
            Ok(Some(texts)) => {
                self.is_sure = true;
                self.publish(texts).await
            }
            Ok(None) => {
                let reason =
                    "Consul lists no document but has one: restore the token's key_prefix rule";
                self.hold.keep(reason.to_owned()).await
            }
            Err(error) => self.hold.keep(chain(&error)).await,
        }
    }

    /// What the leader has; `None` when its answers contradict each other: a single key, unlike a listing, is refused to
    /// a token that may not read it.
    async fn read(&self) -> Result<Option<Texts>, ConsulError> {
        let client = &self.context.client;
        let prefix = &self.context.config.documents_prefix;
        let answer = client.read(&self.query(), Consistency::Consistent).await?;
        let texts = texts(answer.value, prefix);
        if let Some(name) = self.published.iter().flat_map(BTreeMap::keys).next()
            && texts.is_empty()
            && client.get_key(&format!("{prefix}{name}"), Consistency::Consistent).await?.is_some()
        {
            return Ok(None);
        }
        Ok(Some(texts))
    }

    async fn publish(&mut self, texts: Texts) -> Result<(), Ended> {
        if self.published.as_ref() != Some(&texts) {
            self.published = Some(texts.clone());
            self.context.outlet.send(RegistryEvent::Documents(texts)).await?;
        }
        self.hold.release().await
    }

    async fn report(&mut self, error: Option<String>) -> Result<(), Ended> {
        if self.reported.as_ref() == Some(&error) {
            return Ok(());
        }
        self.reported = Some(error.clone());
        self.context.outlet.source("consul-kv", error).await
    }
}

fn texts(keys: Vec<KeyValue>, prefix: &str) -> Texts {
    keys.into_iter()
        .filter_map(|key| {
            let name = key.key.strip_prefix(prefix)?;
            let is_document = !name.is_empty() && !name.contains('/');
            is_document.then(|| (name.to_owned(), String::from_utf8_lossy(&key.value).into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_directly_below_the_prefix_are_documents() {
        let keys = ["mesh/systems/", "mesh/systems/trading", "mesh/systems/trading/versions/1"]
            .map(|key| KeyValue {
                key: key.to_owned(),
                value: b"text".to_vec(),
                modify_index: 1,
                session: None,
            });
        let expected = [("trading".to_owned(), "text".to_owned())].into();
        assert_eq!(texts(keys.into(), "mesh/systems/"), expected);
    }
}
