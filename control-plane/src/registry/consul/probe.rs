//! Whether the token sees the catalogue.
//!
//! A token that lost its rights gets empty lists with status 200. Every Consul has a service `consul` with healthy
//! servers: a token that does not see it, in the listing and with its instances, sees nothing that can be believed.
//!
//! In: the time since when the answer must hold. Out: the catalogue's index, or a reason an operator can act on.
//! **Invariants**: however many ask at once, one probe runs.

use std::sync::Arc;
use std::time::Duration;

use ::consul::{Consistency, ConsulClient, Query};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::Instant;

use super::Context;
use super::service::Report;
use crate::registry::outlet::{Ended, chain};

/// A refusal stays in force so long, so that a thousand held services do not probe a thousand times.
const REFUSAL_LASTS: Duration = Duration::from_secs(1);

const BLIND: &str = "the token cannot see the catalogue: give it service_prefix \"\" { policy = \"read\" } \
                     and node_prefix \"\" { policy = \"read\" }";

/// Probes at intervals, and more often while the token is blind or someone doubts it.
///
/// A blocking query survives the restore of a snapshot with the old value; an index lower than the probe before saw is
/// how the restore shows. The documents have an index of their own: a snapshot may differ in them alone.
pub(super) async fn keep_watch(
    context: Arc<Context>,
    doubt: Arc<Notify>,
    reports: mpsc::Sender<Report>,
) -> Result<(), Ended> {
    let mut interval = context.config.probe_interval;
    let (mut last_index, mut last_documents) = (0, 0);
    let documents = Query::keys_below(&context.config.documents_prefix);
    loop {
        // Either way it is time to look: a doubt only makes it sooner.
        drop(tokio::time::timeout(interval, doubt.notified()).await);
        let report = match context.probe.verify(Instant::now()).await {
            Ok(index) => {
                interval = context.config.probe_interval;
                let went_back = index < last_index;
                last_index = index;
                if went_back { Report::WentBack } else { Report::Sighted }
            }
            Err(reason) => {
                interval = REFUSAL_LASTS;
                Report::Blind(reason)
            }
        };
        let is_blind = matches!(report, Report::Blind(_));
        reports.send(report).await.map_err(|_| Ended::ReceiverGone)?;
        if is_blind {
            continue;
        }
        // Its failure is the documents' own to report.
        if let Ok(answer) = context.client.read(&documents, Consistency::Consistent).await {
            if answer.index < last_documents {
                reports.send(Report::DocumentsWentBack).await.map_err(|_| Ended::ReceiverGone)?;
            }
            last_documents = answer.index;
        }
    }
}

#[derive(Debug)]
pub(super) struct Probe {
    client: ConsulClient,
    last: Mutex<Option<Sighting>>,
}

#[derive(Debug, Clone)]
struct Sighting {
    started: Instant,
    outcome: Result<u64, String>,
}

impl Probe {
    pub(super) fn new(client: ConsulClient) -> Self {
        Self { client, last: Mutex::new(None) }
    }

    /// The index of the catalogue, as the token saw it at `since` or later.
    pub(super) async fn verify(&self, since: Instant) -> Result<u64, String> {
        let mut last = self.last.lock().await;
        if let Some(sighting) = &*last
            && (sighting.started >= since || sighting.is_lasting_refusal())
        {
            return sighting.outcome.clone();
        }
        let started = Instant::now();
        let outcome = self.look().await;
        *last = Some(Sighting { started, outcome: outcome.clone() });
        outcome
    }

    /// The last refusal, while it is in force.
    pub(super) async fn refusal(&self) -> Option<String> {
        let last = self.last.lock().await;
        last.as_ref().filter(|sighting| sighting.is_lasting_refusal())?.outcome.clone().err()
    }

    async fn look(&self) -> Result<u64, String> {
        let (services, servers) = (Query::services(), Query::health_service("consul"));
        let (services, servers) = tokio::try_join!(
            self.client.read(&services, Consistency::Consistent),
            self.client.read(&servers, Consistency::Consistent),
        )
        .map_err(|error| chain(&error))?;
        if services.value.contains_key("consul") && !servers.value.is_empty() {
            Ok(services.index)
        } else {
            Err(BLIND.to_owned())
        }
    }
}

impl Sighting {
    fn is_lasting_refusal(&self) -> bool {
        self.outcome.is_err() && self.started.elapsed() < REFUSAL_LASTS
    }
}
