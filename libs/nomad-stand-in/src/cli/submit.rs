//! `job run`, `job validate`, `job dispatch`, `job stop`, `job scale`: what changes a job.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::api::ApiError;
use super::job_file;
use super::monitor;
use super::session::{Done, Session, failed, put};
use super::show::{flag, id, number, pairs, text};
use crate::agent::job::validate;

/// What Nomad's answer begins with when a check-index does not hold.
const CONFLICT: &str = "Enforcing job modify index";

pub(super) fn run(session: &Session) -> Done {
    let job = job_file::read(session)?;
    if session.has("output") {
        return session.say_json(&json!({"Job": job}));
    }
    let mut body = json!({"Job": job});
    if let Some(index) = session.parsed.one("check-index") {
        let index: u64 = index
            .parse()
            .map_err(|error| format!("Error parsing check-index value {index:?}: {error}"))?;
        put(&mut body, "EnforceIndex", json!(true));
        put(&mut body, "JobModifyIndex", json!(index));
    }
    for (name, key) in
        [("preserve-counts", "PreserveCounts"), ("policy-override", "PolicyOverride")]
    {
        if session.has(name) {
            put(&mut body, key, json!(true));
        }
    }
    let answer = match session.api.post(&["jobs"], &[], &body) {
        Ok(answer) => answer,
        Err(ApiError::Status(_, why)) if why.contains(CONFLICT) => {
            let said = why.find(CONFLICT).and_then(|at| why.get(at..)).unwrap_or(&why);
            session.complain(said.trim());
            session.complain("Job not updated");
            return Ok(1);
        }
        Err(error) => return Err(format!("Error submitting job: {error}")),
    };
    warn(session, &answer);
    let eval = text(&answer, "/EvalID");
    // A template of jobs is not evaluated.
    if eval.is_empty() {
        session.say("Job registration successful");
        return Ok(0);
    }
    if session.has("detach") {
        session.say("Job registration successful");
        session.say(&format!("Evaluation ID: {eval}"));
        return Ok(0);
    }
    monitor::evaluation(session, eval)
}

/// Prints what the server warns of.
pub(super) fn warn(session: &Session, answer: &Value) {
    let warnings = text(answer, "/Warnings");
    if !warnings.is_empty() {
        session.say(&format!("Job Warnings:\n{warnings}\n"));
    }
}

pub(super) fn validate_job(session: &Session) -> Done {
    let job = job_file::read(session)?;
    match session.api.post(&["validate", "job"], &[], &json!({"Job": job})) {
        Ok(answer) => {
            if !flag(&answer, "/DriverConfigValidated") {
                session.say("Driver configuration not validated since connection to Nomad agent couldn't be established.\n");
            }
            let error = text(&answer, "/Error");
            if !error.is_empty() {
                return Err(format!("Job validation errors:\n{error}"));
            }
            warn(session, &answer);
        }
        // Nomad validates what it can without a server.
        Err(ApiError::Unreachable(_)) => {
            session.say("Driver configuration not validated since connection to Nomad agent couldn't be established.\n");
            let problems = job.as_object().map(validate::of_body).unwrap_or_default();
            if !problems.is_empty() {
                return Err(format!("Job validation errors:\n{}", validate::listed(&problems)));
            }
        }
        Err(error) => return Err(format!("Error validating job: {error}")),
    }
    session.say("Job validation successful");
    Ok(0)
}

pub(super) fn stop(session: &Session) -> Done {
    let mut code = 0;
    for word in &session.parsed.words {
        let job = session.job_id(word)?;
        let mut query = vec![("purge", if session.has("purge") { "true" } else { "false" })];
        if session.has("no-shutdown-delay") {
            query.push(("no_shutdown_delay", "true"));
        }
        let answer = session.api.delete(&["job", &job], &query);
        let answer = answer.map_err(failed("Error deregistering job"))?;
        let eval = text(&answer, "/EvalID");
        if eval.is_empty() {
            continue;
        }
        if session.has("detach") {
            session.say(eval);
        } else {
            code = code.max(monitor::evaluation(session, eval)?);
        }
    }
    Ok(code)
}

pub(super) fn dispatch(session: &Session) -> Done {
    let mut meta = Map::new();
    for pair in session.parsed.all("meta") {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| format!("Error parsing meta value: {pair}"))?;
        meta.insert(key.to_owned(), value.into());
    }
    let payload = match session.word(1) {
        "" => None,
        "-" => {
            use std::io::Read as _;
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            read.map_err(|error| format!("Error reading input data: {error}"))?;
            Some(bytes)
        }
        path => Some(
            std::fs::read(path).map_err(|error| format!("Error reading input data: {error}"))?,
        ),
    };
    let mut body = json!({"Meta": meta});
    if let Some(payload) = payload {
        put(&mut body, "Payload", STANDARD.encode(payload).into());
    }
    let query: Vec<(&str, &str)> = session
        .parsed
        .one("idempotency-token")
        .into_iter()
        .map(|own| ("idempotency_token", own))
        .collect();
    let answer = session.api.post(&["job", session.word(0), "dispatch"], &query, &body);
    let answer = answer.map_err(failed("Failed to dispatch job"))?;
    let eval = text(&answer, "/EvalID");
    let mut rows = vec![("Dispatched Job ID", text(&answer, "/DispatchedJobID").to_owned())];
    if !eval.is_empty() {
        rows.push(("Evaluation ID", id(eval, session.has("verbose")).to_owned()));
    }
    session.say(&pairs(&rows));
    if session.has("detach") || eval.is_empty() {
        return Ok(0);
    }
    session.say("");
    monitor::evaluation(session, eval)
}

pub(super) fn scale(session: &Session) -> Done {
    let job = session.job_id(session.word(0))?;
    let read = session.api.get(&["job", &job], &[]).map_err(failed("Error querying job"))?;
    let (group, count) = match session.parsed.words.as_slice() {
        [_, group, count] => (group.as_str(), count),
        [_, count] => (text(&read, "/TaskGroups/0/Name"), count),
        _ => {
            return Err(
                "This command takes two or three arguments: <job> [<group>] <count>".to_owned()
            );
        }
    };
    let count: u64 =
        count.parse().map_err(|_| format!("Failed to convert count string to int: {count}"))?;
    let body = json!({"Count": count, "Target": {"Job": job, "Group": group}, "Message": "submitted using the Nomad CLI"});
    let answer = session.api.post(&["job", &job, "scale"], &[], &body);
    let answer = answer.map_err(failed("Error submitting scaling request"))?;
    warn(session, &answer);
    let eval = text(&answer, "/EvalID");
    if session.has("detach") || eval.is_empty() {
        session.say(&format!("Evaluation ID: {eval}"));
        return Ok(0);
    }
    monitor::evaluation(session, eval)
}

pub(super) fn revert(session: &Session) -> Done {
    let job = session.job_id(session.word(0))?;
    let version: u64 = session
        .word(1)
        .parse()
        .map_err(|_| format!("Failed to parse job version: {:?}", session.word(1)))?;
    let body = json!({"JobID": job, "JobVersion": version});
    let answer = session.api.post(&["job", &job, "revert"], &[], &body);
    let answer = answer.map_err(failed("Error reverting job"))?;
    let eval = text(&answer, "/EvalID");
    if session.has("detach") || eval.is_empty() {
        session.say("Job revert successful");
        session.say(&format!("Evaluation ID: {eval}"));
        return Ok(0);
    }
    monitor::evaluation(session, eval)
}

pub(super) fn evaluate(session: &Session) -> Done {
    let job = session.job_id(session.word(0))?;
    let force = session.has("force-reschedule");
    let body = json!({"JobID": job, "EvalOptions": {"ForceReschedule": force}});
    let answer = session.api.post(&["job", &job, "evaluate"], &[], &body);
    let answer = answer.map_err(failed("Error evaluating job"))?;
    let eval = text(&answer, "/EvalID");
    if session.has("detach") {
        session.say(&format!("Created eval ID: \"{}\" ", id(eval, session.has("verbose"))));
        return Ok(0);
    }
    monitor::evaluation(session, eval)
}

pub(super) fn promote(session: &Session) -> Done {
    let job = session.job_id(session.word(0))?;
    let newest = session.api.get(&["job", &job, "deployment"], &[]);
    let newest = newest.map_err(failed("Error retrieving job's deployment"))?;
    if number(&newest, "/CreateIndex") == 0 {
        return Err(format!("Deployment for job {job:?} not found"));
    }
    super::deployment::promote_id(session, text(&newest, "/ID"))
}
