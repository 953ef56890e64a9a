//! The conductor of one allocation: registers it, gives its tasks their orders, has its health judged, and brings it to its end.
//!
//! In: the allocation's record and the board of its tasks, as they change. Out: orders, registrations and reports. The order is Nomad's:
//! registered while the tasks start; at the end deregistered first, then the shutdown delay, then the tasks (`stages.rs`).

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::board::Board;
use super::judgement::Judgement;
use super::registrar::{Registrar, run_checks};
use super::runner::{description, report};
use super::services::Registration;
use super::stages::{self, Ending, Order};
use crate::agent::job::Group;
use crate::agent::state::{Allocation, ClientStatus, Desired, TaskPhase, TaskState};

const LOOK: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3600);

type States = BTreeMap<String, TaskState>;
type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Conducts an allocation.
pub(super) struct Conductor<'a> {
    registrar: Registrar<'a>,
    /// As it was when the allocation started; the record's may be newer.
    group: &'a Group,
    board: &'a Board,
    orders: &'a BTreeMap<&'a str, watch::Sender<Order>>,
    /// What is to be registered, and what surely is.
    wanted: Vec<Registration>,
    registered: Vec<Registration>,
    registering: Work<'a, Vec<Registration>>,
    checks: Work<'a, ()>,
    /// Why it ends, and when its tasks are told so.
    ending: Option<(Ending, Instant)>,
    judgement: Judgement,
}

impl<'a> Conductor<'a> {
    pub(super) fn new(
        registrar: Registrar<'a>,
        group: &'a Group,
        board: &'a Board,
        orders: &'a BTreeMap<&'a str, watch::Sender<Order>>,
    ) -> Self {
        Self {
            registrar,
            group,
            board,
            orders,
            wanted: Vec::new(),
            registered: Vec::new(),
            registering: Box::pin(pending()),
            checks: Box::pin(pending()),
            ending: None,
            judgement: Judgement::default(),
        }
    }

    /// Until all tasks are dead.
    pub(super) async fn run(mut self, first: &Allocation) {
        let mut records = self.registrar.client.store.subscribe();
        let mut bell = self.board.subscribe();
        let mut reported = first.task_states.clone();
        self.registered = self.registrar.adopted(first).await;
        loop {
            bell.borrow_and_update();
            let record =
                records.borrow_and_update().allocations.get(self.registrar.id).map(Arc::clone);
            let Some(record) = record else { return };
            let states = self.board.states();
            if states != reported {
                self.report(&states);
                reported.clone_from(&states);
            }
            if self.ending.is_none() {
                self.attend(&record, &states).await;
            }
            self.give_orders(&states);
            if states.values().all(|state| state.state == TaskPhase::Dead) {
                return self.deregister().await;
            }
            let wake = match self.ending {
                Some((_, due)) if due > Instant::now() => due,
                _ if self.judgement.is_open() => Instant::now() + LOOK,
                _ => Instant::now() + LONG,
            };
            tokio::select! {
                changed = records.changed() => if changed.is_err() { return },
                changed = bell.changed() => if changed.is_err() { return },
                () = sleep_until(wake) => {}
                () = &mut self.checks => {}
                registered = &mut self.registering => {
                    self.registered = registered;
                    self.registering = Box::pin(pending());
                }
            }
        }
    }

    fn report(&self, states: &States) {
        let status = status(states, self.ending.is_some());
        report(
            self.registrar.client,
            self.registrar.id,
            status,
            description(status),
            states.clone(),
        );
    }

    /// While it is to run: its registrations and its health; and whether it is to end.
    async fn attend(&mut self, record: &Arc<Allocation>, states: &States) {
        let stopped = (record.desired_status == Desired::Stop).then_some(Ending::Stopped);
        if let Some(why) = stopped.or_else(|| stages::ending(self.group, states)) {
            self.explain(why);
            self.deregister().await;
            let delay =
                if why == Ending::Done { Duration::ZERO } else { self.shutdown_delay(record) };
            self.ending = Some((why, Instant::now() + delay));
            return;
        }
        let wanted = self.registrar.registrations(record);
        if wanted != self.wanted {
            let old = self.registered.clone();
            let work = self.registrar.register(Arc::clone(record), old, wanted.clone());
            self.registering = Box::pin(work);
            self.checks =
                Box::pin(run_checks(self.registrar.client, Arc::clone(record), wanted.clone()));
            self.wanted = wanted;
        }
        self.judgement.look(self.registrar, self.group, record, states, &self.wanted).await;
    }

    fn give_orders(&self, states: &States) {
        let is_due = self.ending.is_some_and(|(_, due)| due <= Instant::now());
        for task in &self.group.tasks {
            let Some(sender) = self.orders.get(task.name.as_str()) else { continue };
            let is_pending =
                states.get(&task.name).is_some_and(|one| one.state == TaskPhase::Pending);
            // The delay belongs to what runs: nothing more starts in it.
            let is_held = self.ending.is_some() && !is_due && is_pending;
            let order = stages::order(self.group, task, states, is_due);
            sender.send_replace(if is_held { Order::Hold } else { order });
        }
    }

    /// Removes what is registered, or may be.
    async fn deregister(&mut self) {
        self.registering = Box::pin(pending());
        let mut gone = std::mem::take(&mut self.registered);
        for one in std::mem::take(&mut self.wanted) {
            if gone.iter().all(|known| known.id != one.id) {
                gone.push(one);
            }
        }
        self.registrar.deregister(&gone).await;
    }

    fn shutdown_delay(&self, allocation: &Allocation) -> Duration {
        if allocation.desired_transition.no_shutdown_delay == Some(true) {
            return Duration::ZERO;
        }
        let group =
            allocation.group().map_or(self.group.shutdown_delay, |group| group.shutdown_delay);
        Duration::from_nanos(u64::try_from(group).unwrap_or_default())
    }

    /// Tells tasks that must end although they did nothing wrong why they do.
    fn explain(&self, why: Ending) {
        let (kind, text) = match why {
            Ending::Stopped => return,
            Ending::Failed => ("Sibling Task Failed", "Task's sibling failed"),
            Ending::Done => ("Main Tasks Dead", "Main tasks in the group died"),
        };
        for (task, state) in self.board.states() {
            if state.state != TaskPhase::Dead {
                self.board.event(&task, kind, text);
            }
        }
    }
}

/// What the client says about the allocation; failed only when nothing of it runs any more.
fn status(states: &States, is_ending: bool) -> ClientStatus {
    let all_dead = states.values().all(|state| state.state == TaskPhase::Dead);
    if all_dead && states.values().any(|state| state.failed) {
        ClientStatus::Failed
    } else if is_ending || states.values().any(|state| state.state == TaskPhase::Running) {
        ClientStatus::Running
    } else {
        ClientStatus::Pending
    }
}
