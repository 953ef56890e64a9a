//! `deployment list`, `status`, `promote`, `fail`, `pause`, `resume`.

use serde_json::{Value, json};

use super::monitor;
use super::session::{Done, Session, failed, put};
use super::show::{entries, flag, id, items, number, pairs, text, titled};

/// What `deployment status` shows of one.
pub(super) fn described(own: &Value, is_verbose: bool) -> String {
    let head = pairs(&[
        ("ID", id(text(own, "/ID"), is_verbose).to_owned()),
        ("Job ID", text(own, "/JobID").to_owned()),
        ("Job Version", number(own, "/JobVersion").to_string()),
        ("Status", text(own, "/Status").to_owned()),
        ("Description", text(own, "/StatusDescription").to_owned()),
    ]);
    format!("{head}\n\nDeployed\n{}", groups(own))
}

fn groups(own: &Value) -> String {
    let all = || entries(own, "/TaskGroups");
    let (has_revert, has_canary) = (
        all().any(|(_, group)| flag(group, "/AutoRevert")),
        all().any(|(_, group)| number(group, "/DesiredCanaries") > 0),
    );
    let mut head = vec!["Task Group"];
    head.extend(has_revert.then_some("Auto Revert"));
    head.extend(has_canary.then_some(["Promoted", "Canaries"]).into_iter().flatten());
    head.extend(["Desired", "Placed", "Healthy", "Unhealthy", "Progress Deadline"]);
    let row = |(name, group): (&String, &Value)| {
        let count = |path: &str| number(group, path).to_string();
        let canaries = number(group, "/DesiredCanaries");
        let promoted =
            if canaries > 0 { flag(group, "/Promoted").to_string() } else { "N/A".to_owned() };
        let mut row = vec![name.clone()];
        row.extend(has_revert.then(|| flag(group, "/AutoRevert").to_string()));
        if has_canary {
            row.extend([promoted, canaries.to_string()]);
        }
        row.extend(
            ["/DesiredTotal", "/PlacedAllocs", "/HealthyAllocs", "/UnhealthyAllocs"].map(count),
        );
        let deadline = text(group, "/RequireProgressBy");
        row.push(
            if deadline.is_empty() || deadline.starts_with("0001") { "N/A" } else { deadline }
                .to_owned(),
        );
        row
    };
    titled(&head, all().map(row))
}

/// A table of deployments.
pub(super) fn listed(all: &Value, is_verbose: bool) -> String {
    if items(all, "").next().is_none() {
        return "No deployments found".to_owned();
    }
    let row = |own: &Value| {
        vec![
            id(text(own, "/ID"), is_verbose).to_owned(),
            text(own, "/JobID").to_owned(),
            number(own, "/JobVersion").to_string(),
            text(own, "/Status").to_owned(),
            text(own, "/StatusDescription").to_owned(),
        ]
    };
    titled(&["ID", "Job ID", "Job Version", "Status", "Description"], items(all, "").map(row))
}

pub(super) fn list(session: &Session) -> Done {
    let all =
        session.api.get(&["deployments"], &[]).map_err(failed("Error retrieving deployments"))?;
    if session.has("json") {
        return session.say_json(&all);
    }
    session.say(&listed(&all, session.has("verbose")));
    Ok(0)
}

fn named(session: &Session) -> Result<Value, String> {
    session.by_prefix("deployments", "deployment", session.word(0))
}

pub(super) fn status(session: &Session) -> Done {
    if session.parsed.words.is_empty() {
        return list(session);
    }
    let own = named(session)?;
    if session.has("json") {
        return session.say_json(&own);
    }
    if session.has("monitor") {
        let last = monitor::follow(session, text(&own, "/ID"))?;
        return Ok(u8::from(last != "successful"));
    }
    session.say(&described(&own, session.has("verbose")));
    Ok(0)
}

/// What follows a change: the evaluation's id, or the evaluation to its end.
pub(super) fn evaluated(session: &Session, answer: &Value) -> Done {
    let eval = text(answer, "/EvalID");
    if session.has("detach") || eval.is_empty() {
        session.say(&format!("Evaluation ID: {eval}"));
        return Ok(0);
    }
    monitor::evaluation(session, eval)
}

pub(super) fn promote(session: &Session) -> Done {
    let own = named(session)?;
    promote_id(session, text(&own, "/ID"))
}

/// Promotes the groups that the call names, or all.
pub(super) fn promote_id(session: &Session, deployment: &str) -> Done {
    let groups = session.parsed.all("group");
    let mut body = json!({"DeploymentID": deployment, "All": groups.is_empty()});
    if !groups.is_empty() {
        put(&mut body, "Groups", json!(groups));
    }
    let answer = session.api.post(&["deployment", "promote", deployment], &[], &body);
    evaluated(session, &answer.map_err(failed("Error promoting deployment"))?)
}

pub(super) fn fail(session: &Session) -> Done {
    let own = named(session)?;
    let answer = session.api.post(&["deployment", "fail", text(&own, "/ID")], &[], &json!({}));
    let answer = answer.map_err(failed("Error failing deployment"))?;
    session
        .say(&format!("Deployment \"{}\" failed", id(text(&own, "/ID"), session.has("verbose"))));
    if let Some(version) = answer.get("RevertedJobVersion").and_then(Value::as_u64) {
        session.say(&format!("Auto-reverted to job version {version}."));
    }
    evaluated(session, &answer)
}

fn set_pause(session: &Session, is_paused: bool) -> Done {
    let own = named(session)?;
    let deployment = text(&own, "/ID");
    let body = json!({"DeploymentID": deployment, "Pause": is_paused});
    let answer = session.api.post(&["deployment", "pause", deployment], &[], &body);
    let answer = answer.map_err(failed("Error pausing deployment"))?;
    let word = if is_paused { "paused" } else { "resumed" };
    session.say(&format!("Deployment \"{}\" {word}", id(deployment, session.has("verbose"))));
    if is_paused { Ok(0) } else { evaluated(session, &answer) }
}

pub(super) fn pause(session: &Session) -> Done {
    set_pause(session, true)
}

pub(super) fn resume(session: &Session) -> Done {
    set_pause(session, false)
}
