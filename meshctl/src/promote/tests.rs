//! What a person's yes comes to, by what has become of the new instances meanwhile.

use std::collections::BTreeMap;

use nomad::{Deployment, GroupDeployment};

use super::*;

/// Version 5 waits for a promotion; its deployment has that status and is promoted or not.
fn waiting(status: &str, promoted: bool) -> (Record, View) {
    let mut record = Record::sample(State::Promoting { version: 5 });
    record.gates.manual = true;
    let group = GroupDeployment { desired_canaries: 1, promoted, ..GroupDeployment::default() };
    let deployment = Deployment {
        job_version: 5,
        status: status.to_owned(),
        task_groups: BTreeMap::from([("web".to_owned(), group)]),
        ..Deployment::default()
    };
    (record, View { deployments: vec![deployment], ..View::default() })
}

fn wait() -> Step {
    Step::Wait { on: Source::Nomad, what: "0 of 1 new instances are healthy".to_owned() }
}

#[test]
fn a_yes_is_given_once() {
    let (record, view) = waiting("running", false);
    let promote = Step::Promote { deployment: "d".to_owned() };
    assert_eq!(answer(&record, &view, promote), Answer::Promote("d".to_owned()));
    let early = Answer::NotYet(Source::Nomad, "0 of 1 new instances are healthy".to_owned());
    assert_eq!(answer(&record, &view, wait()), early);
    let (record, view) = waiting("running", true);
    assert_eq!(answer(&record, &view, wait()), Answer::Promoted);
}

#[test]
fn a_yes_that_comes_too_late_is_no_success() {
    let never = Answer::Never("it broke".to_owned());
    let why = || "it broke".to_owned();
    let (record, view) = waiting("running", false);
    let broken = Step::Enter(State::Reverting { from: 5, to: Some(4), why: why() });
    assert_eq!(answer(&record, &view, broken), never);
    let replaced = Step::End(Outcome::Failed { why: why() });
    assert_eq!(answer(&record, &view, replaced), never);
    let (record, view) = waiting("failed", true);
    let broken = Step::Enter(State::Reverting { from: 5, to: Some(4), why: why() });
    assert_eq!(answer(&record, &view, broken), never);
}
