//! The System documents in Nomad's variables: `mesh/systems/NAME`, item `document`.
//!
//! In: a watch of the listing below `mesh/systems/`; reads of variables that are new, have changed or are missing in it.
//! Out: [`RegistryEvent::Documents`] when a text, or which there are, changes; the `nomad-variables` source.
//!
//! **Invariants**: a document leaves when a read of its own says that it is not there, and all at once only when that is
//! confirmed by another read; a listing leaves out what the token may not see. An error changes nothing. Nothing leaves by
//! an index that went back before Nomad had time to settle. The first event has every document that is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::nomad::{Answer, NomadError, Query, VariableStub, Watching};
use service::backoff::Backoff;
use service::pace::Pace;
use tokio::time::Instant;

use super::Context;
use super::follow::PACE_MIN;
use crate::registry::RegistryEvent;
use crate::registry::guard::{Verdict, judge_documents};
use crate::registry::hold::Hold;
use crate::registry::outlet::{Ended, chain};

/// Below which the documents are.
const PREFIX: &str = "mesh/systems/";
/// The item that holds the text.
const ITEM: &str = "document";
/// The name of the source.
const SOURCE: &str = "nomad-variables";

type Texts = BTreeMap<String, String>;

pub(super) struct Documents {
    context: Arc<Context>,
    namespace: String,
    /// What is known of each, with the index at which it was read.
    known: BTreeMap<String, (u64, String)>,
    published: Option<Texts>,
    /// Documents without an item of the name, which are held back.
    without: BTreeSet<String>,
    index: u64,
    settles_at: Option<Instant>,
    /// `None`: nothing was said yet.
    reported: Option<Option<String>>,
    hold: Hold,
    backoff: Backoff,
    /// A read failed: the watch will not tell again what it has told.
    retry_at: Option<Instant>,
}

impl Documents {
    pub(super) fn new(context: Arc<Context>, namespace: String) -> Self {
        let confirm_after = context.config.confirm_after;
        let hold = Hold::new(context.outlet.clone(), "documents".to_owned(), confirm_after);
        Self {
            namespace,
            known: BTreeMap::new(),
            published: None,
            without: BTreeSet::new(),
            index: 0,
            settles_at: None,
            reported: None,
            hold,
            backoff: context.config.backoff.clone(),
            retry_at: None,
            context,
        }
    }

    /// Until nobody listens any more.
    pub(super) async fn run(mut self) -> Result<(), Ended> {
        let how = Watching {
            wait: self.context.config.wait,
            pace: Pace { burst: 2, interval: PACE_MIN },
            backoff: self.context.config.backoff.clone(),
        };
        let query = Query::variables(PREFIX).in_namespace(&self.namespace);
        let mut watch = self.context.client.watch(query.clone(), how);
        loop {
            let retry_at = self.retry_at;
            let retry = async {
                match retry_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let answer = tokio::select! {
                answer = watch.next() => (answer, false),
                () = self.hold.due() => (self.context.client.read(&query).await, true),
                () = retry => (self.context.client.read(&query).await, false),
            };
            self.retry_at = None;
            match answer {
                (Ok(answer), confirms) => self.take(answer, confirms).await?,
                (Err(error), _) => self.fail(&error).await?,
            }
        }
    }

    async fn take(
        &mut self,
        answer: Answer<Vec<VariableStub>>,
        confirms: bool,
    ) -> Result<(), Ended> {
        let now = Instant::now();
        if answer.index < self.index {
            tracing::warn!("Nomad's index went back; keeping the documents that it lacks");
            self.settles_at = Some(now + self.context.config.settle);
        }
        self.index = answer.index;
        let listed: BTreeMap<String, u64> = answer
            .value
            .into_iter()
            .filter_map(|stub| {
                let name = stub.path.strip_prefix(PREFIX)?.to_owned();
                let is_document = !name.is_empty() && !name.contains('/');
                is_document.then_some((name, stub.modify_index))
            })
            .collect();
        let mut texts = self.known.clone();
        let names: BTreeSet<String> = listed.keys().chain(self.known.keys()).cloned().collect();
        for name in names {
            if listed.get(&name) == self.known.get(&name).map(|(index, _)| index) {
                continue;
            }
            match self.read(&name).await {
                Ok(Some(read)) => drop(texts.insert(name, read)),
                Ok(None) => drop(texts.remove(&name)),
                Err(error) => return self.fail(&error).await,
            }
        }
        self.backoff.reset();
        self.report(None).await?;
        self.judge(texts, confirms, now).await
    }

    /// A variable's index and text; `None`: it is not there.
    async fn read(&self, name: &str) -> Result<Option<(u64, String)>, NomadError> {
        let query = Query::variable(&format!("{PREFIX}{name}")).in_namespace(&self.namespace);
        match self.context.client.read(&query).await {
            // Without the item the text is empty, which is a document that cannot be read: whoever parses it says so.
            Ok(Answer { value, .. }) => {
                let text = value.items.get(ITEM).cloned().unwrap_or_default();
                Ok(Some((value.modify_index, text)))
            }
            Err(NomadError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn judge(
        &mut self,
        known: BTreeMap<String, (u64, String)>,
        confirms: bool,
        now: Instant,
    ) -> Result<(), Ended> {
        let texts: Texts =
            known.iter().map(|(name, (_, text))| (name.clone(), text.clone())).collect();
        let lost = self.known.keys().any(|name| !known.contains_key(name));
        if let Some(at) = self.settles_at.filter(|at| *at > now && lost) {
            let reason = "documents are gone, and Nomad's index went back".to_owned();
            return self.hold.until(at, reason).await;
        }
        self.name_those_without(&texts).await?;
        match judge_documents(self.published.as_ref(), &texts) {
            Verdict::Confirm(reason) if !confirms => self.hold.suspect(reason).await,
            Verdict::Unchanged => {
                self.known = known;
                self.hold.release().await
            }
            Verdict::Accept | Verdict::Confirm(_) => {
                self.known = known;
                self.published = Some(texts.clone());
                self.context.outlet.send(RegistryEvent::Documents(texts)).await?;
                self.hold.release().await
            }
        }
    }

    async fn name_those_without(&mut self, texts: &Texts) -> Result<(), Ended> {
        let without: BTreeSet<String> = texts
            .iter()
            .filter(|(_, text)| text.is_empty())
            .map(|(name, _)| format!("variable {PREFIX}{name}"))
            .collect();
        let before = std::mem::replace(&mut self.without, without.clone());
        for subject in before.symmetric_difference(&without) {
            let reason = without
                .contains(subject)
                .then(|| format!("it has no item {ITEM:?}: nomad var put PATH {ITEM}=@FILE"));
            let held = RegistryEvent::Held { subject: subject.clone(), reason };
            self.context.outlet.send(held).await?;
        }
        Ok(())
    }

    async fn fail(&mut self, error: &NomadError) -> Result<(), Ended> {
        let error = chain(error);
        self.retry_at = Some(Instant::now() + self.backoff.next_pause(Duration::ZERO));
        if self.hold.recheck_at().is_some() {
            self.hold.keep(error.clone()).await?;
        }
        self.report(Some(error)).await
    }

    async fn report(&mut self, error: Option<String>) -> Result<(), Ended> {
        if self.reported.as_ref() == Some(&error) {
            return Ok(());
        }
        self.reported = Some(error.clone());
        self.context.outlet.source(SOURCE, error).await
    }
}
