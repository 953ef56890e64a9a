//! Tells which services to read, with a blocking query for each node instead of one for each service.
//!
//! In: the checks that do not pass, all nodes, their registrations. Out: [`Found`]: a survey of everything, then the
//! services that changed. There are far fewer nodes than services, and of thousands of checks few do not pass: watching
//! those costs Consul as little with ten thousand instances as with ten. Started and ended by the catalogue.
//!
//! **Invariants**: whatever differs from what was seen before makes its services dirty, so nothing is missed that
//! Consul shows; what a watch cannot tell (nodes beyond the watched ones) is scanned after the listing woke.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ::consul::{Answer, Check, CheckState, Consistency, ConsulError, Pace, Query, Watch};
use futures::future::join_all;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::Context;
use super::known::{Dirty, Known};
use super::node_watches::NodeWatches;
use super::service::Report;
use super::survey::{Baseline, Survey, survey};
use crate::registry::outlet::{Ended, chain};

/// While all checks pass, any check's output wakes these watches, with an empty answer.
const CHECKS_INTERVAL: Duration = Duration::from_millis(20);
const INTERVAL_PER_CHECK: Duration = Duration::from_micros(50);
const CHECKS_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// Scans take at most this share of the time: one part in five.
const REST_PER_SCAN: u32 = 4;
/// Before what failed is scanned again.
const RESCAN_AFTER: Duration = Duration::from_millis(500);

/// What the catalogue is told.
#[derive(Debug)]
pub(super) enum Found {
    /// The first look at everything; `None`: each service is to be read by itself.
    Survey(Option<Survey>),
    /// Services to read again.
    Dirty(Dirty),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sweep {
    context: Arc<Context>,
    rescan: Arc<Notify>,
    found: mpsc::Sender<Found>,
    reports: mpsc::Sender<Report>,
    failing: BTreeSet<String>,
}

impl Sweep {
    pub(super) fn new(
        context: Arc<Context>,
        rescan: Arc<Notify>,
        found: mpsc::Sender<Found>,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        Self { context, rescan, found, reports, failing: BTreeSet::new() }
    }

    /// Surveys everything, then follows it. `listing` is an index of the listing of services.
    pub(super) async fn run(mut self, listing: u64) -> Result<(), Ended> {
        let (survey, baseline) = self.survey(listing).await?;
        self.send(Found::Survey(Some(survey))).await?;
        let Baseline { mut known, nodes, warning, critical, registered } = baseline;
        let mut nodes = self.watch(Query::nodes(), nodes).await?;
        let mut critical = self.watch(Query::checks_in(CheckState::Critical), critical).await?;
        let mut warning = self.watch(Query::checks_in(CheckState::Warning), warning).await?;
        let mut watches = NodeWatches::new(Arc::clone(&self.context));
        watches.follow(&registered);
        let (rescan, mut is_stale, mut rested_at) =
            (Arc::clone(&self.rescan), false, Instant::now());
        loop {
            tokio::select! {
                () = rescan.notified() => is_stale = true,
                () = tokio::time::sleep_until(rested_at), if is_stale => {
                    let started = Instant::now();
                    is_stale = !self.scan(&mut known, &watches).await?;
                    let floor = if is_stale { RESCAN_AFTER } else { Duration::ZERO };
                    rested_at = Instant::now() + (started.elapsed() * REST_PER_SCAN).max(floor);
                }
                answer = watches.next() => {
                    let (node, answer) = answer?;
                    if let Some(answer) = self.note(&registrations_of(&node), answer).await? {
                        self.mark(known.registered(&node, answer.value)).await?;
                    }
                }
                answer = nodes.next() => {
                    if let Some(answer) = self.note("nodes", answer).await? {
                        self.mark(known.nodes(answer.value)).await?;
                        watches.follow(&known.node_names().map(|node| (node.clone(), 0)).collect());
                        self.forget_nodes(&known).await?;
                        is_stale = true;
                    }
                }
                answer = critical.next() => {
                    self.take_checks(CheckState::Critical, &mut critical, &mut known, answer).await?;
                }
                answer = warning.next() => {
                    self.take_checks(CheckState::Warning, &mut warning, &mut known, answer).await?;
                }
            }
        }
    }

    /// Tries until Consul has answered all of it.
    async fn survey(&mut self, listing: u64) -> Result<(Survey, Baseline), Ended> {
        let mut backoff = self.context.client.backoff();
        loop {
            let outcome = survey(&self.context.client, listing, usize::MAX).await;
            if let Some(found) = self.note("survey", outcome).await?.flatten() {
                return Ok(found);
            }
            tokio::time::sleep(backoff.next_pause(Duration::ZERO)).await;
        }
    }

    /// A watch, as soon as there is a place for it.
    async fn watch<T>(&mut self, query: Query<T>, index: u64) -> Result<Watch<T>, Ended>
    where
        T: DeserializeOwned + Default + Send + 'static,
    {
        loop {
            let watch = self.context.client.watch_from(query.clone(), index);
            if let Some(watch) = self.note("watches", watch).await? {
                return Ok(watch);
            }
            tokio::time::sleep(RESCAN_AFTER).await;
        }
    }

    async fn take_checks(
        &mut self,
        state: CheckState,
        watch: &mut Watch<Vec<Check>>,
        known: &mut Known,
        answer: Result<Answer<Vec<Check>>, ConsulError>,
    ) -> Result<(), Ended> {
        let subject = match state {
            CheckState::Warning => "checks that warn",
            CheckState::Critical => "critical checks",
        };
        let Some(answer) = self.note(subject, answer).await? else { return Ok(()) };
        watch.set_pace(checks_pace(answer.value.len()));
        self.mark(known.checks(state, answer.value)).await
    }

    /// Lists the registrations of nodes without a watch; `false` when some could not be read.
    async fn scan(&mut self, known: &mut Known, watches: &NodeWatches) -> Result<bool, Ended> {
        let client = &self.context.client;
        let unwatched = known.node_names().filter(|node| !watches.has(node)).cloned();
        let reads = unwatched.map(|node| async move {
            let answer = client.read(&Query::node_services(&node), Consistency::Default).await;
            (node, answer)
        });
        let answers = join_all(reads).await;
        let (mut dirty, mut failure) = (Dirty::new(), None);
        for (node, answer) in answers {
            match answer {
                Ok(answer) => dirty.extend(known.registered(&node, answer.value)),
                Err(error) => failure = Some(error),
            }
        }
        let is_complete = failure.is_none();
        self.note("registrations", failure.map_or(Ok(()), Err)).await?;
        self.mark(dirty).await?;
        Ok(is_complete)
    }

    async fn mark(&self, dirty: Dirty) -> Result<(), Ended> {
        if dirty.is_empty() { Ok(()) } else { self.send(Found::Dirty(dirty)).await }
    }

    async fn send(&self, found: Found) -> Result<(), Ended> {
        self.found.send(found).await.map_err(|_| Ended::ReceiverGone)
    }

    /// Reports a failure and its end; the value of a success.
    async fn note<T>(
        &mut self,
        subject: &str,
        outcome: Result<T, ConsulError>,
    ) -> Result<Option<T>, Ended> {
        let error = outcome.as_ref().err().map(|error| chain(error));
        let was_failing = self.failing.remove(subject);
        if error.is_some() {
            self.failing.insert(subject.to_owned());
        }
        if error.is_some() || was_failing {
            let report = Report::Failing { subject: format!("({subject})").into(), error };
            self.reports.send(report).await.map_err(|_| Ended::ReceiverGone)?;
        }
        Ok(outcome.ok())
    }

    /// What is gone fails no longer.
    async fn forget_nodes(&mut self, known: &Known) -> Result<(), Ended> {
        let there: BTreeSet<String> =
            known.node_names().map(|node| registrations_of(node)).collect();
        let of_nodes = self.failing.iter().filter(|subject| subject.starts_with(OF_NODE));
        let gone: Vec<String> =
            of_nodes.filter(|subject| !there.contains(*subject)).cloned().collect();
        for subject in gone {
            self.note(&subject, Ok(())).await?;
        }
        Ok(())
    }
}

const OF_NODE: &str = "registrations of ";

fn registrations_of(node: &str) -> String {
    format!("{OF_NODE}{node}")
}

fn checks_pace(checks: usize) -> Pace {
    let cost = INTERVAL_PER_CHECK.saturating_mul(u32::try_from(checks).unwrap_or(u32::MAX));
    Pace { burst: 4, interval: (CHECKS_INTERVAL + cost).min(CHECKS_INTERVAL_MAX) }
}
