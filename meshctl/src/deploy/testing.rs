//! What unit tests of commands share: flags as they are typed, a console that nobody listens at, a scripted Nomad's answers.

use std::io::{Empty, Sink};
use std::time::SystemTime;

use axum::http::Uri;
use clap::Parser;
use serde_json::{Value, json};

use super::flags::Reach;
use crate::console::Console;

/// Where a command reaches these two.
pub(crate) fn reach(nomad: &str, consul: &str) -> Reach {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        reach: Reach,
    }
    Flags::parse_from(["meshctl", "--nomad", nomad, "--consul", consul]).reach
}

/// Streams that take everything and have nothing to say.
#[derive(Debug, Default)]
pub(crate) struct Nobody {
    out: Sink,
    err: Sink,
    input: Empty,
}

impl Nobody {
    pub(crate) fn console(&mut self) -> Console<'_> {
        Console {
            out: &mut self.out,
            err: &mut self.err,
            input: &mut self.input,
            is_interactive: false,
            has_color: false,
            width: None,
            err_width: None,
            now: SystemTime::UNIX_EPOCH,
        }
    }
}

/// What a Nomad says in which version 5 of `orders` waits for its promotion, or has it.
pub(crate) fn waiting_nomad(asked: &Uri, promoted: bool) -> Value {
    let job = json!({"ID": "orders", "Type": "service", "Version": 5});
    match asked.path().rsplit('/').next().unwrap_or_default() {
        "orders" => job,
        "versions" => json!({"Versions": [job]}),
        "deployments" => {
            let group = json!({"DesiredCanaries": 1, "HealthyAllocs": 1, "Promoted": promoted});
            json!([{"ID": "d", "JobVersion": 5, "Status": "running", "TaskGroups": {"web": group}}])
        }
        _ => json!([]),
    }
}
