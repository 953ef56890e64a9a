//! The checks of allocations, asked again and again.
//!
//! In: the allocations that are registered, and where. Out: what their checks say, when it changes, and which hosts cannot
//! be asked; to the one that publishes.
//!
//! **Invariants**
//! - A failure changes nothing that is known. What was never known counts as passing then: Nomad lists the instance.
//! - A host that cannot be asked is left alone with growing pauses, and holds up no other.
//! - At most [`AT_ONCE`] requests are under way, and about a hundred begin in a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::nomad::{CheckResult, NomadError, Query};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use service::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Context;
use super::convert::{Health, health};
use crate::registry::CheckStatus;
use crate::registry::outlet::{Ended, chain};

/// Requests under way.
const AT_ONCE: usize = 16;
/// Time that each allocation adds to the interval of all, once that is longer than the one configured.
const EACH: Duration = Duration::from_millis(10);
/// An allocation without checks is asked so seldom; an update in place may give it some.
const WITHOUT_CHECKS: Duration = Duration::from_secs(30);
/// What is not passing is asked so many times as often: it is about to be used, or to be used again.
const HASTE: u32 = 4;
/// So many answers that know nothing of a new allocation's checks are needed before it counts as one without.
const SILENCES: u32 = 3;
/// A host that takes longer cannot be asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Pauses for a host that cannot be asked.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Nomad's words for an allocation that its host does not have.
const UNKNOWN: &str = "Unknown allocation";

/// Where an allocation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: Arc<str>,
    pub(super) node: String,
}

/// The registered allocations, by id.
pub(super) type Places = BTreeMap<String, Place>;

/// What the one that publishes is told.
#[derive(Debug)]
pub(super) enum News {
    /// What the checks of an allocation say.
    Health { allocation: String, health: Health },
    /// A host cannot be asked, or (`None`) can again.
    Host { node: String, error: Option<String> },
}

/// `None`: the host does not know the allocation, which it is about to have or has forgotten.
type Answer = Result<Option<BTreeMap<String, CheckResult>>, String>;
type Poll = BoxFuture<'static, (String, Answer)>;

pub(super) struct Checks {
    context: Arc<Context>,
    places: watch::Receiver<Places>,
    news: mpsc::Sender<News>,
    allocations: BTreeMap<String, Asked>,
    hosts: BTreeMap<String, Host>,
    polls: FuturesUnordered<Poll>,
}

struct Asked {
    place: Place,
    health: Option<Health>,
    due: Instant,
    is_under_way: bool,
    /// How often its host has said nothing of it since it came: a new one's checks are made a moment later.
    silences: u32,
}

/// A host that cannot be asked.
struct Host {
    backoff: Backoff,
    ask_at: Instant,
}

impl Checks {
    pub(super) fn new(
        context: Arc<Context>,
        places: watch::Receiver<Places>,
        news: mpsc::Sender<News>,
    ) -> Self {
        let polls = FuturesUnordered::new();
        Self { context, places, news, allocations: BTreeMap::new(), hosts: BTreeMap::new(), polls }
    }

    /// Until nobody listens any more.
    pub(super) async fn run(mut self) -> Result<(), Ended> {
        loop {
            self.begin(Instant::now());
            let due = if self.polls.len() < AT_ONCE { self.next_due() } else { None };
            let next = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.places.changed() => {
                    changed.map_err(|_| Ended::ReceiverGone)?;
                    self.follow().await?;
                }
                Some((allocation, answer)) = self.polls.next(), if !self.polls.is_empty() => {
                    self.take(&allocation, answer).await?;
                }
                () = next => {}
            }
        }
    }

    /// Takes over which allocations there are.
    async fn follow(&mut self) -> Result<(), Ended> {
        let places = self.places.borrow_and_update().clone();
        self.allocations.retain(|id, asked| places.get(id) == Some(&asked.place));
        for (id, place) in places {
            let due = Instant::now();
            let new = || Asked { place, health: None, due, is_under_way: false, silences: 0 };
            self.allocations.entry(id).or_insert_with(new);
        }
        let in_use = |node: &String| self.allocations.values().any(|one| one.place.node == *node);
        let left: Vec<String> = self.hosts.keys().filter(|node| !in_use(node)).cloned().collect();
        for node in left {
            self.hosts.remove(&node);
            tell(&self.news, News::Host { node, error: None }).await?;
        }
        Ok(())
    }

    /// Begins what is due, the longest due first.
    fn begin(&mut self, now: Instant) {
        let mut due: Vec<(Instant, String)> = self
            .allocations
            .iter()
            .filter(|(_, asked)| !asked.is_under_way)
            .map(|(id, asked)| (self.ask_at(asked), id.clone()))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort();
        for (_, id) in due.into_iter().take(AT_ONCE.saturating_sub(self.polls.len())) {
            if let Some(asked) = self.allocations.get_mut(&id) {
                asked.is_under_way = true;
                self.polls.push(poll(Arc::clone(&self.context), id, asked.place.namespace.clone()));
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let idle = self.allocations.values().filter(|asked| !asked.is_under_way);
        idle.map(|asked| self.ask_at(asked)).min()
    }

    fn ask_at(&self, asked: &Asked) -> Instant {
        let host = self.hosts.get(&asked.place.node);
        host.map_or(asked.due, |host| host.ask_at.max(asked.due))
    }

    async fn take(&mut self, id: &str, answer: Answer) -> Result<(), Ended> {
        let interval = self.interval();
        // It has left meanwhile.
        let Some(asked) = self.allocations.get_mut(id) else { return Ok(()) };
        asked.is_under_way = false;
        let node = asked.place.node.clone();
        let now = Instant::now();
        let is_silent = match &answer {
            Ok(checks) => checks.as_ref().is_none_or(BTreeMap::is_empty),
            Err(_) => false,
        };
        if is_silent && asked.health.is_none() && asked.silences < SILENCES {
            asked.silences += 1;
            asked.due = now + interval / HASTE;
            return self.note(node, None, now).await;
        }
        let (news, error) = match answer {
            Ok(Some(checks)) => {
                let health = health(checks);
                let is_passing = health.values().all(|status| *status == CheckStatus::Passing);
                asked.due = now
                    + match (health.is_empty(), is_passing) {
                        (true, _) => WITHOUT_CHECKS,
                        (false, true) => interval,
                        (false, false) => interval / HASTE,
                    };
                (Some(health), None)
            }
            unknown => {
                asked.due = now + interval;
                (asked.health.is_none().then(Health::new), unknown.err())
            }
        };
        if let Some(health) = news
            && asked.health.as_ref() != Some(&health)
        {
            asked.health = Some(health.clone());
            tell(&self.news, News::Health { allocation: id.to_owned(), health }).await?;
        }
        self.note(node, error, now).await
    }

    /// Whether a host can be asked.
    async fn note(
        &mut self,
        node: String,
        error: Option<String>,
        now: Instant,
    ) -> Result<(), Ended> {
        match error {
            None if self.hosts.remove(&node).is_none() => Ok(()),
            None => tell(&self.news, News::Host { node, error: None }).await,
            Some(error) => {
                let new = || Host { backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX), ask_at: now };
                let host = self.hosts.entry(node.clone()).or_insert_with(new);
                // Of all its allocations that were asked at once, the first counts.
                if host.ask_at <= now {
                    host.ask_at = now + host.backoff.next_pause(PAUSE_MIN);
                }
                tell(&self.news, News::Host { node, error: Some(error) }).await
            }
        }
    }

    fn interval(&self) -> Duration {
        let count = u32::try_from(self.allocations.len()).unwrap_or(u32::MAX);
        self.context.config.checks_interval.max(EACH.saturating_mul(count))
    }
}

async fn tell(listener: &mpsc::Sender<News>, news: News) -> Result<(), Ended> {
    listener.send(news).await.map_err(|_| Ended::ReceiverGone)
}

fn poll(context: Arc<Context>, id: String, namespace: Arc<str>) -> Poll {
    Box::pin(async move {
        let query = Query::checks_of(&id).in_namespace(&namespace);
        let asked = tokio::time::timeout(ANSWER_WITHIN, context.client.read(&query)).await;
        let answer = match asked {
            Ok(Ok(answer)) => Ok(Some(answer.value)),
            // A host that cannot be reached is 404 as well.
            Ok(Err(NomadError::NotFound { message, .. })) if message.contains(UNKNOWN) => Ok(None),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("{} is unanswered after {ANSWER_WITHIN:?}", query.describe())),
        };
        (id, answer)
    })
}
