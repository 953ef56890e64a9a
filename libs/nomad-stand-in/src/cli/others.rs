//! Evaluations, Nomad's own services, the agent, and files.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::monitor::{self, unplaced};
use super::session::{Done, Session, failed};
use super::show::{entries, id, items, number, pairs, text, titled};
use crate::config;

pub(super) fn eval_list(session: &Session) -> Done {
    let all =
        session.api.get(&["evaluations"], &[]).map_err(failed("Error querying evaluations"))?;
    if session.has("json") {
        return session.say_json(&all);
    }
    let row = |own: &Value| {
        let failures = entries(own, "/FailedTGAllocs").next().is_some();
        vec![
            id(text(own, "/ID"), session.has("verbose")).to_owned(),
            number(own, "/Priority").to_string(),
            text(own, "/TriggeredBy").to_owned(),
            text(own, "/JobID").to_owned(),
            text(own, "/Status").to_owned(),
            failures.to_string(),
        ]
    };
    let head = ["ID", "Priority", "Triggered By", "Job ID", "Status", "Placement Failures"];
    session.say(&titled(&head, items(&all, "").map(row)));
    Ok(0)
}

pub(super) fn eval_status(session: &Session) -> Done {
    if session.parsed.words.is_empty() {
        return eval_list(session);
    }
    let own = session.by_prefix("evaluations", "evaluation", session.word(0))?;
    if session.has("monitor") {
        return monitor::evaluation(session, text(&own, "/ID"));
    }
    if session.has("json") {
        return session.say_json(&own);
    }
    let failures: Vec<(&String, &Value)> = entries(&own, "/FailedTGAllocs").collect();
    session.say(&pairs(&[
        ("ID", id(text(&own, "/ID"), session.has("verbose")).to_owned()),
        ("Status", text(&own, "/Status").to_owned()),
        ("Status Description", text(&own, "/StatusDescription").to_owned()),
        ("Type", text(&own, "/Type").to_owned()),
        ("TriggeredBy", text(&own, "/TriggeredBy").to_owned()),
        ("Job ID", text(&own, "/JobID").to_owned()),
        ("Priority", number(&own, "/Priority").to_string()),
        ("Placement Failures", (!failures.is_empty()).to_string()),
    ]));
    if !failures.is_empty() {
        session.say("\nFailed Placements");
        for (group, metrics) in failures {
            session.say(&unplaced(group, metrics));
        }
    }
    Ok(0)
}

pub(super) fn service_list(session: &Session) -> Done {
    let all = session
        .api
        .get(&["services"], &[])
        .map_err(failed("Error listing service registrations"))?;
    if session.has("json") {
        return session.say_json(&all);
    }
    let rows: Vec<Vec<String>> = items(&all, "")
        .flat_map(|namespace| items(namespace, "/Services"))
        .map(|own| vec![text(own, "/ServiceName").to_owned(), format!("[{}]", tags(own).join(","))])
        .collect();
    if rows.is_empty() {
        session.say("No service registrations found");
        return Ok(0);
    }
    session.say(&titled(&["Service Name", "Tags"], rows));
    Ok(0)
}

fn tags(own: &Value) -> Vec<&str> {
    items(own, "/Tags").filter_map(Value::as_str).collect()
}

pub(super) fn service_info(session: &Session) -> Done {
    let all = session.api.get(&["service", session.word(0)], &[]);
    let all = all.map_err(failed("Error listing service registrations"))?;
    if items(&all, "").next().is_none() {
        session.say("No service registrations found");
        return Ok(0);
    }
    if session.has("json") {
        return session.say_json(&all);
    }
    let is_verbose = session.has("verbose");
    let row = |own: &Value| {
        vec![
            text(own, "/JobID").to_owned(),
            format!("{}:{}", text(own, "/Address"), number(own, "/Port")),
            format!("[{}]", tags(own).join(",")),
            id(text(own, "/NodeID"), is_verbose).to_owned(),
            id(text(own, "/AllocID"), is_verbose).to_owned(),
        ]
    };
    session.say(&titled(
        &["Job ID", "Address", "Tags", "Node ID", "Alloc ID"],
        items(&all, "").map(row),
    ));
    Ok(0)
}

pub(super) fn config_validate(session: &Session) -> Done {
    let paths: Vec<PathBuf> = session.parsed.words.iter().map(PathBuf::from).collect();
    let problems = config::problems(&paths);
    if problems.is_empty() {
        session.say("Configuration is valid!");
        return Ok(0);
    }
    Err(problems.join("\n"))
}

pub(super) fn members(session: &Session) -> Done {
    let all =
        session.api.get(&["agent", "members"], &[]).map_err(failed("Error querying servers"))?;
    if session.has("json") {
        return session.say_json(&all);
    }
    let row = |own: &Value| {
        vec![
            text(own, "/Name").to_owned(),
            text(own, "/Addr").to_owned(),
            number(own, "/Port").to_string(),
            text(own, "/Status").to_owned(),
        ]
    };
    session.say(&titled(&["Name", "Address", "Port", "Status"], items(&all, "/Members").map(row)));
    Ok(0)
}

pub(super) fn agent_info(session: &Session) -> Done {
    let own =
        session.api.get(&["agent", "self"], &[]).map_err(failed("Error querying agent info"))?;
    session.say_json(&own)
}

pub(super) fn collect(session: &Session) -> Done {
    session
        .api
        .post(&["system", "gc"], &[], &json!({}))
        .map_err(failed("Error running system garbage-collection"))?;
    Ok(0)
}

/// `operator api`: a request as it is written, the answer as it came.
pub(super) fn raw(session: &Session) -> Done {
    use std::io::Write as _;
    let body = session.parsed.one("d").map(str::to_owned);
    let method = session.parsed.one("X").unwrap_or(if body.is_some() { "POST" } else { "GET" });
    let answer = session
        .api
        .raw(method, session.word(0), body)
        .map_err(failed("Error performing request"))?;
    std::io::stdout().write_all(&answer).ok();
    session.say("");
    Ok(0)
}
