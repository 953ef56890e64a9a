//! Which task of an allocation may start, and which must end: the order of Nomad's lifecycle hooks.
//!
//! In: the group, the states of its tasks, and whether it is being stopped. Out: what each task is told. Pure.
//!
//! Start: prestart tasks and sidecars at once; main tasks when the prestart tasks are done and the sidecars *run* (not:
//! are ready); poststart tasks when the main ones run. End: a main task that is the leader, then the other main tasks, then
//! the sidecars; poststop tasks when all else is dead.

use std::collections::BTreeMap;

use crate::agent::job::{Group, Stage, Task};
use crate::agent::state::{TaskPhase, TaskState};

/// What a task is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Hold,
    Run,
    End,
}

/// Why an allocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server wants it to.
    Stopped,
    /// A task failed.
    Failed,
    /// The main tasks did their work.
    Done,
}

/// Whether the tasks themselves bring the allocation to its end.
pub(super) fn ending(group: &Group, states: &BTreeMap<String, TaskState>) -> Option<Ending> {
    let state = |task: &Task| states.get(&task.name);
    let is_dead = |task: &Task| state(task).is_some_and(|state| state.state == TaskPhase::Dead);
    let poststop = |task: &&Task| task.stage() == Stage::Poststop;
    if group
        .tasks
        .iter()
        .filter(|task| !poststop(task))
        .any(|task| state(task).is_some_and(|state| state.failed && state.state == TaskPhase::Dead))
    {
        return Some(Ending::Failed);
    }
    let mut main = group.tasks.iter().filter(|task| task.stage() == Stage::Main);
    let leader = group.tasks.iter().find(|task| task.leader);
    if leader.is_some_and(is_dead) || main.all(is_dead) {
        return Some(Ending::Done);
    }
    None
}

/// What a task is told now; `is_ending` after the shutdown delay.
pub(super) fn order(
    group: &Group,
    task: &Task,
    states: &BTreeMap<String, TaskState>,
    is_ending: bool,
) -> Order {
    let phase =
        |task: &Task| states.get(&task.name).map_or(TaskPhase::Pending, |state| state.state);
    let is_dead = |task: &Task| phase(task) == TaskPhase::Dead;
    let of = |stage: Stage| group.tasks.iter().filter(move |task| task.stage() == stage);
    let (stage, is_late) = (task.stage(), task.is_after_main());
    if stage == Stage::Poststop {
        let is_over = group.tasks.iter().filter(|one| one.stage() != Stage::Poststop).all(is_dead);
        return if is_over { Order::Run } else { Order::Hold };
    }
    if is_ending {
        let waits_for_leader =
            !task.leader && group.tasks.iter().any(|one| one.leader && !is_dead(one));
        let waits_for_main = stage == Stage::Sidecar
            && group.tasks.iter().any(|one| {
                !matches!(one.stage(), Stage::Sidecar | Stage::Poststop) && !is_dead(one)
            });
        let waits = waits_for_leader || waits_for_main;
        // A sidecar that waits for its turn goes on as it is.
        return match (waits, phase(task)) {
            (true, TaskPhase::Running) => Order::Run,
            (true, _) => Order::Hold,
            (false, _) => Order::End,
        };
    }
    let is_prepared = of(Stage::Prestart)
        .all(|one| states.get(&one.name).is_some_and(TaskState::succeeded))
        && of(Stage::Sidecar)
            .filter(|one| !one.is_after_main())
            .all(|one| phase(one) != TaskPhase::Pending);
    let has_started = of(Stage::Main).all(|one| phase(one) != TaskPhase::Pending);
    let is_due = match stage {
        Stage::Prestart => true,
        Stage::Sidecar if !is_late => true,
        Stage::Main => is_prepared,
        _ => has_started,
    };
    if is_due { Order::Run } else { Order::Hold }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group() -> Group {
        let task = |name: &str, hook: Option<(&str, bool)>| {
            let lifecycle = hook.map(|(hook, sidecar)| json!({"Hook": hook, "Sidecar": sidecar}));
            json!({
                "Name": name, "Driver": "exec", "Lifecycle": lifecycle,
                "RestartPolicy": {"Attempts": 0, "Interval": 0, "Delay": 0, "Mode": "fail"},
                "Resources": {"CPU": 1, "MemoryMB": 10},
            })
        };
        let tasks = [
            task("envoy", Some(("prestart", true))),
            task("wait", Some(("prestart", false))),
            task("app", None),
            task("after", Some(("poststop", false))),
        ];
        serde_json::from_value(json!({"Name": "g", "Count": 1, "Tasks": tasks})).unwrap()
    }

    #[test]
    fn tasks_start_and_end_in_nomads_order() {
        use Order::{End, Hold, Run};
        use TaskPhase::{Dead, Pending, Running};
        let group = group();
        for (phases, is_ending, orders, what) in [
            ([Pending, Pending, Pending, Pending], false, [Run, Run, Hold, Hold], "prestart first"),
            (
                [Running, Running, Pending, Pending],
                false,
                [Run, Run, Hold, Hold],
                "the app waits for the end of the prestart task",
            ),
            ([Running, Dead, Pending, Pending], false, [Run, Run, Run, Hold], "then it starts"),
            (
                [Running, Dead, Running, Pending],
                true,
                [Run, End, End, Hold],
                "at the end the app first",
            ),
            ([Running, Dead, Dead, Pending], true, [End, End, End, Hold], "then the sidecar"),
            ([Dead, Dead, Dead, Pending], true, [End, End, End, Run], "then what comes after"),
        ] {
            let states: BTreeMap<String, TaskState> = group
                .tasks
                .iter()
                .zip(phases)
                .map(|(task, state)| {
                    (task.name.clone(), TaskState { state, ..TaskState::default() })
                })
                .collect();
            let given = group.tasks.iter().map(|task| order(&group, task, &states, is_ending));
            assert_eq!(given.collect::<Vec<_>>(), orders, "{what}");
        }
    }

    #[test]
    fn an_allocation_ends_with_its_main_tasks_or_with_a_failure() {
        let group = group();
        let ended = |name: &str, failed: bool| {
            let dead = TaskState { state: TaskPhase::Dead, failed, ..TaskState::default() };
            ending(&group, &BTreeMap::from([(name.to_owned(), dead)]))
        };
        assert_eq!(ended("app", false), Some(Ending::Done));
        assert_eq!(ended("app", true), Some(Ending::Failed));
        assert_eq!(ended("envoy", true), Some(Ending::Failed));
        assert_eq!(ended("wait", false), None);
    }
}
