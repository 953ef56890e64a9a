//! A blocking query for each of the first nodes: Consul wakes it by that node's registrations only.
//!
//! In: the nodes that there are. Out: their registrations whenever they may have changed. Used by the sweep.
//!
//! **Invariants**: there are no more watches than configured, because each has a connection on plain HTTP; the others
//! are unwatched, and the sweep scans them. A node's watch ends with the node, and all end with their owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::consul::{Answer, ConsulError, NodeServices, Pace, Query};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::{Context, pace_by_size};
use crate::registry::outlet::{Ended, died};

/// A node's registrations are a large answer: after a burst, each registration costs so much time.
const INTERVAL_PER_REGISTRATION: Duration = Duration::from_micros(50);
const INTERVAL_MIN: Duration = Duration::from_millis(50);
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// Answers that may wait for the sweep.
const ANSWERS: usize = 16;

/// What a node's watch said.
pub(super) type Registered = (String, Result<Answer<NodeServices>, ConsulError>);

/// See the module.
#[derive(Debug)]
pub(super) struct NodeWatches {
    context: Arc<Context>,
    running: BTreeMap<String, AbortHandle>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<Registered>,
    answers: mpsc::Receiver<Registered>,
}

impl NodeWatches {
    pub(super) fn new(context: Arc<Context>) -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS);
        Self { context, running: BTreeMap::new(), tasks: JoinSet::new(), sender, answers }
    }

    /// Ends the watches of nodes that are gone, and starts those of new ones while there is room.
    /// `nodes`: name → index to go on from; 0 asks at once.
    pub(super) fn follow(&mut self, nodes: &BTreeMap<String, u64>) {
        self.running.retain(|node, task| {
            let is_there = nodes.contains_key(node);
            if !is_there {
                task.abort();
            }
            is_there
        });
        let room = self.limit().saturating_sub(self.running.len());
        let new = nodes.iter().filter(|(node, _)| !self.running.contains_key(*node)).take(room);
        let new: Vec<_> = new.map(|(node, index)| (node.clone(), *index)).collect();
        for (node, index) in new {
            let query = Query::node_services(&node);
            // Without a place it stays unwatched, which costs time but loses nothing.
            let Ok(mut watch) = self.context.client.watch_from(query, index) else { return };
            let (name, sender) = (node.clone(), self.sender.clone());
            let task = self.tasks.spawn(async move {
                loop {
                    let answer = watch.next().await;
                    if let Ok(answer) = &answer {
                        watch.set_pace(pace(answer.value.services.len()));
                    }
                    if sender.send((name.clone(), answer)).await.is_err() {
                        return;
                    }
                }
            });
            self.running.insert(node, task);
        }
    }

    /// Whether a node has a watch.
    pub(super) fn has(&self, node: &str) -> bool {
        self.running.contains_key(node)
    }

    /// The next answer of any of them. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Registered, Ended> {
        loop {
            tokio::select! {
                // The sender in here keeps the channel open.
                Some(answer) = self.answers.recv() => return Ok(answer),
                Some(ended) = self.tasks.join_next() => match ended {
                    Err(error) if !error.is_cancelled() => return Err(died("consul", error)),
                    _ => {}
                },
            }
        }
    }

    fn limit(&self) -> usize {
        let config = &self.context.config;
        if self.context.client.is_tls() {
            config.watched_nodes_tls
        } else {
            config.watched_nodes_plain
        }
    }
}

fn pace(registrations: usize) -> Pace {
    pace_by_size(registrations, INTERVAL_PER_REGISTRATION, INTERVAL_MIN, INTERVAL_MAX)
}
