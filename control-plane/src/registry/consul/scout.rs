//! Who looks at the whole catalogue on behalf of the services' tasks: a sweep, a survey made once, or nobody.
//!
//! In: the strategy, the listing's index. Out: [`Found`]. Owned by the catalogue, which spawns what this hands out.
//!
//! **Invariants**: one at a time; what a stopped one found is not heard of.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::Context;
use super::service::Report;
use super::survey::survey;
use super::sweep::{Found, Sweep};
use crate::registry::outlet::Ended;

/// Findings that may wait for the catalogue.
const FINDINGS: usize = 16;
/// A survey pays when there are so many services for each node.
const SERVICES_PER_NODE: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Scout {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    task: AbortHandle,
    rescan: Arc<Notify>,
    found: mpsc::Receiver<Found>,
    /// Whether services wait for its survey.
    is_awaited: bool,
}

impl Scout {
    /// Surveys and follows the catalogue until it is stopped.
    pub(super) fn sweep(
        &mut self,
        tasks: &mut JoinSet<Result<(), Ended>>,
        context: &Arc<Context>,
        reports: &mpsc::Sender<Report>,
        listing: u64,
    ) {
        self.replace(|rescan, sender| {
            let (context, reports) = (Arc::clone(context), reports.clone());
            tasks.spawn(Sweep::new(context, rescan, sender, reports).run(listing))
        });
    }

    /// Surveys the catalogue once, if that costs less than reading each of so many services.
    pub(super) fn survey(
        &mut self,
        tasks: &mut JoinSet<Result<(), Ended>>,
        context: &Arc<Context>,
        services: usize,
        listing: u64,
    ) {
        self.replace(|_, sender| {
            let context = Arc::clone(context);
            tasks.spawn(async move {
                let nodes_max = services / SERVICES_PER_NODE;
                let found = match survey(&context.client, listing, nodes_max).await {
                    Ok(found) => found.map(|(survey, _)| survey),
                    Err(error) => {
                        tracing::info!(%error, "Reading each service by itself");
                        None
                    }
                };
                // A catalogue that stopped this one has no use for it.
                drop(sender.send(Found::Survey(found)).await);
                Ok(())
            })
        });
    }

    fn replace(&mut self, spawn: impl FnOnce(Arc<Notify>, mpsc::Sender<Found>) -> AbortHandle) {
        self.stop();
        let (sender, found) = mpsc::channel(FINDINGS);
        let rescan = Arc::new(Notify::new());
        let task = spawn(Arc::clone(&rescan), sender);
        self.running = Some(Running { task, rescan, found, is_awaited: true });
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.task.abort();
        }
    }

    /// The listing changed: what is not watched is looked at again.
    pub(super) fn rescan(&self) {
        if let Some(running) = &self.running {
            running.rescan.notify_one();
        }
    }

    /// Whether a survey is under way.
    pub(super) fn is_awaited(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_awaited)
    }

    /// What it found; nothing, while there is none. Cancel-safe.
    pub(super) async fn found(&mut self) -> Found {
        if let Some(running) = &mut self.running
            && let Some(found) = running.found.recv().await
        {
            if matches!(found, Found::Survey(_)) {
                running.is_awaited = false;
            }
            return found;
        }
        std::future::pending().await
    }
}
