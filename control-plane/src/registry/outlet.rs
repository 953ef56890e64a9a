//! The way out of a registry, and why a part of one ends.
//!
//! In: events of a registry's parts, each of which has a clone of the [`Outlet`]. Out: the channel to the catalog.
//!
//! **Invariants**: nothing is lost here: a full channel makes its sender wait.

use tokio::sync::mpsc;
use tokio::task::JoinError;

use super::{RegistryError, RegistryEvent};

/// Where a registry's parts send their events.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    events: mpsc::Sender<RegistryEvent>,
}

/// Why a part of a registry stops.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody listens any more.
    ReceiverGone,
    /// It can never go on.
    Died(RegistryError),
}

impl Outlet {
    pub(super) const fn new(events: mpsc::Sender<RegistryEvent>) -> Self {
        Self { events }
    }

    pub(super) async fn send(&self, event: RegistryEvent) -> Result<(), Ended> {
        self.events.send(event).await.map_err(|_| Ended::ReceiverGone)
    }

    /// Whether a source answers: what it fails with, or `None`.
    pub(super) async fn source(
        &self,
        name: &'static str,
        error: Option<String>,
    ) -> Result<(), Ended> {
        self.send(RegistryEvent::Source { name, error }).await
    }
}

/// A task of a registry panicked.
pub(super) fn died(registry: &'static str, error: JoinError) -> Ended {
    Ended::Died(RegistryError {
        registry,
        step: "go on after one of its tasks died: report this with the log".to_owned(),
        source: Box::new(error),
    })
}

/// The outcome of a whole registry, all of whose parts have ended.
pub(super) fn outcome(ended: Result<(), Ended>) -> Result<(), RegistryError> {
    match ended {
        Ok(()) | Err(Ended::ReceiverGone) => Ok(()),
        Err(Ended::Died(error)) => Err(error),
    }
}

/// An error with all its causes, for the text of an event.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
