//! The System documents in Nomad's variables: `mesh/systems/NAME`, item `document`.
//!
//! In: a watch of the listing below `mesh/systems/`; reads of variables that are new, have changed or are missing in it.
//! Out: [`RegistryEvent::Documents`] when a text, or which there are, changes; the `nomad-variables` source.
//!
//! **Invariants**
//! - A document leaves when a read of its own says that it is not there, and all at once only when that is confirmed by
//!   another read; a listing leaves out what the token may not see.
//! - The first event has every document that is listed. Later, one that cannot be read stays as it was and holds up no
//!   other.
//! - Nothing leaves by an index that went back before Nomad had time to settle; what is new arrives meanwhile.
//! - Nothing more is needed against documents of the past: a Nomad server that starts answers no read but a stale one
//!   before it has replayed its log (`forward` in Nomad's `nomad/rpc.go`).

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
/// Each document with the index at which it was read.
type Known = BTreeMap<String, (u64, String)>;

/// Why the listing was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// By the watch.
    Watch,
    /// To confirm what is held.
    Confirm,
    /// Because a read failed.
    Retry,
}

pub(super) struct Documents {
    context: Arc<Context>,
    namespace: String,
    known: Known,
    published: Option<Texts>,
    /// Documents without an item of the name, which are held back.
    without: BTreeSet<String>,
    /// Of the watch's last answer.
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
                answer = watch.next() => (answer, Asked::Watch),
                () = self.hold.due() => (self.context.client.read(&query).await, Asked::Confirm),
                () = retry => (self.context.client.read(&query).await, Asked::Retry),
            };
            self.retry_at = None;
            match answer {
                (Ok(answer), asked) => self.take(answer, asked).await?,
                (Err(error), _) => self.fail(&error).await?,
            }
        }
    }

    async fn take(&mut self, answer: Answer<Vec<VariableStub>>, asked: Asked) -> Result<(), Ended> {
        let now = Instant::now();
        if answer.index < self.index {
            tracing::warn!("Nomad's index went back; keeping the documents that it lacks");
            self.settles_at = Some(now + self.context.config.settle);
        }
        // A read may be newer than an answer that the watch has yet to bring.
        if asked == Asked::Watch {
            self.index = answer.index;
        }
        let listed: BTreeMap<String, u64> = answer
            .value
            .into_iter()
            .filter_map(|stub| {
                let name = stub.path.strip_prefix(PREFIX)?.to_owned();
                let is_document = !name.is_empty() && !name.contains('/');
                is_document.then_some((name, stub.modify_index))
            })
            .collect();
        let (known, failure) = self.read_changed(&listed).await;
        match &failure {
            Some(error) if self.published.is_none() => return self.fail(error).await,
            _ => self.judge(known, asked == Asked::Confirm, now).await?,
        }
        match failure {
            Some(error) => self.fail(&error).await,
            None => {
                self.backoff.reset();
                self.report(None).await
            }
        }
    }

    /// What is known once everything that differs from the listing is read; and the first failure, whose document
    /// stays as it was.
    async fn read_changed(&self, listed: &BTreeMap<String, u64>) -> (Known, Option<NomadError>) {
        let (mut known, mut failure) = (self.known.clone(), None);
        let names: BTreeSet<&String> = listed.keys().chain(self.known.keys()).collect();
        for name in names {
            if listed.get(name) == self.known.get(name).map(|(index, _)| index) {
                continue;
            }
            match self.read(name).await {
                Ok(Some(read)) => drop(known.insert(name.clone(), read)),
                Ok(None) => drop(known.remove(name)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        (known, failure)
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

    async fn judge(&mut self, mut known: Known, confirms: bool, now: Instant) -> Result<(), Ended> {
        let settling = self.settles_at.filter(|at| *at > now);
        let kept_until =
            if settling.is_some() && self.keep_lost(&mut known) { settling } else { None };
        let texts: Texts =
            known.iter().map(|(name, (_, text))| (name.clone(), text.clone())).collect();
        self.name_those_without(&texts).await?;
        match judge_documents(self.published.as_ref(), &texts) {
            Verdict::Confirm(reason) if !confirms => return self.hold.suspect(reason).await,
            Verdict::Unchanged => self.known = known,
            Verdict::Accept | Verdict::Confirm(_) => {
                self.known = known;
                self.published = Some(texts.clone());
                self.context.outlet.send(RegistryEvent::Documents(texts)).await?;
            }
        }
        match kept_until {
            None => self.hold.release().await,
            Some(at) => {
                let reason = "documents are gone, and Nomad's index went back".to_owned();
                self.hold.until(at, reason).await
            }
        }
    }

    /// Adds what was known and is gone; whether there is any.
    fn keep_lost(&self, known: &mut Known) -> bool {
        let before = known.len();
        for (name, read) in &self.known {
            known.entry(name.clone()).or_insert_with(|| read.clone());
        }
        known.len() > before
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
