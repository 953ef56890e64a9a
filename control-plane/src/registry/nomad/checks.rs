//! The checks of allocations, asked again and again.
//!
//! In: the allocations that are registered, and where. Out: what their checks say, when it changes, and which hosts cannot
//! be asked; to the one that publishes.
//!
//! **Invariants**
//! - A failure changes nothing that is known. What was never known counts as passing then: Nomad lists the instance. A
//!   host's second failure counts for everything on it, since no more than one question at a time is spent on it.
//! - A host that cannot be asked is left alone with growing pauses, and holds up no other: of one host no more than
//!   [`hosts::MOST`] requests are under way, and one while it does not answer.
//! - At most [`AT_ONCE`] requests are under way, and about a hundred begin in a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::nomad::{CheckResult, NomadError, Query};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::hosts::Hosts;
use super::Context;
use super::convert::{Health, health};
use crate::registry::CheckStatus;
use crate::registry::outlet::{Ended, chain};

mod hosts;
#[cfg(test)]
mod tests;

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
type Poll = BoxFuture<'static, (String, Place, Answer)>;

pub(super) struct Checks {
    context: Arc<Context>,
    places: watch::Receiver<Places>,
    news: mpsc::Sender<News>,
    allocations: BTreeMap<String, Asked>,
    hosts: Hosts,
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

impl Checks {
    pub(super) fn new(
        context: Arc<Context>,
        places: watch::Receiver<Places>,
        news: mpsc::Sender<News>,
    ) -> Self {
        Self {
            context,
            places,
            news,
            allocations: BTreeMap::new(),
            hosts: Hosts::default(),
            polls: FuturesUnordered::new(),
        }
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
                Some((allocation, place, answer)) = self.polls.next(), if !self.polls.is_empty() => {
                    self.hosts.end(&place.node);
                    self.take(&allocation, answer, Instant::now()).await?;
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
        let allocations = &self.allocations;
        let is_needed = |node: &str| allocations.values().any(|one| one.place.node == *node);
        for node in self.hosts.retain(is_needed) {
            tell(&self.news, News::Host { node, error: None }).await?;
        }
        Ok(())
    }

    /// Begins what is due, the longest due first.
    fn begin(&mut self, now: Instant) {
        let mut due: Vec<(Instant, String)> = self
            .idle()
            .map(|(id, asked)| (self.ask_at(asked), id.clone()))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort();
        for (_, id) in due {
            if self.polls.len() == AT_ONCE {
                break;
            }
            let place = self.allocations.get(&id).map(|asked| asked.place.clone());
            let Some(place) = place.filter(|place| self.hosts.has_room(&place.node)) else {
                continue;
            };
            self.hosts.begin(&place.node);
            if let Some(asked) = self.allocations.get_mut(&id) {
                asked.is_under_way = true;
            }
            self.polls.push(poll(Arc::clone(&self.context), id, place));
        }
    }

    /// When the next one is due of those that need not wait for a poll to end.
    fn next_due(&self) -> Option<Instant> {
        self.idle()
            .filter(|(_, asked)| self.hosts.has_room(&asked.place.node))
            .map(|(_, asked)| self.ask_at(asked))
            .min()
    }

    fn idle(&self) -> impl Iterator<Item = (&String, &Asked)> {
        self.allocations.iter().filter(|(_, asked)| !asked.is_under_way)
    }

    fn ask_at(&self, asked: &Asked) -> Instant {
        let host = self.hosts.ask_at(&asked.place.node);
        host.map_or(asked.due, |at| at.max(asked.due))
    }

    async fn take(&mut self, id: &str, answer: Answer, now: Instant) -> Result<(), Ended> {
        let interval = self.interval();
        // It has left meanwhile.
        let Some(asked) = self.allocations.get_mut(id) else { return Ok(()) };
        asked.is_under_way = false;
        let node = asked.place.node.clone();
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
            None if !self.hosts.answered(&node) => Ok(()),
            Some(_) if self.hosts.failed(&node, now) => {
                self.settle(&node).await?;
                tell(&self.news, News::Host { node, error }).await
            }
            error => tell(&self.news, News::Host { node, error }).await,
        }
    }

    /// Nothing more is waited for of a host's allocations that were never known.
    async fn settle(&mut self, node: &str) -> Result<(), Ended> {
        let unknown = self.allocations.iter_mut().filter(|(_, one)| one.health.is_none());
        for (id, asked) in unknown.filter(|(_, one)| one.place.node == node) {
            asked.health = Some(Health::new());
            let (allocation, health) = (id.clone(), Health::new());
            tell(&self.news, News::Health { allocation, health }).await?;
        }
        Ok(())
    }

    fn interval(&self) -> Duration {
        let count = u32::try_from(self.allocations.len()).unwrap_or(u32::MAX);
        self.context.config.checks_interval.max(EACH.saturating_mul(count))
    }
}

async fn tell(listener: &mpsc::Sender<News>, news: News) -> Result<(), Ended> {
    listener.send(news).await.map_err(|_| Ended::ReceiverGone)
}

fn poll(context: Arc<Context>, id: String, place: Place) -> Poll {
    Box::pin(async move {
        let query = Query::checks_of(&id).in_namespace(&place.namespace);
        let asked = tokio::time::timeout(ANSWER_WITHIN, context.client.read(&query)).await;
        let answer = match asked {
            Ok(Ok(answer)) => Ok(Some(answer.value)),
            // A host that cannot be reached is 404 as well.
            Ok(Err(NomadError::NotFound { message, .. })) if message.contains(UNKNOWN) => Ok(None),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("{} is unanswered after {ANSWER_WITHIN:?}", query.describe())),
        };
        (id, place, answer)
    })
}
