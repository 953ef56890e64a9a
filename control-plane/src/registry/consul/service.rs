//! One service: reads it when it may have changed, and publishes what changed.
//!
//! In: a blocking query of its own, or the sweep's word that it is dirty. Out: [`RegistryEvent::Service`] whenever the
//! fields that the mesh uses differ from what was published; reports to the catalogue. One task for each name,
//! started and ended by the catalogue.
//!
//! **Invariants**: published instances are always one whole answer of Consul's; an error changes nothing; a loss is
//! published only when it is confirmed. So is what differs in the first answer after a failure or with an index that went
//! back, which may be of the past (`documents.rs` says why): that is read again at once.

use std::sync::Arc;

use ::consul::{Answer, Backoff, Consistency, ConsulError, Query, ServiceEntry, Watch};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::survey::Surveyed;
use super::{Context, convert};
use crate::registry::guard::{Verdict, judge_instances};
use crate::registry::hold::Hold;
use crate::registry::outlet::{Ended, chain};
use crate::registry::{RegisteredInstance, RegistryEvent};

/// How services learn that they may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Each by its own blocking query.
    Watch,
    /// By the sweep.
    Sweep,
}

/// The strategy in force; `restores` counts the times that indexes went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) strategy: Strategy,
    pub(super) restores: u64,
}

/// What a service's task tells the catalogue.
#[derive(Debug)]
pub(super) enum Report {
    /// Its instances were published.
    Published { name: Arc<str>, is_empty: bool },
    /// Asking about `subject` fails, or (`None`) no longer.
    Failing { subject: Arc<str>, error: Option<String> },
    /// The token seems to see nothing of the catalogue.
    Blind(String),
    /// It sees the catalogue.
    Sighted,
    /// Consul's indexes went back, as after the restore of a snapshot.
    WentBack,
    /// The index of the documents went back, and only that.
    DocumentsWentBack,
}

#[derive(Debug)]
pub(super) struct ServiceTask {
    context: Arc<Context>,
    name: Arc<str>,
    mode: watch::Receiver<Mode>,
    dirty: Arc<Notify>,
    reports: mpsc::Sender<Report>,
    published: Option<Vec<RegisteredInstance>>,
    /// The index of the newest answer that was believed: what comes with a lower one may be of the past.
    believed: u64,
    /// Whether answers follow, without a gap, what was believed.
    is_sure: bool,
    /// Where its first blocking query goes on from; 0: it asks at once.
    index: u64,
    is_filtered: bool,
    is_failing: bool,
    hold: Hold,
    backoff: Backoff,
}

impl ServiceTask {
    /// `is_sure`: Consul, which lists the name, is known to speak of the present.
    pub(super) fn new(
        context: Arc<Context>,
        name: Arc<str>,
        mode: watch::Receiver<Mode>,
        dirty: Arc<Notify>,
        reports: mpsc::Sender<Report>,
        is_sure: bool,
    ) -> Self {
        let hold = context.hold(format!("service {name}"));
        let backoff = context.client.backoff();
        Self {
            context,
            name,
            mode,
            dirty,
            reports,
            published: None,
            believed: 0,
            is_sure,
            index: 0,
            is_filtered: false,
            is_failing: false,
            hold,
            backoff,
        }
    }

    /// Begins with what `survey` has for it, if its sender is not dropped.
    pub(super) async fn run(mut self, survey: oneshot::Receiver<Surveyed>) -> Result<(), Ended> {
        if let Ok(Surveyed { instances, index }) = survey.await {
            self.publish(instances, false).await?;
            self.index = index;
        }
        loop {
            let strategy = self.mode.borrow_and_update().strategy;
            match strategy {
                Strategy::Watch => self.follow_watch().await?,
                Strategy::Sweep => self.follow_sweep().await?,
            }
            self.is_sure = false;
        }
    }

    /// Until the mode changes.
    async fn follow_watch(&mut self) -> Result<(), Ended> {
        let mut watch = match self.watch() {
            Ok(watch) => watch,
            Err(error) => {
                self.fail(&error).await?;
                return self.follow_sweep().await;
            }
        };
        if self.published.is_none() {
            let context = Arc::clone(&self.context);
            let _permit = context.first_reads.acquire().await;
            let answer = watch.next().await;
            self.take(answer).await?;
        }
        loop {
            tokio::select! {
                changed = self.mode.changed() => return changed.map_err(|_| Ended::ReceiverGone),
                answer = watch.next() => self.take(answer).await?,
                () = self.hold.due() => self.confirm().await?,
            }
        }
    }

    fn watch(&mut self) -> Result<Watch<Vec<ServiceEntry>>, ConsulError> {
        let index = std::mem::take(&mut self.index);
        self.context.client.watch_from(Query::health_service(&self.name), index)
    }

    /// Until the mode changes.
    async fn follow_sweep(&mut self) -> Result<(), Ended> {
        let mut retry_at = None;
        loop {
            let retry = async {
                match retry_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.mode.changed() => return changed.map_err(|_| Ended::ReceiverGone),
                () = self.dirty.notified() => {}
                () = retry => {}
                () = self.hold.due() => {
                    self.confirm().await?;
                    continue;
                }
            }
            let answer = self.read(Consistency::Default).await;
            retry_at = match &answer {
                Ok(_) => None,
                Err(_) => Some(Instant::now() + self.backoff.next_pause(std::time::Duration::ZERO)),
            };
            self.take(answer).await?;
        }
    }

    async fn read(
        &self,
        consistency: Consistency,
    ) -> Result<Answer<Vec<ServiceEntry>>, ConsulError> {
        self.context.client.read(&Query::health_service(&self.name), consistency).await
    }

    /// Judges an answer, and publishes or doubts it.
    async fn take(
        &mut self,
        answer: Result<Answer<Vec<ServiceEntry>>, ConsulError>,
    ) -> Result<(), Ended> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.fail(&error).await,
        };
        self.recover().await?;
        let (is_filtered, index) = (answer.is_filtered, answer.index);
        self.is_sure &= index >= self.believed;
        let instances = convert::instances(answer.value);
        match judge_instances(self.published.as_deref(), &instances) {
            Verdict::Confirm(reason) => self.hold.suspect(reason).await,
            Verdict::Unchanged => {
                self.believed = self.believed.max(index);
                self.is_filtered = is_filtered;
                self.hold.release().await
            }
            Verdict::Accept if self.is_sure => {
                self.believed = index;
                self.publish(instances, is_filtered).await
            }
            Verdict::Accept => self.confirm().await,
        }
    }

    /// Asks the leader, once it has all of its log, and whether the token still sees the catalogue; publishes what it says.
    async fn confirm(&mut self) -> Result<(), Ended> {
        if let Some(reason) = self.context.probe.refusal().await {
            return self.keep_blind(reason).await;
        }
        let answer = match self.read(Consistency::Consistent).await {
            Ok(answer) => answer,
            Err(error) => return self.hold.keep(chain(&error)).await,
        };
        if answer.is_filtered && !self.is_filtered {
            let reason = "the token no longer sees all of it: restore its service and node rules";
            return self.hold.keep(reason.to_owned()).await;
        }
        if let Err(reason) = self.context.probe.verify(Instant::now()).await {
            return self.keep_blind(reason).await;
        }
        let is_filtered = answer.is_filtered;
        self.believed = answer.index;
        self.is_sure = true;
        let instances = convert::instances(answer.value);
        if self.published.as_ref() == Some(&instances) {
            return self.hold.release().await;
        }
        self.publish(instances, is_filtered).await
    }

    async fn keep_blind(&mut self, reason: String) -> Result<(), Ended> {
        self.hold.keep(reason.clone()).await?;
        self.report(Report::Blind(reason)).await
    }

    async fn publish(
        &mut self,
        instances: Vec<RegisteredInstance>,
        is_filtered: bool,
    ) -> Result<(), Ended> {
        let name = Arc::clone(&self.name);
        let is_empty = instances.is_empty();
        self.published = Some(instances.clone());
        self.is_filtered = is_filtered;
        let event = RegistryEvent::Service { name: Arc::clone(&name), instances };
        self.context.outlet.send(event).await?;
        self.hold.release().await?;
        self.report(Report::Published { name, is_empty }).await
    }

    async fn fail(&mut self, error: &ConsulError) -> Result<(), Ended> {
        self.is_failing = true;
        self.is_sure = false;
        let subject = Arc::clone(&self.name);
        self.report(Report::Failing { subject, error: Some(chain(error)) }).await
    }

    async fn recover(&mut self) -> Result<(), Ended> {
        self.backoff.reset();
        if !std::mem::take(&mut self.is_failing) {
            return Ok(());
        }
        let subject = Arc::clone(&self.name);
        self.report(Report::Failing { subject, error: None }).await
    }

    async fn report(&self, report: Report) -> Result<(), Ended> {
        self.reports.send(report).await.map_err(|_| Ended::ReceiverGone)
    }
}
