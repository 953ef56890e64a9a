//! The JSON mapping, case by case, against Google's protobuf runtime for Python.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use api_gateway::transcode::{JsonOptions, from_json, to_json};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use prost_reflect::DynamicMessage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;

mod cases;
mod deviations;
mod messages;

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Json(String),
    Message(String),
}

#[derive(Serialize)]
struct Question {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    asked: Asked,
}

#[derive(Serialize)]
struct Questions {
    descriptors: String,
    questions: Vec<Question>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Read { message: String, json: String, with_defaults: String },
    Refused { error: String },
}

/// What Google's runtime says; `None`: this machine has none.
fn judge(test: &str, asked: Vec<Asked>) -> Option<Vec<Answer>> {
    let python = lab::parts::real_part_or_skip(test, "protobuf")?;
    let questions = asked.into_iter().map(|asked| Question { kind: "echo.v1.Kinds", asked });
    let questions = Questions {
        descriptors: BASE64_STANDARD.encode(schema::encoded()),
        questions: questions.collect(),
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcode/canonical.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = serde_json::to_vec(&questions).unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "canonical.py failed");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn ours(json: &str) -> Result<DynamicMessage, String> {
    from_json(&schema::kinds(), json.as_bytes(), 100).map_err(|error| error.to_string())
}

fn written(message: &DynamicMessage, options: &JsonOptions) -> Result<String, String> {
    let json = to_json(message, options).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(json.to_vec()).unwrap())
}

fn decoded(base64: &str) -> DynamicMessage {
    let bytes = BASE64_STANDARD.decode(base64).unwrap();
    DynamicMessage::decode(schema::kinds(), bytes.as_slice()).unwrap()
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// How we differ from Google's runtime in what a text means; `None`: we do not.
fn difference(json: &str, theirs: &Answer) -> Option<String> {
    let plain = JsonOptions::default();
    let read = ours(json);
    match (read, theirs) {
        (Err(_), Answer::Refused { .. }) => None,
        (Err(error), Answer::Read { json, .. }) => {
            Some(format!("we refuse ({error}), they read {}", value(json)))
        }
        (Ok(message), Answer::Refused { error }) => {
            let message = written(&message, &plain);
            Some(format!("we read {message:?}, they refuse ({error})"))
        }
        (Ok(message), Answer::Read { message: theirs, .. }) => {
            let (ours, theirs) = (written(&message, &plain), written(&decoded(theirs), &plain));
            (ours != theirs).then(|| format!("we read {ours:?}, they {theirs:?}"))
        }
    }
}

#[test]
fn json_means_what_google_s_runtime_says() {
    let texts = cases::texts();
    let asked = texts.iter().cloned().map(Asked::Json).collect();
    let Some(answers) = judge("json_means_what_google_s_runtime_says", asked) else { return };
    let known: BTreeSet<String> = deviations::read().into_iter().map(|(text, _)| text).collect();
    let mut wrong = Vec::new();
    for (text, answer) in texts.iter().zip(&answers) {
        match difference(text, answer) {
            Some(difference) if !known.contains(text) => {
                wrong.push(format!("{text}: {difference}"))
            }
            None if known.contains(text) => wrong.push(format!("{text}: listed, but read alike")),
            _ => {}
        }
    }
    println!("{} texts; {} are read differently, as listed", texts.len(), known.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages_are_written_as_google_s_runtime_writes_them() {
    let test = "messages_are_written_as_google_s_runtime_writes_them";
    // Whatever can be read, and what no JSON makes.
    let read =
        cases::texts().into_iter().filter_map(|text| Some((text.clone(), ours(&text).ok()?)));
    let messages: Vec<(String, DynamicMessage)> = read.chain(messages::messages()).collect();
    let asked = messages
        .iter()
        .map(|(_, message)| Asked::Message(BASE64_STANDARD.encode(message.encode_to_vec())));
    let Some(answers) = judge(test, asked.collect()) else { return };
    let known: BTreeMap<&str, &str> = deviations::WRITTEN.iter().copied().collect();
    let defaults = JsonOptions { emit_defaults: true, ..JsonOptions::default() };
    let mut wrong = Vec::new();
    for ((name, message), answer) in messages.iter().zip(&answers) {
        let ours = [&JsonOptions::default(), &defaults].map(|options| written(message, options));
        let is_alike = match (&ours, answer) {
            ([Ok(plain), Ok(full)], Answer::Read { json, with_defaults, .. }) => {
                value(plain) == value(json) && value(full) == value(with_defaults)
            }
            ([Err(_), Err(_)], Answer::Refused { .. }) => true,
            _ => false,
        };
        if is_alike == known.contains_key(name.as_str()) {
            wrong.push(format!("{name}: alike: {is_alike}: we {ours:?}, they {answer:?}"));
        }
    }
    println!("{} messages; {} are written differently, as listed", messages.len(), known.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
