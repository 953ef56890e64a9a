//! `alloc status`, `logs`, `stop`, `checks`.

use std::io::Write as _;

use serde_json::{Value, json};

use super::monitor;
use super::session::{Done, Session, failed};
use super::show::{entries, id, items, number, pairs, text, time, titled};

/// A table of allocations.
pub(super) fn listed(all: &Value, is_verbose: bool) -> String {
    if items(all, "").next().is_none() {
        return "No allocations placed".to_owned();
    }
    let row = |own: &Value| {
        vec![
            id(text(own, "/ID"), is_verbose).to_owned(),
            id(text(own, "/NodeID"), is_verbose).to_owned(),
            text(own, "/TaskGroup").to_owned(),
            number(own, "/JobVersion").to_string(),
            text(own, "/DesiredStatus").to_owned(),
            text(own, "/ClientStatus").to_owned(),
            time(number(own, "/CreateTime")),
            time(number(own, "/ModifyTime")),
        ]
    };
    let head =
        ["ID", "Node ID", "Task Group", "Version", "Desired", "Status", "Created", "Modified"];
    titled(&head, items(all, "").map(row))
}

fn named(session: &Session) -> Result<Value, String> {
    session.by_prefix("allocations", "allocation", session.word(0))
}

pub(super) fn status(session: &Session) -> Done {
    if session.parsed.words.is_empty() {
        let all =
            session.api.get(&["allocations"], &[]).map_err(failed("Error querying allocations"))?;
        if session.has("json") {
            return session.say_json(&all);
        }
        session.say(&listed(&all, session.has("verbose")));
        return Ok(0);
    }
    let own = named(session)?;
    if session.has("json") {
        return session.say_json(&own);
    }
    let is_verbose = session.has("verbose");
    let canary = own.pointer("/DeploymentStatus/Canary").and_then(Value::as_bool);
    let health = match own.pointer("/DeploymentStatus/Healthy").and_then(Value::as_bool) {
        Some(true) => "healthy",
        Some(false) => "unhealthy",
        None => "unset",
    };
    let mut rows = vec![
        ("ID", text(&own, "/ID").to_owned()),
        ("Eval ID", id(text(&own, "/EvalID"), is_verbose).to_owned()),
        ("Name", text(&own, "/Name").to_owned()),
        ("Node ID", id(text(&own, "/NodeID"), is_verbose).to_owned()),
        ("Node Name", text(&own, "/NodeName").to_owned()),
        ("Job ID", text(&own, "/JobID").to_owned()),
        ("Job Version", number(&own, "/Job/Version").to_string()),
        ("Client Status", text(&own, "/ClientStatus").to_owned()),
        ("Client Description", text(&own, "/ClientDescription").to_owned()),
        ("Desired Status", text(&own, "/DesiredStatus").to_owned()),
        ("Desired Description", text(&own, "/DesiredDescription").to_owned()),
        ("Created", time(number(&own, "/CreateTime"))),
        ("Modified", time(number(&own, "/ModifyTime"))),
    ];
    if !text(&own, "/DeploymentID").is_empty() {
        rows.push(("Deployment ID", id(text(&own, "/DeploymentID"), is_verbose).to_owned()));
        rows.push(("Deployment Health", health.to_owned()));
        rows.extend(canary.filter(|canary| *canary).map(|own| ("Canary", own.to_string())));
    }
    session.say(&pairs(&rows));
    for (task, state) in entries(&own, "/TaskStates") {
        session.say(&format!("\nTask \"{task}\" is \"{}\"", text(state, "/State")));
        let row = |event: &Value| {
            vec![
                time(number(event, "/Time")),
                text(event, "/Type").to_owned(),
                text(event, "/DisplayMessage").to_owned(),
            ]
        };
        let mut events: Vec<Vec<String>> = items(state, "/Events").map(row).collect();
        events.reverse();
        session
            .say(&format!("Recent Events:\n{}", titled(&["Time", "Type", "Description"], events)));
    }
    Ok(0)
}

/// How a stream of a task's log is chosen: `-stderr`, or standard output.
pub(super) fn logs(session: &Session) -> Done {
    let own = if session.has("job") { of_job(session)? } else { named(session)? };
    let tasks: Vec<&str> = entries(&own, "/TaskStates").map(|(name, _)| name.as_str()).collect();
    let given = session.parsed.one("task").unwrap_or_else(|| session.word(1));
    let task = match (given, tasks.as_slice()) {
        ("", [one]) => *one,
        ("", all) => {
            return Err(format!(
                "Allocation {:?} is running the following tasks:\n  * {}\n\nPlease specify the task.",
                id(text(&own, "/ID"), session.has("verbose")),
                all.join("\n  * "),
            ));
        }
        (given, _) => given,
    };
    let kind = if session.has("stderr") { "stderr" } else { "stdout" };
    let mut query = vec![("task", task), ("type", kind), ("plain", "true")];
    let bytes = session.parsed.one("c");
    match bytes {
        Some(bytes) => query.extend([("origin", "end"), ("offset", bytes)]),
        None => query.extend([("origin", "start"), ("offset", "0")]),
    }
    if session.has("f") {
        query.push(("follow", "true"));
    }
    let content = session.api.text(&["client", "fs", "logs", text(&own, "/ID")], &query);
    let content = content.map_err(failed("Error reading file"))?;
    let lines = session.parsed.one("n").or_else(|| session.has("tail").then_some("10"));
    let start = match lines.and_then(|own| own.parse::<usize>().ok()) {
        Some(lines) => tail(&content, lines),
        None => 0,
    };
    std::io::stdout().write_all(content.get(start..).unwrap_or_default()).ok();
    Ok(0)
}

/// Where the last lines begin.
fn tail(content: &[u8], lines: usize) -> usize {
    let body = content.strip_suffix(b"\n").unwrap_or(content);
    let mut breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match lines.checked_sub(1) {
        Some(before) => breaks.nth(before).map_or(0, |(at, _)| at + 1),
        None => content.len(),
    }
}

fn of_job(session: &Session) -> Result<Value, String> {
    let job = session.job_id(session.word(0))?;
    let all = session.api.get(&["job", &job, "allocations"], &[]);
    let all = all.map_err(failed("Error retrieving allocations"))?;
    let newest = items(&all, "").max_by_key(|own| number(own, "/CreateIndex"));
    let newest = newest.ok_or_else(|| format!("No allocations for job {job:?} found"))?;
    let whole = session.api.get(&["allocation", text(newest, "/ID")], &[]);
    whole.map_err(failed("Error querying allocation"))
}

pub(super) fn stop(session: &Session) -> Done {
    let own = named(session)?;
    let query: &[(&str, &str)] =
        if session.has("no-shutdown-delay") { &[("no_shutdown_delay", "true")] } else { &[] };
    let answer = session.api.post(&["allocation", text(&own, "/ID"), "stop"], query, &json!({}));
    let answer = answer.map_err(failed("Error stopping allocation"))?;
    let eval = text(&answer, "/EvalID");
    if session.has("detach") || eval.is_empty() {
        session.say(eval);
        return Ok(0);
    }
    monitor::evaluation(session, eval)
}

pub(super) fn checks(session: &Session) -> Done {
    let own = named(session)?;
    let all = session.api.get(&["client", "allocation", text(&own, "/ID"), "checks"], &[]);
    let all = all.map_err(failed("Error querying allocation health checks"))?;
    if session.has("json") {
        return session.say_json(&all);
    }
    let blocks = entries(&all, "").map(|(_, check)| {
        let row = |key: &'static str| (key, text(check, &format!("/{key}")).to_owned());
        pairs(&[
            row("ID"),
            row("Check"),
            row("Group"),
            row("Task"),
            row("Service"),
            row("Status"),
            row("Mode"),
            row("Output"),
        ])
    });
    let blocks: Vec<String> = blocks.collect();
    session.say(&format!(
        "Status of {} Nomad Service Checks\n\n{}",
        blocks.len(),
        blocks.join("\n\n")
    ));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn the_last_lines_begin_after_a_line_break() {
        let content = b"a\nb\nc\n";
        let starts: Vec<usize> = (0..5).map(|lines| tail(content, lines)).collect();
        assert_eq!(starts, [6, 4, 2, 0, 0]);
        assert_eq!(tail(b"", 3), 0);
    }
}
