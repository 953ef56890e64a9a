//! The listing of services: which exist, one task for each, and how they learn of changes.
//!
//! In: the watch of Consul's listing, reports of the services' tasks and of the probe, the scout's findings.
//! Out: [`RegistryEvent::Listing`] and, through `failures.rs`, the `consul` [`RegistryEvent::Source`]. Owns every task of
//! the registry.
//!
//! **Invariants**
//! - A name is listed while Consul lists it or instances of it are published; its task lives as long.
//! - A listing that loses more than a third is believed only when confirmed; what it adds is believed at once. After a
//!   failure, or when its index went back, it may be of the past: then names that it adds are read consistently first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::consul::{Answer, Consistency, ConsulError, Pace, Query};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

use super::probe::keep_watch;
use super::scout::Scout;
use super::service::{Mode, Report, ServiceTask, Strategy};
use super::survey::{Survey, Surveyed};
use super::sweep::Found;
use super::{Context, pace_by_size};
use crate::registry::failures::Failures;
use crate::registry::guard::{Verdict, judge_listing};
use crate::registry::hold::Hold;
use crate::registry::outlet::{Ended, chain, died};
use crate::registry::{RegistryError, RegistryEvent};

type Names = BTreeSet<Arc<str>>;
type Listing = BTreeMap<String, Vec<String>>;

/// Reports waiting for the catalogue; a task that finds no room waits.
const REPORTS: usize = 256;
/// Time between listings after a burst: for each service, at least and at most.
const LISTING_PER_SERVICE: Duration = Duration::from_micros(200);
const LISTING_MIN: Duration = Duration::from_millis(100);
const LISTING_MAX: Duration = Duration::from_secs(2);
/// From so many services on, the first reading is a survey instead of a request for each.
const SURVEYED_FROM: usize = 50;

#[derive(Debug)]
pub(super) struct Catalogue {
    context: Arc<Context>,
    restores: watch::Sender<u64>,
    mode: watch::Sender<Mode>,
    /// What Consul lists, as far as believed.
    accepted: Option<Names>,
    /// What was published.
    published: Option<Names>,
    services: BTreeMap<Arc<str>, Service>,
    scout: Scout,
    /// Whether what is listed follows, without a gap, what was read consistently.
    is_sure: bool,
    failures: Failures,
    hold: Hold,
    doubt: Arc<Notify>,
    reports: mpsc::Sender<Report>,
    tasks: JoinSet<Result<(), Ended>>,
}

#[derive(Debug)]
struct Service {
    dirty: Arc<Notify>,
    task: AbortHandle,
    /// Takes what a survey found, while the task waits for it.
    surveyed: Option<oneshot::Sender<Surveyed>>,
    has_instances: bool,
}

impl Catalogue {
    pub(super) fn new(context: Arc<Context>, restores: watch::Sender<u64>) -> Self {
        let (mode, _) = watch::channel(Mode { strategy: Strategy::Watch, restores: 0 });
        // Replaced by the channel that `run` reads from.
        let (reports, _) = mpsc::channel(1);
        Self {
            restores,
            mode,
            accepted: None,
            published: None,
            services: BTreeMap::new(),
            scout: Scout::default(),
            // The token's sight was read consistently, just before.
            is_sure: true,
            failures: Failures::new(context.outlet.clone(), "consul"),
            hold: context.hold("catalogue".to_owned()),
            doubt: Arc::new(Notify::new()),
            reports,
            tasks: JoinSet::new(),
            context,
        }
    }

    /// Until the receiver of the events is gone, or a task dies.
    pub(super) async fn run(mut self) -> Result<(), Ended> {
        let (sender, mut reports) = mpsc::channel(REPORTS);
        self.reports = sender;
        let (context, doubt) = (Arc::clone(&self.context), Arc::clone(&self.doubt));
        self.tasks.spawn(keep_watch(context, doubt, self.reports.clone()));
        let mut listing = self.context.client.watch(Query::services()).map_err(unwatchable)?;
        loop {
            let index = listing.index();
            tokio::select! {
                answer = listing.next() => {
                    if let Ok(answer) = &answer {
                        listing.set_pace(listing_pace(answer.value.len()));
                    }
                    let went_back = answer.as_ref().is_ok_and(|answer| answer.index < index);
                    self.is_sure &= answer.is_ok() && !went_back;
                    self.take(answer).await?;
                    if went_back {
                        self.start_anew();
                    }
                }
                Some(report) = reports.recv() => {
                    if matches!(report, Report::WentBack) {
                        listing.restart();
                        self.start_anew();
                    } else {
                        self.note(report).await?;
                    }
                }
                found = self.scout.found() => self.hand_on(found),
                Some(ended) = self.tasks.join_next() => self.check(ended)?,
                () = self.hold.due() => self.confirm().await?,
            }
        }
    }

    async fn take(&mut self, answer: Result<Answer<Listing>, ConsulError>) -> Result<(), Ended> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.set_failing("(listing)".into(), Some(chain(&error))).await,
        };
        self.set_failing("(listing)".into(), None).await?;
        let index = answer.index;
        let names = names(answer.value);
        match judge_listing(self.accepted.as_ref(), &names) {
            Verdict::Unchanged => self.hold.release().await?,
            Verdict::Accept => {
                self.accept(names, index).await?;
                self.hold.release().await?;
            }
            Verdict::Confirm(reason) => {
                let accepted = self.accepted.iter().flatten().cloned();
                let all = accepted.chain(names).collect();
                self.accept(all, index).await?;
                self.hold.suspect(reason).await?;
            }
        }
        self.scout.rescan();
        Ok(())
    }

    /// Asks the leader whether the loss is real, and whether the token still sees the catalogue.
    async fn confirm(&mut self) -> Result<(), Ended> {
        let answer = self.context.client.read(&Query::services(), Consistency::Consistent).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.hold.keep(chain(&error)).await,
        };
        if let Err(reason) = self.context.probe.verify(Instant::now()).await {
            self.hold.keep(reason.clone()).await?;
            return self.note(Report::Blind(reason)).await;
        }
        self.accept(names(answer.value), answer.index).await?;
        self.hold.release().await
    }

    /// Believes a listing: publishes it, starts and ends services' tasks.
    async fn accept(&mut self, names: Names, index: u64) -> Result<(), Ended> {
        self.choose_strategy(names.len(), index);
        let gone: Vec<_> =
            self.services.keys().filter(|name| !names.contains(*name)).cloned().collect();
        let added: Vec<_> =
            names.iter().filter(|name| !self.services.contains_key(*name)).cloned().collect();
        self.accepted = Some(names);
        for name in gone {
            match self.services.get(&name) {
                // Its instances are to be confirmed gone first; this makes a swept service look.
                Some(service) if service.has_instances => service.dirty.notify_one(),
                _ => self.forget(&name).await?,
            }
        }
        self.publish().await?;
        for name in added {
            self.start(name);
        }
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), Ended> {
        let alive = self.services.iter().filter(|(_, service)| service.has_instances);
        let alive = alive.map(|(name, _)| Arc::clone(name));
        let listed: Names = self.accepted.iter().flatten().cloned().chain(alive).collect();
        if self.published.as_ref() == Some(&listed) {
            return Ok(());
        }
        self.published = Some(listed.clone());
        self.context.outlet.send(RegistryEvent::Listing(listed)).await
    }

    fn start(&mut self, name: Arc<str>) {
        let dirty = Arc::new(Notify::new());
        let (surveyed, survey) = oneshot::channel();
        let surveyed = self.scout.is_awaited().then_some(surveyed);
        if surveyed.is_none() {
            dirty.notify_one();
        }
        let task = ServiceTask::new(
            Arc::clone(&self.context),
            Arc::clone(&name),
            self.mode.subscribe(),
            Arc::clone(&dirty),
            self.reports.clone(),
            self.is_sure,
        );
        let task = self.tasks.spawn(task.run(survey));
        self.services.insert(name, Service { dirty, task, surveyed, has_instances: false });
    }

    async fn forget(&mut self, name: &Arc<str>) -> Result<(), Ended> {
        if let Some(service) = self.services.remove(name) {
            service.task.abort();
        }
        self.set_failing(Arc::clone(name), None).await
    }

    /// A blocking query each while Consul can carry them; back only well below the limit, so as not to swing.
    fn choose_strategy(&mut self, services: usize, index: u64) {
        let config = &self.context.config;
        let is_tls = self.context.client.is_tls();
        let limit =
            if is_tls { config.watched_services_tls } else { config.watched_services_plain };
        let strategy = match self.mode.borrow().strategy {
            Strategy::Watch if services > limit => Strategy::Sweep,
            Strategy::Sweep if services * 4 <= limit * 3 => Strategy::Watch,
            current => current,
        };
        if self.mode.borrow().strategy == strategy {
            if strategy == Strategy::Watch && self.accepted.is_none() && services >= SURVEYED_FROM {
                self.scout.survey(&mut self.tasks, &self.context, services, index);
            }
            return;
        }
        tracing::info!(?strategy, services, "Changing how services are followed");
        self.mode.send_modify(|mode| mode.strategy = strategy);
        match strategy {
            Strategy::Watch => {
                self.scout.stop();
                self.hand_on(Found::Survey(None));
            }
            Strategy::Sweep => {
                self.scout.sweep(&mut self.tasks, &self.context, &self.reports, index);
            }
        }
    }

    /// Consul's indexes went back: every blocking query would wait for an index that may never come.
    fn start_anew(&mut self) {
        tracing::warn!("Consul's index went back; reading everything anew");
        self.restores.send_modify(|restores| *restores += 1);
        self.mode.send_modify(|mode| mode.restores += 1);
        if self.mode.borrow().strategy == Strategy::Sweep {
            self.scout.sweep(&mut self.tasks, &self.context, &self.reports, 0);
        } else {
            self.scout.stop();
            self.hand_on(Found::Survey(None));
        }
    }

    fn hand_on(&mut self, found: Found) {
        match found {
            Found::Survey(survey) => {
                let mut survey = survey.unwrap_or_default();
                for (name, service) in &mut self.services {
                    service.begin(name, &mut survey);
                }
            }
            Found::Dirty(names) => {
                let services = names.iter().filter_map(|name| self.services.get(name.as_str()));
                services.for_each(|service| service.dirty.notify_one());
            }
        }
    }

    async fn note(&mut self, report: Report) -> Result<(), Ended> {
        let token: Arc<str> = "(token)".into();
        match report {
            Report::DocumentsWentBack => {
                tracing::warn!("The index of Consul's documents went back; reading them anew");
                self.restores.send_modify(|restores| *restores += 1);
                Ok(())
            }
            Report::Failing { subject, error } => self.set_failing(subject, error).await,
            Report::Sighted => {
                self.is_sure = true;
                self.set_failing(token, None).await
            }
            Report::WentBack => self.set_failing(token, None).await,
            Report::Blind(reason) => {
                self.doubt.notify_one();
                self.set_failing(token, Some(reason)).await
            }
            Report::Published { name, is_empty } => {
                if let Some(service) = self.services.get_mut(&name) {
                    service.has_instances = !is_empty;
                }
                if is_empty && self.accepted.as_ref().is_some_and(|names| !names.contains(&name)) {
                    self.forget(&name).await?;
                    self.publish().await?;
                }
                Ok(())
            }
        }
    }

    async fn set_failing(&mut self, subject: Arc<str>, error: Option<String>) -> Result<(), Ended> {
        self.failures.set(subject, error).await
    }

    fn check(&self, ended: Result<Result<(), Ended>, JoinError>) -> Result<(), Ended> {
        match ended {
            Ok(outcome) => outcome,
            Err(error) if error.is_cancelled() => Ok(()),
            Err(error) => Err(died("consul", error)),
        }
    }
}

impl Service {
    /// Ends its wait for a survey, and makes sure that what the survey does not tell is read.
    fn begin(&mut self, name: &Arc<str>, survey: &mut Survey) {
        match (self.surveyed.take(), survey.take(name)) {
            (Some(surveyed), Some(first)) => {
                // A task that takes it no longer is about to end.
                drop(surveyed.send(first));
            }
            _ => self.dirty.notify_one(),
        }
    }
}

/// The listing is no sign of health, and Consul goes through every instance to make it.
fn listing_pace(services: usize) -> Pace {
    pace_by_size(services, LISTING_PER_SERVICE, LISTING_MIN, LISTING_MAX)
}

fn names(listing: Listing) -> Names {
    listing.into_keys().filter(|name| name != "consul").map(Arc::from).collect()
}

fn unwatchable(error: ConsulError) -> Ended {
    Ended::Died(RegistryError {
        registry: "consul",
        step: "watch the listing of services: raise the limits of its client".to_owned(),
        source: Box::new(error),
    })
}
