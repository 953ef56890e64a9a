//! `node status`, `drain`, `eligibility`.

use serde_json::{Value, json};

use super::alloc;
use super::session::{Done, Session, failed, put};
use super::show::{flag, id, items, pairs, text, titled};

fn self_id(session: &Session) -> Result<String, String> {
    let own =
        session.api.get(&["agent", "self"], &[]).map_err(failed("Error querying agent info"))?;
    let id = text(&own, "/stats/client/node_id");
    if id.is_empty() {
        return Err("Node ID not found: the agent is no client".to_owned());
    }
    Ok(id.to_owned())
}

fn named(session: &Session) -> Result<Value, String> {
    if session.has("self") {
        let id = self_id(session)?;
        return session.api.get(&["node", &id], &[]).map_err(failed("Error querying node info"));
    }
    let prefix = session.word(0);
    if prefix.is_empty() {
        return Err("Node ID must be specified if -self isn't being used".to_owned());
    }
    session.by_prefix("nodes", "node", prefix)
}

pub(super) fn status(session: &Session) -> Done {
    if session.parsed.words.is_empty() && !session.has("self") {
        return list(session);
    }
    let own = named(session)?;
    if session.has("json") {
        return session.say_json(&own);
    }
    session.say(&pairs(&[
        ("ID", text(&own, "/ID").to_owned()),
        ("Name", text(&own, "/Name").to_owned()),
        ("Node Pool", text(&own, "/NodePool").to_owned()),
        ("Class", text(&own, "/NodeClass").to_owned()),
        ("DC", text(&own, "/Datacenter").to_owned()),
        ("Drain", flag(&own, "/Drain").to_string()),
        ("Eligibility", text(&own, "/SchedulingEligibility").to_owned()),
        ("Status", text(&own, "/Status").to_owned()),
    ]));
    let all = session.api.get(&["node", text(&own, "/ID"), "allocations"], &[]);
    let all = all.map_err(failed("Error querying node allocations"))?;
    session.say(&format!("\nAllocations\n{}", alloc::listed(&all, session.has("verbose"))));
    Ok(0)
}

fn list(session: &Session) -> Done {
    let all = session.api.get(&["nodes"], &[]).map_err(failed("Error querying node status"))?;
    if session.has("json") {
        return session.say_json(&all);
    }
    let row = |own: &Value| {
        vec![
            id(text(own, "/ID"), session.has("verbose")).to_owned(),
            text(own, "/NodePool").to_owned(),
            text(own, "/Datacenter").to_owned(),
            text(own, "/Name").to_owned(),
            text(own, "/NodeClass").to_owned(),
            flag(own, "/Drain").to_string(),
            text(own, "/SchedulingEligibility").to_owned(),
            text(own, "/Status").to_owned(),
        ]
    };
    let head = ["ID", "Node Pool", "DC", "Name", "Class", "Drain", "Eligibility", "Status"];
    session.say(&titled(&head, items(&all, "").map(row)));
    Ok(0)
}

/// Nanoseconds until a drain is forced, by default an hour; 0 never, -1 at once.
fn deadline(session: &Session) -> Result<i64, String> {
    if session.has("force") {
        return Ok(-1);
    }
    if session.has("no-deadline") {
        return Ok(0);
    }
    let text = session.parsed.one("deadline").unwrap_or("1h");
    let own = ::jobspec::duration::parse(text).and_then(|own| i64::try_from(own.as_nanos()).ok());
    own.filter(|own| *own > 0)
        .ok_or_else(|| format!("Failed to parse deadline {text:?}: a positive duration is needed"))
}

pub(super) fn drain(session: &Session) -> Done {
    let (is_on, is_off) = (session.has("enable"), session.has("disable"));
    if session.has("monitor") && !is_on && !is_off {
        return drained(session, text(&named(session)?, "/ID"));
    }
    if is_on == is_off {
        return Err("Either the '-enable' or '-disable' flag must be set".to_owned());
    }
    let node = named(session)?;
    let own = text(&node, "/ID");
    let mut body = json!({"NodeID": own, "DrainSpec": null, "MarkEligible": is_off && !session.has("keep-ineligible")});
    if is_on {
        let ignores = session.has("ignore-system");
        put(
            &mut body,
            "DrainSpec",
            json!({"Deadline": deadline(session)?, "IgnoreSystemJobs": ignores}),
        );
    }
    if let Some(message) = session.parsed.one("m") {
        put(&mut body, "Meta", json!({"message": message}));
    }
    session
        .api
        .post(&["node", own, "drain"], &[], &body)
        .map_err(failed("Error updating drain specification"))?;
    if is_off {
        session.say(&format!("Node \"{own}\" drain strategy unset"));
        return Ok(0);
    }
    session.say(&format!("Node \"{own}\" drain strategy set"));
    if session.has("detach") { Ok(0) } else { drained(session, own) }
}

/// Follows a drain until nothing is left of it.
fn drained(session: &Session, node: &str) -> Done {
    let mut index = 0;
    session.say(&format!(
        "==> {}: Monitoring node \"{node}\": Ctrl-C to detach monitoring",
        Session::now()
    ));
    loop {
        let answer =
            session.api.wait(&["node", node], index).map_err(failed("Error monitoring drain"))?;
        index = answer.index;
        let is_over = answer.value.get("DrainStrategy").is_none_or(Value::is_null);
        if is_over {
            session.say(&format!("==> {}: Drain complete for node {node}", Session::now()));
            return Ok(0);
        }
    }
}

pub(super) fn eligibility(session: &Session) -> Done {
    let (is_on, is_off) = (session.has("enable"), session.has("disable"));
    if is_on == is_off {
        return Err("Either the '-enable' or '-disable' flag must be set".to_owned());
    }
    let node = named(session)?;
    let own = text(&node, "/ID");
    let word = if is_on { "eligible" } else { "ineligible" };
    let body = json!({"NodeID": own, "Eligibility": word});
    session
        .api
        .post(&["node", own, "eligibility"], &[], &body)
        .map_err(failed("Error updating scheduling eligibility"))?;
    let whole = if is_on { "eligible for scheduling" } else { "ineligible for scheduling" };
    session.say(&format!("Node \"{own}\" scheduling eligibility set: {whole}"));
    Ok(0)
}
