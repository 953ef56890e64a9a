//! `job plan`: what a run would change. Exit code 0: no allocation is made or ended; 1: some are; 255: an error.

use serde_json::{Value, json};

use super::diff;
use super::job_file;
use super::monitor::unplaced;
use super::session::{Done, Session, failed};
use super::show::{entries, number, text};
use super::submit::warn;

/// The exit code of an error.
const ERROR: u8 = 255;

/// The counts of an update that make or end an allocation; what changes in place is none.
const CHANGES: [&str; 5] = ["/Place", "/Stop", "/Migrate", "/DestructiveUpdate", "/Canary"];

pub(super) fn plan(session: &Session) -> Done {
    planned(session).or_else(|why| {
        session.complain(&why);
        Ok(ERROR)
    })
}

fn planned(session: &Session) -> Done {
    let job = job_file::read(session)?;
    let body = json!({
        "Job": job, "Diff": session.parsed.one("diff") != Some("false"),
        "PolicyOverride": session.has("policy-override"),
    });
    let answer = session.api.post(&["job", job_file::id(&job), "plan"], &[], &body);
    let answer = answer.map_err(failed("Error during plan"))?;
    if let Some(change) = answer.get("Diff").filter(|own| own.is_object()) {
        session.say(&diff::job(change, &answer, session.has("verbose")));
    }
    let failures: Vec<_> = entries(&answer, "/FailedTGAllocs").collect();
    session.say("Scheduler dry-run:");
    if failures.is_empty() {
        session.say("- All tasks successfully allocated.\n");
    } else {
        session.say("- WARNING: Failed to place all allocations.");
        for (group, metrics) in failures {
            session.say(&unplaced(group, metrics));
        }
        session.say("");
    }
    warn(session, &answer);
    let index = number(&answer, "/JobModifyIndex");
    let path = session.word(0);
    session.say(&format!(
        "Job Modify Index: {index}\nTo submit the job with version verification run:\n\n\
         nomad job run -check-index {index} {flags}{path}\n\n\
         When running the job with the check-index flag, the job will only be run if the\n\
         job modify index given matches the server-side version. If the index has\n\
         changed, another user has modified the job and the plan's results are\n\
         potentially invalid.",
        flags = given(session),
    ));
    let updates = entries(&answer, "/Annotations/DesiredTGUpdates");
    let is_change =
        updates.into_iter().any(|(_, own)| CHANGES.iter().any(|key| number(own, key) > 0));
    Ok(u8::from(is_change))
}

/// The call's variables, as they must be given again.
fn given(session: &Session) -> String {
    let flag = |name: &'static str| {
        session.parsed.all(name).iter().map(move |value| format!("-{name}={value:?} "))
    };
    flag("var").chain(flag("var-file")).collect()
}

/// How many allocations an update makes or ends, by kind.
pub(super) fn counts(update: &Value) -> Vec<String> {
    let words = [
        ("/Place", "create"),
        ("/Canary", "canary"),
        ("/DestructiveUpdate", "create/destroy update"),
        ("/InPlaceUpdate", "in-place update"),
        ("/Stop", "destroy"),
        ("/Migrate", "migrate"),
        ("/Ignore", "ignore"),
    ];
    let word = |(key, word): (&str, &str)| {
        let count = number(update, key);
        (count > 0).then(|| format!("{count} {word}"))
    };
    words.into_iter().filter_map(word).collect()
}

/// The name of what a difference is about.
pub(super) fn name(own: &Value) -> &str {
    text(own, "/Name")
}
