//! The handle by which requests get their schemas.
//!
//! In: the text of a request's `x-mesh-convert`. Out: the versions of its schema, or why there is none.
//!
//! A request whose conversion is known costs a look into the snapshot. Else it waits for the owner, beside all others that
//! wait for the same look. A request that hints at a change, because its path is unknown or the service calls its method
//! unimplemented, has the source looked at again, but not more often than a pause allows.
//!
//! **Invariants**: a request waits for a bounded time; a look that fails takes no schema away.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use contract::conversion::Conversion;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::error::{Fault, SchemaError};
use super::snapshot::{Apis, Snapshot};

/// Questions that wait for the owner's attention; more wait for a place.
pub(super) const QUEUE: usize = 1024;

/// How often sources are looked at, and how much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two questions by reflection.
    pub reflection: Duration,
    /// Between two looks at a file.
    pub file: Duration,
    /// Between two looks that requests cause.
    pub pause: Duration,
    /// How long a version that is not seen any more lives beside newer ones.
    pub keep: Duration,
    /// How long a request waits.
    pub wait: Duration,
    /// How long a conversion is kept that is not listed and has no requests.
    pub unused: Duration,
    /// Conversions at a time.
    pub conversions: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            reflection: Duration::from_secs(5),
            file: Duration::from_secs(1),
            pause: Duration::from_secs(1),
            keep: Duration::from_secs(60),
            wait: Duration::from_secs(5),
            unused: Duration::from_secs(600),
            conversions: 256,
        }
    }
}

/// Where a request waits for its answer.
pub(super) type Answer = oneshot::Sender<Result<Apis, Arc<SchemaError>>>;

/// What the owner is asked.
pub(super) enum Question {
    /// What does this look like? `is_doubt`: only what is looked at from now on counts.
    Look { conversion: Conversion, is_doubt: bool, answer: Answer },
    /// These are wanted before requests come.
    List(Vec<Conversion>),
}

/// The handle: cheap to clone, for all who need schemas.
#[derive(Debug, Clone)]
pub struct Schemas {
    questions: mpsc::Sender<Question>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    begin: Instant,
    pace: Pace,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Look { conversion, .. } => write!(f, "Look({conversion})"),
            Self::List(listed) => write!(f, "List({} conversions)", listed.len()),
        }
    }
}

impl Schemas {
    pub(super) fn new(
        questions: mpsc::Sender<Question>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        begin: Instant,
        pace: Pace,
    ) -> Self {
        Self { questions, snapshot, begin, pace }
    }

    /// The schemas for the text of a request's `x-mesh-convert`.
    ///
    /// # Errors
    /// Why there is none: the request is answered 503 with it.
    pub async fn apis(&self, text: &str) -> Result<Apis, Arc<SchemaError>> {
        let now = self.now();
        let entry = self.snapshot.borrow().get(text).cloned();
        if let Some(entry) = &entry {
            entry.usage.touch(now);
            if let Some(apis) = &entry.apis {
                return Ok(apis.clone());
            }
            if let Some((error, _)) = &entry.error
                && !entry.usage.may_ask(now, self.pace.pause)
            {
                return Err(error.clone());
            }
        }
        self.look(text, false).await
    }

    /// The same after a hint that the service changed. Unless that was asked a moment ago, the source is looked at again.
    ///
    /// # Errors
    /// As [`Schemas::apis`].
    pub async fn apis_after_doubt(&self, text: &str) -> Result<Apis, Arc<SchemaError>> {
        let entry = self.snapshot.borrow().get(text).cloned();
        match entry {
            Some(entry) if entry.usage.may_ask(self.now(), self.pace.pause) => {
                self.look(text, true).await
            }
            Some(_) | None => self.apis(text).await,
        }
    }

    /// Hints at a change without waiting for what comes of it.
    pub fn doubt(&self, text: &str) {
        let Some(entry) = self.snapshot.borrow().get(text).cloned() else { return };
        if !entry.usage.may_ask(self.now(), self.pace.pause) {
            return;
        }
        let (answer, _) = oneshot::channel();
        let conversion = entry.conversion.clone();
        let question = Question::Look { conversion, is_doubt: true, answer };
        // A full queue means that much is asked already; the source is looked at again by itself.
        self.questions.try_send(question).unwrap_or_default();
    }

    /// Has these looked at from now on, before requests for them come; replaces the list before.
    pub async fn list(&self, conversions: Vec<Conversion>) {
        // The owner is gone only at the end of the process, which has no use for schemas.
        self.questions.send(Question::List(conversions)).await.unwrap_or_default();
    }

    /// What is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// Changes with every look at a source.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    async fn look(&self, text: &str, is_doubt: bool) -> Result<Apis, Arc<SchemaError>> {
        let failed = |fault: Fault| Arc::new(fault.of(text));
        let conversion: Conversion = text.parse().map_err(|error| failed(Fault::Header(error)))?;
        let (answer, answered) = oneshot::channel();
        let question = Question::Look { conversion, is_doubt, answer };
        let asked = async {
            self.questions.send(question).await.map_err(|_| failed(Fault::Stopping))?;
            answered.await.map_err(|_| failed(Fault::Stopping))?
        };
        let slow = |_| failed(Fault::Slow(self.pace.wait));
        let result = tokio::time::timeout(self.pace.wait, asked).await.map_err(slow).flatten();
        // A doubt that cannot be cleared leaves what is known.
        result.or_else(|error| {
            let known = self.snapshot.borrow().get(text).and_then(|entry| entry.apis.clone());
            known.ok_or(error)
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
