//! An evaluation and its deployment followed to their end, as `job run` does.
//!
//! In: an evaluation's id. Out: an exit code: 0 it went well, 1 the deployment failed, 2 there is no room for it.
//!
//! **Invariants**: a failed deployment that reverts is followed by the revert's deployment, which may wait for a promotion
//! for ever, as Nomad's does; the exit code stays that of the failed one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::deployment;
use super::session::{Done, Session, failed};
use super::show::{entries, flag, id, items, number, text};

/// Follows an evaluation, its allocations, and the deployment that it belongs to.
pub(super) fn evaluation(session: &Session, eval_id: &str) -> Done {
    let is_verbose = session.has("verbose");
    let short = id(eval_id, is_verbose).to_owned();
    session.say(&format!("==> {}: Monitoring evaluation \"{short}\"", Session::now()));
    let say = |line: &str| session.say(&format!("    {}: {line}", Session::now()));
    let (mut index, mut status, mut deployment) = (0, "pending".to_owned(), String::new());
    let mut seen = BTreeSet::new();
    let mut is_first = true;
    let eval = loop {
        let answer = session.api.wait(&["evaluation", eval_id], index);
        let answer = answer.map_err(failed("Error reading evaluation"))?;
        let eval = answer.value;
        index = answer.index;
        if is_first {
            is_first = false;
            match text(&eval, "/TriggeredBy") {
                "node-update" => {
                    say(&format!("Evaluation triggered by node \"{}\"", text(&eval, "/NodeID")))
                }
                _ => say(&format!("Evaluation triggered by job \"{}\"", text(&eval, "/JobID"))),
            }
        }
        let own = text(&eval, "/DeploymentID");
        if deployment.is_empty() && !own.is_empty() {
            own.clone_into(&mut deployment);
            say(&format!("Evaluation within deployment: \"{}\"", id(own, is_verbose)));
        }
        let allocations = session.api.get(&["evaluation", eval_id, "allocations"], &[]);
        let allocations = allocations.map_err(failed("Error reading allocations"))?;
        for own in items(&allocations, "") {
            if seen.insert((text(own, "/ID").to_owned(), text(own, "/ClientStatus").to_owned())) {
                say(&allocation(own, eval_id, is_verbose));
            }
        }
        let now = text(&eval, "/Status");
        if now != status {
            say(&format!("Evaluation status changed: \"{status}\" -> \"{now}\""));
            now.clone_into(&mut status);
        }
        if ["complete", "failed", "canceled"].contains(&now) {
            break eval;
        }
    };
    let is_short_of_room = finished(session, &eval, &short, is_verbose);
    if !deployment.is_empty() {
        let last = follow(session, &deployment)?;
        if last != "successful" {
            return Ok(1);
        }
    }
    Ok(if is_short_of_room { 2 } else { 0 })
}

fn allocation(own: &Value, eval_id: &str, is_verbose: bool) -> String {
    let name = id(text(own, "/ID"), is_verbose);
    let (node, group) = (id(text(own, "/NodeID"), is_verbose), text(own, "/TaskGroup"));
    if text(own, "/EvalID") != eval_id {
        return format!("Allocation \"{name}\" modified: node \"{node}\", group \"{group}\"");
    }
    match text(own, "/ClientStatus") {
        "pending" => format!("Allocation \"{name}\" created: node \"{node}\", group \"{group}\""),
        status => format!("Allocation \"{name}\" status changed: \"pending\" -> \"{status}\""),
    }
}

/// Says how an evaluation ended; whether it could not place everything.
fn finished(session: &Session, eval: &Value, short: &str, is_verbose: bool) -> bool {
    let status = text(eval, "/Status");
    let failures: Vec<(&String, &Value)> = entries(eval, "/FailedTGAllocs").collect();
    let now = Session::now();
    if failures.is_empty() {
        session
            .say(&format!("==> {now}: Evaluation \"{short}\" finished with status \"{status}\""));
        return false;
    }
    session.say(&format!(
        "==> {now}: Evaluation \"{short}\" finished with status \"{status}\" but failed to place all allocations:"
    ));
    for (group, metrics) in failures {
        session.say(&unplaced(group, metrics));
    }
    let blocked = text(eval, "/BlockedEval");
    if !blocked.is_empty() {
        let blocked = id(blocked, is_verbose);
        session.say(&format!(
            "    {now}: Evaluation \"{blocked}\" waiting for additional capacity to place remainder"
        ));
    }
    true
}

/// Why a group has no place.
pub(super) fn unplaced(group: &str, metrics: &Value) -> String {
    let count = number(metrics, "/CoalescedFailures") + 1;
    let plural = if count == 1 { "" } else { "s" };
    let mut lines =
        vec![format!("    Task Group \"{group}\" (failed to place {count} allocation{plural}):")];
    if number(metrics, "/NodesEvaluated") == 0 {
        lines.push("      * No nodes were eligible for evaluation".to_owned());
    }
    for (key, value) in entries(metrics, "/ConstraintFiltered") {
        lines.push(format!("      * Constraint \"{key}\": {value} nodes excluded by filter"));
    }
    if number(metrics, "/NodesExhausted") > 0 {
        lines.push(format!(
            "      * Resources exhausted on {} nodes",
            number(metrics, "/NodesExhausted")
        ));
    }
    for (key, value) in entries(metrics, "/DimensionExhausted") {
        lines.push(format!("      * Dimension \"{key}\" exhausted on {value} nodes"));
    }
    lines.join("\n")
}

/// Follows a deployment to its end and says its last status.
pub(super) fn follow(session: &Session, deployment_id: &str) -> Result<String, String> {
    let is_verbose = session.has("verbose");
    let short = id(deployment_id, is_verbose);
    session.say(&format!("==> {}: Monitoring deployment \"{short}\"", Session::now()));
    let (mut index, mut shown) = (0, String::new());
    let last = loop {
        let answer = session.api.wait(&["deployment", deployment_id], index);
        let answer = answer.map_err(failed("Error fetching deployment"))?;
        index = answer.index;
        let now = deployment::described(&answer.value, is_verbose);
        if now != shown {
            session.say(&format!("\n    {}\n{}", Session::now(), indented(&now)));
            shown = now;
        }
        if ["failed", "successful", "cancelled", "blocked"]
            .contains(&text(&answer.value, "/Status"))
        {
            break answer.value;
        }
    };
    let status = text(&last, "/Status").to_owned();
    session.say(&format!(
        "\n  {} Deployment \"{short}\" {status}",
        if status == "successful" { "✓" } else { "!" }
    ));
    let reverts = entries(&last, "/TaskGroups").any(|(_, group)| flag(group, "/AutoRevert"));
    if status == "failed" && reverts {
        rollback(session, &last)?;
    }
    Ok(status)
}

/// How often the newest deployment is looked at for the one that reverts.
const LOOKS: usize = 10;

fn rollback(session: &Session, of: &Value) -> Result<(), String> {
    let job = text(of, "/JobID");
    let mut index = 0;
    for _ in 0..LOOKS {
        let answer = session.api.wait(&["job", job, "deployment"], index);
        let answer = answer.map_err(failed("Error fetching the rollback's deployment"))?;
        index = answer.index.max(1);
        let newest = text(&answer.value, "/ID");
        if number(&answer.value, "/JobVersion") > number(of, "/JobVersion")
            && newest != text(of, "/ID")
        {
            follow(session, newest)?;
            return Ok(());
        }
        if text(of, "/StatusDescription").contains("no stable job version") {
            return Ok(());
        }
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}
