//! The one owner of all schemas.
//!
//! In: questions of requests, a list of conversions, time. Out: a [`Snapshot`] after each look at a source.
//!
//! A source is looked at again every few seconds, and at once when a request doubts what is known.
//!
//! **Invariants**: one look at a source at a time; who doubts gets what a look that began after the doubt brought; the
//! number of conversions is bounded. **Absent**: IO, which is in `source.rs`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use contract::conversion::Conversion;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use service::ErrorChain;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::{Fault, SchemaError};
use super::file::{Failure, Stamp};
use super::handle::{Answer, Pace, QUEUE, Question, Schemas};
use super::snapshot::{Apis, Entry, Snapshot, Usage};
use super::source::{Seen, Sources};
use super::versions::Versions;

/// The owner; run as one task.
#[derive(Debug)]
pub struct Owner {
    sources: Arc<Sources>,
    questions: mpsc::Receiver<Question>,
    publish: watch::Sender<Arc<Snapshot>>,
    snapshot: Snapshot,
    owned: BTreeMap<String, Owned>,
    pace: Pace,
    begin: Instant,
}

/// What the owner knows of one conversion.
#[derive(Debug)]
struct Owned {
    conversion: Conversion,
    is_listed: bool,
    versions: Versions,
    stamp: Option<Stamp>,
    error: Option<(Arc<SchemaError>, Instant)>,
    looked: Option<Instant>,
    is_looking: bool,
    due: Instant,
    /// They get what the look under way brings.
    waiting: Vec<Answer>,
    /// They get what the next one brings.
    doubting: Vec<Answer>,
    usage: Arc<Usage>,
}

type Look = BoxFuture<'static, (String, Result<Seen, Failure>)>;

impl Owner {
    /// An owner of nothing, and the handle to it.
    pub fn new(sources: Sources, pace: Pace) -> (Self, Schemas) {
        let (send, questions) = mpsc::channel(QUEUE);
        let (publish, snapshot) = watch::channel(Arc::new(Snapshot::default()));
        let begin = Instant::now();
        let owner = Self {
            sources: Arc::new(sources),
            questions,
            publish,
            snapshot: Snapshot::default(),
            owned: BTreeMap::new(),
            pace,
            begin,
        };
        (owner, Schemas::new(send, snapshot, begin, pace))
    }

    /// Owns until shutdown.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut looks: FuturesUnordered<Look> = FuturesUnordered::new();
        loop {
            let due = self.begin_looks(&mut looks);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some((text, seen)) = looks.next() => self.fold(&text, seen),
                Some(question) = self.questions.recv() => self.hear(question),
                () = tokio::time::sleep_until(due) => self.forget_unused(),
            }
        }
    }

    /// Looks at all sources that are due; says when the next one is.
    fn begin_looks(&mut self, looks: &mut FuturesUnordered<Look>) -> Instant {
        let now = Instant::now();
        for (text, owned) in &mut self.owned {
            if owned.is_looking || owned.due > now {
                continue;
            }
            owned.is_looking = true;
            owned.waiting.append(&mut owned.doubting);
            let (sources, text) = (self.sources.clone(), text.clone());
            let (conversion, stamp) = (owned.conversion.clone(), owned.stamp);
            let compiled = owned.versions.compiled();
            looks.push(Box::pin(async move {
                (text, sources.look(&conversion, stamp, compiled).await)
            }));
        }
        let next = self.owned.values().filter(|owned| !owned.is_looking).map(|owned| owned.due);
        next.min().unwrap_or(now + self.pace.unused)
    }

    fn hear(&mut self, question: Question) {
        match question {
            Question::Look { conversion, is_doubt, answer } => match self.own(&conversion, false) {
                Err(error) => drop(answer.send(Err(error))),
                Ok(owned) if owned.is_looking && !is_doubt => owned.waiting.push(answer),
                Ok(owned) => {
                    owned.due = Instant::now();
                    owned.doubting.push(answer);
                }
            },
            Question::List(listed) => {
                for owned in self.owned.values_mut() {
                    owned.is_listed = false;
                }
                for conversion in listed {
                    match self.own(&conversion, true) {
                        Ok(owned) => owned.is_listed = true,
                        Err(error) => {
                            let error = ErrorChain(error.as_ref()).to_string();
                            tracing::warn!(%conversion, %error, "Leaving a listed conversion out");
                        }
                    }
                }
            }
        }
    }

    /// The conversion, new if need be.
    fn own(
        &mut self,
        conversion: &Conversion,
        is_listed: bool,
    ) -> Result<&mut Owned, Arc<SchemaError>> {
        let (text, now, most) = (conversion.to_string(), Instant::now(), self.pace.conversions);
        if !self.owned.contains_key(&text) && self.owned.len() >= most {
            return Err(Arc::new(Fault::TooManyConversions(most).of(text)));
        }
        let used = u64::try_from((now - self.begin).as_millis()).unwrap_or(u64::MAX);
        let keep = self.pace.keep;
        let owned = self.owned.entry(text).or_insert_with(|| {
            let usage = Arc::new(Usage::default());
            usage.touch(used);
            Owned {
                conversion: conversion.clone(),
                is_listed,
                versions: Versions::new(keep),
                stamp: None,
                error: None,
                looked: None,
                is_looking: false,
                due: now,
                waiting: Vec::new(),
                doubting: Vec::new(),
                usage,
            }
        });
        Ok(owned)
    }

    /// Takes in what a look brought, answers who waits, publishes.
    fn fold(&mut self, text: &str, seen: Result<Seen, Failure>) {
        let now = Instant::now();
        let Some(owned) = self.owned.get_mut(text) else { return };
        let pace = match owned.conversion.descriptors {
            Some(_) => self.pace.file,
            None => self.pace.reflection,
        };
        owned.fold(seen, now, pace);
        owned.due = if owned.doubting.is_empty() { now + pace } else { now };
        let entry = Arc::new(owned.entry());
        let result = match (&entry.apis, &entry.error) {
            (Some(apis), _) => Ok(apis.clone()),
            (None, Some((error, _))) => Err(error.clone()),
            (None, None) => Err(Arc::new(Fault::Malformed.of(text))),
        };
        self.snapshot.entries.insert(text.to_owned(), entry);
        self.publish.send_replace(Arc::new(self.snapshot.clone()));
        for waiting in self.owned.get_mut(text).iter_mut().flat_map(|owned| owned.waiting.drain(..))
        {
            // Who does not wait any more has its error already.
            drop(waiting.send(result.clone()));
        }
    }

    fn forget_unused(&mut self) {
        let unused = self.begin.elapsed().saturating_sub(self.pace.unused).as_millis();
        let unused = u64::try_from(unused).unwrap_or(u64::MAX);
        let before = self.owned.len();
        self.owned.retain(|text, owned| {
            let is_kept = owned.is_listed || owned.is_looking || owned.usage.used() >= unused;
            if !is_kept {
                self.snapshot.entries.remove(text);
            }
            is_kept
        });
        if self.owned.len() < before {
            self.publish.send_replace(Arc::new(self.snapshot.clone()));
        }
    }
}

impl Owned {
    fn fold(&mut self, seen: Result<Seen, Failure>, now: Instant, pace: Duration) {
        self.is_looking = false;
        self.looked = Some(now);
        match seen {
            Ok(Seen::Version { id, api, stamp }) => {
                self.stamp = stamp;
                if self.error.take().is_some() {
                    tracing::info!(conversion = %self.conversion, "A schema can be learnt again");
                }
                let bindings = api.bindings().len();
                if self.versions.saw(id, api, now, pace) {
                    let conversion = &self.conversion;
                    tracing::info!(%conversion, version = %id, bindings, "Learnt a version of a schema");
                }
            }
            // What was wrong with the file still is.
            Ok(Seen::Unchanged) if self.error.is_some() => {}
            Ok(Seen::Unchanged) => self.versions.saw_last(now, pace),
            Err(Failure { fault, stamp }) => {
                self.stamp = stamp;
                let origin = match &self.conversion.descriptors {
                    Some(file) => format!("descriptor file {file}"),
                    None => format!("service {}", self.conversion.service),
                };
                let error = Arc::new(fault.of(origin));
                let text = ErrorChain(error.as_ref()).to_string();
                let before = self.error.as_ref();
                let since = before.map_or(now, |(_, since)| *since);
                if before.is_none_or(|(before, _)| ErrorChain(before.as_ref()).to_string() != text)
                {
                    let kept = self.versions.alive().len();
                    tracing::warn!(conversion = %self.conversion, error = %text, kept, "Keeping the schema as it was");
                }
                self.error = Some((error, since));
            }
        }
    }

    fn entry(&self) -> Entry {
        let versions = self.versions.alive();
        let apis: Vec<_> = versions.iter().map(|version| version.api.clone()).collect();
        Entry {
            conversion: self.conversion.clone(),
            apis: Some(Apis::from(apis)).filter(|apis| !apis.is_empty()),
            versions,
            error: self.error.clone(),
            looked: self.looked,
            is_listed: self.is_listed,
            usage: self.usage.clone(),
        }
    }
}
