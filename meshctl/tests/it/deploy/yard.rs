//! A Consul, a Nomad (a real one or the stand-in, [`lab::nomad`] says which) and job files in a folder of their own.
//!
//! `meshctl` is the built program, because it is killed, asked at the same time as another one, and its exit codes are
//! what is promised.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use consul::{Consistency, ConsulClient, ConsulConfig};
use lab::consul::{Consul, ConsulOptions};
use lab::nomad::{Nomad, NomadOptions};
use lab::wait;
use serde_json::Value;
use tokio::process::{Child, Command};

/// How long a command may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The exit code, and that the text is somewhere in what was said.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, texts: &[&str]) -> &Self {
        let all = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, code, "{all}");
        for text in texts {
            assert!(all.contains(text), "no {text:?} in:\n{all}");
        }
        self
    }

    /// The events of `-o json`.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Everything that a test needs.
pub(crate) struct Yard {
    pub(crate) consul: Consul,
    pub(crate) nomad: Nomad,
    /// Where control planes' APIs are; a closed port unless a test has one.
    pub(crate) api: String,
    pub(crate) token: Option<String>,
    folder: tempfile::TempDir,
}

impl Yard {
    /// Starts them; `None`, after saying so, where one is missing.
    pub(crate) async fn open(test: &str, options: NomadOptions) -> Option<Self> {
        consul::testing::install_crypto_provider();
        let binary = lab::parts::real_part_or_skip(test, "consul")?;
        if let Err(error) = lab::nomad::choose() {
            lab::parts::skip(test, "ours", &lab::chain(&error));
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let consul = ConsulOptions { durable: true, ..ConsulOptions::default() };
        let consul = Consul::start(&binary, folder.path(), &consul).await.unwrap();
        let options = NomadOptions { consul: Some((consul.address(), None)), ..options };
        let nomad = Nomad::start(folder.path(), &options).await.unwrap();
        let api = "http://127.0.0.1:9".to_owned();
        Some(Self { consul, nomad, api, token: None, folder })
    }

    /// Starts them with what most tests want.
    pub(crate) async fn plain(test: &str) -> Option<Self> {
        Self::open(test, NomadOptions::default()).await
    }

    /// A file.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A file with the usual job: see [`job`].
    pub(crate) fn job(&self, name: &str, run: &str, canary: u64) -> String {
        self.write(name, &job(run, canary, 2)).display().to_string()
    }

    /// The same, healthy so many seconds after it runs only: it has a middle.
    pub(crate) fn slow(&self, name: &str, word: &str, canary: u64, seconds: u64) -> String {
        let text = job(&well(word), canary, 2);
        let slow = text.replace(" = \"1s\"", &format!(" = \"{seconds}s\""));
        assert_ne!(text, slow);
        self.write(name, &slow).display().to_string()
    }

    /// `meshctl` with these words, asking this yard.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshctl"));
        command.args(words).args(["--nomad", &self.nomad.url(), "--consul", &self.consul.url()]);
        command.args(["--api", &self.api]).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(token) = &self.token {
            command.env("NOMAD_TOKEN", token);
        }
        command
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, words: &[&str]) -> Said {
        let output = tokio::time::timeout(DEADLINE, self.command(words).output());
        let output = output.await.unwrap().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Deploys a file without a question and without lint, whose rules the tests' jobs are too small for.
    pub(crate) async fn deploy(&self, file: &str, more: &[&str]) -> Said {
        self.run(&[&["deploy", file, "--yes", "--no-lint"], more].concat()).await
    }

    /// Starts a deploy and leaves it to itself.
    pub(crate) fn begin(&self, file: &str, more: &[&str]) -> Child {
        let words = [&["deploy", file, "--yes", "--no-lint"], more].concat();
        self.command(&words).spawn().unwrap()
    }

    /// The record of a job's deploy.
    pub(crate) async fn record(&self) -> Option<Value> {
        let client: ConsulClient = ConsulClient::new(ConsulConfig::new(self.consul.url())).unwrap();
        let found = client.get_key("mesh/deploys/orders", Consistency::Consistent).await.unwrap();
        found.map(|own| serde_json::from_slice(&own.value).unwrap())
    }

    /// Leaves the record of a deploy of `a.hcl` whose owner was killed in this state.
    pub(crate) async fn leave_record(&self, state: &str, fields: &str, before: Option<u64>) {
        let mut record = serde_json::json!({
            "job": "orders", "command": "deploy", "started": 0, "what": "a.hcl", "fingerprint": "f", "before": before,
            "owner": {"name": "alice@build-3", "pid": 1, "boot": "another", "meshctl": "0.1.0"},
            "gates": {"convergence": true, "allow_unconnected": false, "sli": null, "manual": false, "tolerated": 0},
            "state": state,
        });
        let fields: Value = serde_json::from_str(fields).unwrap();
        record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let client = ConsulClient::new(ConsulConfig::new(self.consul.url())).unwrap();
        assert!(client.put_key("mesh/deploys/orders", record.to_string(), None).await.unwrap());
    }

    /// Waits until there is a record.
    pub(crate) async fn until_begun(&self) {
        wait::until("the deploy has begun", DEADLINE, async || {
            self.record().await.map(drop).ok_or("no record")
        })
        .await
        .unwrap();
    }

    /// Waits until the record is in a state.
    pub(crate) async fn until_state(&self, state: &str) {
        wait::until(&format!("the deploy is {state}"), DEADLINE, async || {
            let found = self.record().await.map_or(Value::Null, |own| own["state"].clone());
            if found == state { Ok(()) } else { Err(format!("{found}")) }
        })
        .await
        .unwrap();
    }

    /// The job as Nomad has it.
    pub(crate) async fn in_force(&self) -> Value {
        self.nomad.get("/v1/job/orders").await.unwrap()
    }

    /// Versions of the instances that run, sorted.
    pub(crate) async fn running(&self) -> Vec<u64> {
        let all = self.nomad.get("/v1/job/orders/allocations").await.unwrap();
        let all = all.as_array().cloned().unwrap_or_default();
        let runs = |own: &&Value| own["ClientStatus"] == "running" && own["DesiredStatus"] == "run";
        let mut versions: Vec<u64> =
            all.iter().filter(runs).map(|own| own["JobVersion"].as_u64().unwrap()).collect();
        versions.sort_unstable();
        versions
    }
}

/// A small job `orders`: `count` instances of a shell command, healthy a second after they run.
pub(crate) fn job(run: &str, canary: u64, count: u64) -> String {
    format!(
        r#"
job "orders" {{
  datacenters = ["dc1"]
  type        = "service"

  update {{
    canary            = {canary}
    max_parallel      = 1
    health_check      = "task_states"
    min_healthy_time  = "1s"
    healthy_deadline  = "15s"
    progress_deadline = "30s"
  }}

  group "web" {{
    count = {count}

    restart {{
      attempts = 0
      mode     = "fail"
    }}

    reschedule {{
      attempts  = 0
      unlimited = false
    }}

    task "app" {{
      driver       = "raw_exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "2s"

      config {{
        command = "/bin/sh"
        args    = ["-c", {run:?}]
      }}

      resources {{
        cpu    = 20
        memory = 20
      }}
    }}
  }}
}}
"#
    )
}

/// The job without a block: its opening line, with the spaces before it.
pub(crate) fn without(text: &str, opening: &str) -> String {
    let (before, rest) = text.split_once(opening).unwrap();
    let indent: String = opening.chars().take_while(|c| *c == ' ').collect();
    let (_, after) = rest.split_once(&format!("\n{indent}}}\n")).unwrap();
    format!("{before}{after}")
}

/// The same as a job of another kind, without what that kind does not have.
pub(crate) fn of_kind(text: &str, kind: &str) -> String {
    let text = without(text, "  update {").replace("\"service\"", &format!("{kind:?}"));
    if kind == "system" { without(&text, "    reschedule {") } else { text }
}

/// A command that runs until it is told to stop; different words make a different version.
pub(crate) fn well(word: &str) -> String {
    format!("echo {word}; exec sleep 1000")
}
