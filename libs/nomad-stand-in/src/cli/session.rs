//! One call of the command line: its flags, the agent, what is printed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::SystemTime;

use serde_json::Value;

use super::api::{Api, ApiError};
use super::args::Parsed;
use super::show::{items, text, time};

/// How a command ends: an exit code, or a message and 1.
pub(super) type Done = Result<u8, String>;

/// A call.
pub(super) struct Session {
    pub(super) parsed: Parsed,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) api: Api,
}

impl Session {
    /// Prints a line. Whoever stopped reading is not told.
    #[expect(clippy::unused_self, reason = "what is printed belongs to a call")]
    pub(super) fn say(&self, line: &str) {
        writeln!(std::io::stdout(), "{line}").ok();
    }

    /// Prints a line of complaint.
    #[expect(clippy::unused_self, reason = "what is printed belongs to a call")]
    pub(super) fn complain(&self, line: &str) {
        writeln!(std::io::stderr(), "{line}").ok();
    }

    /// Prints JSON.
    pub(super) fn say_json(&self, value: &Value) -> Done {
        self.say(&super::show::json(value));
        Ok(0)
    }

    /// Now, as it is printed.
    #[expect(clippy::disallowed_methods, reason = "the command line is where the clock is read")]
    pub(super) fn now() -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        time(i64::try_from(now.as_nanos()).unwrap_or(0))
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.parsed.has(flag)
    }

    /// An argument by its place.
    pub(super) fn word(&self, at: usize) -> &str {
        self.parsed.words.get(at).map_or("", String::as_str)
    }

    /// The id of the one job that begins with this, or has it whole.
    pub(super) fn job_id(&self, prefix: &str) -> Result<String, String> {
        let jobs = self.api.get(&["jobs"], &[("prefix", prefix)]);
        let jobs =
            jobs.map_err(|error| format!("Error querying job prefix {prefix:?}: {error}"))?;
        let ids: Vec<&str> = items(&jobs, "").map(|job| text(job, "/ID")).collect();
        match ids.as_slice() {
            [] => Err(format!("No job(s) with prefix or ID {prefix:?} found")),
            [one] => Ok((*one).to_owned()),
            all if all.contains(&prefix) => Ok(prefix.to_owned()),
            all => Err(format!("Prefix {prefix:?} matched multiple jobs\n\n{}", all.join("\n"))),
        }
    }

    /// The one thing of a kind whose id begins with this: `deployments`, `allocations`, `nodes`, `evaluations`.
    pub(super) fn by_prefix(&self, kind: &str, name: &str, prefix: &str) -> Result<Value, String> {
        if prefix.len() < 2 {
            return Err("Identifier must contain at least two characters.".to_owned());
        }
        let all = self.api.get(&[kind], &[("prefix", prefix)]);
        let all = all.map_err(|error| format!("Error retrieving {name}: {error}"))?;
        let matched: Vec<&Value> = items(&all, "").collect();
        match matched.as_slice() {
            [] => Err(format!("No {name}(s) with prefix or id {prefix:?} found")),
            [one] => self.whole(name, text(one, "/ID")),
            many => {
                let ids: Vec<&str> = many.iter().map(|own| text(own, "/ID")).collect();
                Err(format!("Prefix matched multiple {name}s\n\n{}", ids.join("\n")))
            }
        }
    }

    fn whole(&self, name: &str, id: &str) -> Result<Value, String> {
        self.api.get(&[name, id], &[]).map_err(|error| format!("Error retrieving {name}: {error}"))
    }
}

/// A failed request with what was attempted.
pub(super) fn failed(what: &'static str) -> impl Fn(ApiError) -> String {
    move |error| format!("{what}: {error}")
}

/// Adds a key to what is sent.
pub(super) fn put(body: &mut Value, key: &str, value: Value) {
    if let Value::Object(body) = body {
        body.insert(key.to_owned(), value);
    }
}
