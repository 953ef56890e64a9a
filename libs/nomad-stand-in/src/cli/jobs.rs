//! `job status`, `inspect`, `history`, `deployments`, `allocs`: what there is of a job.

use serde_json::{Value, json};

use super::alloc;
use super::deployment;
use super::diff;
use super::session::{Done, Session, failed};
use super::show::{entries, flag, items, number, pairs, text, time, titled};

pub(super) fn status(session: &Session) -> Done {
    if session.parsed.words.is_empty() {
        return list(session);
    }
    let id = session.job_id(session.word(0))?;
    let job = session.api.get(&["job", &id], &[]).map_err(failed("Error querying job"))?;
    if session.has("json") {
        return session.say_json(&job);
    }
    session.say(&head(&job));
    if session.has("short") {
        return Ok(0);
    }
    let is_template = flag_of(&job, "/ParameterizedJob") && !flag(&job, "/Dispatched");
    let summary = session.api.get(&["job", &id, "summary"], &[]);
    let summary = summary.map_err(failed("Error querying job summary"))?;
    if is_template {
        session.say(&format!("\nParameterized Job Summary\n{}", children(&summary)));
        return Ok(0);
    }
    session.say(&format!("\nSummary\n{}", groups(&summary)));
    let newest = session.api.get(&["job", &id, "deployment"], &[]);
    let newest = newest.map_err(failed("Error querying deployment"))?;
    if number(&newest, "/CreateIndex") > 0 {
        let all = deployment::described(&newest, session.has("verbose"));
        session.say(&format!("\nLatest Deployment\n{all}"));
    }
    session.say("\nAllocations");
    allocations(session, &id)
}

fn flag_of(own: &Value, path: &str) -> bool {
    own.pointer(path).is_some_and(Value::is_object)
}

fn list(session: &Session) -> Done {
    let jobs = session.api.get(&["jobs"], &[]).map_err(failed("Error querying jobs"))?;
    if session.has("json") {
        return session.say_json(&jobs);
    }
    if items(&jobs, "").next().is_none() {
        session.say("No running jobs");
        return Ok(0);
    }
    let row = |job: &Value| {
        let is_parameterized = flag(job, "/ParameterizedJob") || flag_of(job, "/ParameterizedJob");
        let suffix = if is_parameterized { "/parameterized" } else { "" };
        let status = text(job, "/Status");
        let status =
            if flag(job, "/Stop") { format!("{status} (stopped)") } else { status.to_owned() };
        vec![
            text(job, "/ID").to_owned(),
            format!("{}{suffix}", text(job, "/Type")),
            number(job, "/Priority").to_string(),
            status,
            time(number(job, "/SubmitTime")),
        ]
    };
    session.say(&titled(
        &["ID", "Type", "Priority", "Status", "Submit Date"],
        items(&jobs, "").map(row),
    ));
    Ok(0)
}

fn head(job: &Value) -> String {
    let status = text(job, "/Status");
    let status = if flag(job, "/Stop") { format!("{status} (stopped)") } else { status.to_owned() };
    let datacenters: Vec<&str> = items(job, "/Datacenters").filter_map(Value::as_str).collect();
    pairs(&[
        ("ID", text(job, "/ID").to_owned()),
        ("Name", text(job, "/Name").to_owned()),
        ("Submit Date", time(number(job, "/SubmitTime"))),
        ("Type", text(job, "/Type").to_owned()),
        ("Priority", number(job, "/Priority").to_string()),
        ("Datacenters", datacenters.join(",")),
        ("Namespace", text(job, "/Namespace").to_owned()),
        ("Node Pool", text(job, "/NodePool").to_owned()),
        ("Status", status),
        ("Periodic", flag_of(job, "/Periodic").to_string()),
        ("Parameterized", flag_of(job, "/ParameterizedJob").to_string()),
    ])
}

const COUNTS: [&str; 7] =
    ["Queued", "Starting", "Running", "Failed", "Complete", "Lost", "Unknown"];

fn groups(summary: &Value) -> String {
    let head: Vec<&str> = std::iter::once("Task Group").chain(COUNTS).collect();
    let row = |(name, own): (&String, &Value)| {
        let counts = COUNTS.iter().map(|key| number(own, &format!("/{key}")).to_string());
        std::iter::once(name.clone()).chain(counts).collect()
    };
    titled(&head, entries(summary, "/Summary").map(row))
}

fn children(summary: &Value) -> String {
    let count = |key: &str| number(summary, &format!("/Children/{key}")).to_string();
    titled(
        &["Pending", "Running", "Dead"],
        [vec![count("Pending"), count("Running"), count("Dead")]],
    )
}

fn allocations(session: &Session, id: &str) -> Done {
    let query: &[(&str, &str)] =
        if session.has("all") || session.has("all-allocs") { &[("all", "true")] } else { &[] };
    let all = session.api.get(&["job", id, "allocations"], query);
    let all = all.map_err(failed("Error retrieving allocations"))?;
    if session.has("json") {
        return session.say_json(&all);
    }
    session.say(&alloc::listed(&all, session.has("verbose")));
    Ok(0)
}

pub(super) fn allocs(session: &Session) -> Done {
    let id = session.job_id(session.word(0))?;
    allocations(session, &id)
}

fn version_of(session: &Session, id: &str) -> Result<Value, String> {
    let Some(version) = session.parsed.one("version") else {
        return session.api.get(&["job", id], &[]).map_err(failed("Error inspecting job"));
    };
    let all = versions(session, id, false)?;
    let found = items(&all, "/Versions").find(|own| number(own, "/Version").to_string() == version);
    found.cloned().ok_or_else(|| format!("Job version {version:?} not found"))
}

pub(super) fn inspect(session: &Session) -> Done {
    let id = session.job_id(session.word(0))?;
    let job = version_of(session, &id)?;
    session.say_json(&json!({"Job": job}))
}

fn versions(session: &Session, id: &str, has_diffs: bool) -> Result<Value, String> {
    let diffs = if has_diffs { "true" } else { "false" };
    let all = session.api.get(&["job", id, "versions"], &[("diffs", diffs)]);
    all.map_err(failed("Error retrieving job versions"))
}

pub(super) fn history(session: &Session) -> Done {
    let id = session.job_id(session.word(0))?;
    let all = versions(session, &id, session.has("p"))?;
    let wanted = session.parsed.one("version");
    let is_wanted =
        |own: &&Value| wanted.is_none_or(|version| number(own, "/Version").to_string() == version);
    let found: Vec<&Value> = items(&all, "/Versions").filter(is_wanted).collect();
    if found.is_empty() {
        return Err(format!("Job version {:?} not found", wanted.unwrap_or_default()));
    }
    if session.has("json") {
        return session.say_json(&json!(found));
    }
    let shown = |own: &&Value| {
        let head = pairs(&[
            ("Version", number(own, "/Version").to_string()),
            ("Stable", flag(own, "/Stable").to_string()),
            ("Submit Date", time(number(own, "/SubmitTime"))),
        ]);
        // The difference to the version before, which the list has below it.
        let at = items(&all, "/Versions").position(|one| std::ptr::eq(one, *own));
        let change = at.and_then(|at| items(&all, "/Diffs").nth(at));
        match change.filter(|_| session.has("p")) {
            Some(change) => {
                format!("{head}\nDiff        =\n{}", diff::job(change, &Value::Null, false))
            }
            None => head,
        }
    };
    session.say(&found.iter().map(shown).collect::<Vec<_>>().join("\n\n"));
    Ok(0)
}

pub(super) fn deployments(session: &Session) -> Done {
    let id = session.job_id(session.word(0))?;
    if session.has("latest") {
        let newest = session.api.get(&["job", &id, "deployment"], &[]);
        let newest = newest.map_err(failed("Error retrieving deployments"))?;
        if session.has("json") {
            return session.say_json(&newest);
        }
        if number(&newest, "/CreateIndex") == 0 {
            session.say("No deployment found");
            return Ok(0);
        }
        session.say(&deployment::described(&newest, session.has("verbose")));
        return Ok(0);
    }
    let all = session.api.get(&["job", &id, "deployments"], &[]);
    let all = all.map_err(failed("Error retrieving deployments"))?;
    if session.has("json") {
        return session.say_json(&all);
    }
    session.say(&deployment::listed(&all, session.has("verbose")));
    Ok(0)
}
