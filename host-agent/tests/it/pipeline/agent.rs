//! The agent under test, what writes for it, and what it is asked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::forward_receiver::{Behaviour, ForwardReceiver};
use lab::http::Client;
use lab::journald::{Journald, Settings};
use lab::process::{Process, Program};
use lab::{LabError, parts, ports, wait};

/// Long enough for two busy cores.
pub(super) const DEADLINE: Duration = Duration::from_secs(90);
/// What the writers of these tests call themselves, so that nothing else is read.
pub(super) const WRITER: &str = "load";
/// Batches and windows of these tests: small, so that many are on their way.
pub(super) const BATCH_RECORDS: u64 = 100;
pub(super) const WINDOW_MESSAGES: u64 = 8;
/// What may be sent again after one kill.
pub(super) const WINDOW: u64 = BATCH_RECORDS * WINDOW_MESSAGES;

/// A journald, or `None` after a SKIP.
pub(super) async fn journald(test: &str, folder: &Path, lines: &[&str]) -> Option<Journald> {
    if let Err(why) = Journald::is_possible() {
        parts::skip(test, "journald", &why);
        return None;
    }
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    let settings = Settings { lines, ..Settings::default() };
    Some(Journald::start(&folder.join("journald"), settings).await.unwrap())
}

/// A receiver that counts ids.
pub(super) async fn receiver() -> ForwardReceiver {
    ForwardReceiver::start(Behaviour::default()).await.unwrap()
}

/// `[logs.destinations.NAME…]` to an address.
pub(super) fn forward(name: &str, address: SocketAddr) -> String {
    format!(
        "[logs.destinations.{name}.forward]\nwindow_messages = {WINDOW_MESSAGES}\nack_timeout_s = 5\nbackoff_max_s = 1\n\
         [[logs.destinations.{name}.forward.servers]]\naddress = \"{address}\"\n"
    )
}

/// A running agent.
#[derive(Debug)]
pub(super) struct Agent {
    folder: PathBuf,
    journals: PathBuf,
    /// The process in whose mount namespace it runs: there journald's configuration and folders are at their usual places.
    inside: Option<i32>,
    admin: SocketAddr,
    process: Option<Process>,
    starts: u32,
}

impl Agent {
    /// Starts one that reads `journals`; `rest` are the tables of its configuration that the test is about.
    pub(super) async fn start(folder: &Path, journals: &Path, rest: &str) -> Self {
        Self::begin(folder, journals, None, rest).await
    }

    /// The same in the mount namespace of a journald: the agent sees by what rules it deletes.
    pub(super) async fn start_beside(folder: &Path, journald: &Journald, rest: &str) -> Self {
        Self::begin(folder, &journald.journals(), Some(journald.id()), rest).await
    }

    async fn begin(folder: &Path, journals: &Path, inside: Option<i32>, rest: &str) -> Self {
        let admin = SocketAddr::from(([127, 0, 0, 1], ports::reserve().unwrap()));
        let mut agent = Self {
            folder: folder.to_owned(),
            journals: journals.to_owned(),
            inside,
            admin,
            process: None,
            starts: 0,
        };
        agent.configure(rest);
        agent.launch();
        agent.until_ready().await;
        agent
    }

    /// Writes the configuration file.
    pub(super) fn configure(&self, rest: &str) {
        let state = self.folder.join("state");
        let directory = match self.inside {
            Some(_) => String::new(),
            None => format!("directory = {:?}\n", self.journals),
        };
        let text = format!(
            "log.format = \"text\"\ninstances.consul = false\nadmin.listen = \"{}\"\n\
             [logs]\nstate_dir = {state:?}\n\
             [logs.batch]\nmax_records = {BATCH_RECORDS}\nlinger_ms = 5\n\
             [logs.journal]\n{directory}begin = \"hours\"\nbegin_hours = 100000\n\
             matches = [[\"SYSLOG_IDENTIFIER={WRITER}\"]]\n{rest}",
            self.admin
        );
        std::fs::write(self.config(), text).unwrap();
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("host-agent.toml")
    }

    /// Starts the process, without waiting.
    pub(super) fn launch(&mut self) {
        let program = Path::new(env!("CARGO_BIN_EXE_host-agent"));
        self.starts += 1;
        let name = format!("host-agent-{}", self.starts);
        let config = self.config().display().to_string();
        let program = match self.inside {
            None => Program::new(name, program),
            Some(id) => Program::new(name, Path::new("/usr/bin/nsenter")).args([
                "-m".to_owned(),
                format!("--target={id}"),
                program.display().to_string(),
            ]),
        };
        let program = program.args(["run", "--config", &config]);
        self.process = Some(Process::start(&program, &self.folder).unwrap());
    }

    pub(super) async fn until_ready(&mut self) {
        let admin = self.admin;
        let ready = async || match Client::new().get(admin, "agent", "/readyz").await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(lab::chain(&error)),
        };
        let process = self.process.as_mut().unwrap();
        process.until("the agent is ready", DEADLINE, ready).await.unwrap();
    }

    /// Kills it at once.
    pub(super) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    /// Asks it to stop and waits; its exit was clean.
    pub(super) async fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let status = process.stop(DEADLINE).await.unwrap();
        assert!(status.success(), "{status}: {}", process.tail());
    }

    /// Reads its configuration again; `line` is what it says then.
    pub(super) async fn reload(&mut self, line: &str) {
        let before = self.said(line);
        let process = self.process.as_mut().unwrap();
        process.signal(nix::sys::signal::Signal::SIGHUP).unwrap();
        wait::until("the configuration was read again", DEADLINE, async || {
            let now = self.said(line);
            if now > before { Ok(()) } else { Err(format!("{now} times {line:?}")) }
        })
        .await
        .unwrap();
    }

    /// How often it has said this.
    pub(super) fn said(&self, line: &str) -> usize {
        let log = self.process.as_ref().unwrap().log();
        std::fs::read_to_string(log).unwrap_or_default().matches(line).count()
    }

    /// The sum of a metric's series whose labels hold all of `labels`.
    pub(super) async fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let answer = Client::new().get(self.admin, "agent", "/metrics").await.unwrap().text();
        let lines = answer.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }
}

/// Writes numbered lines into a journald, evenly, until it is ended. A journald that is away is tried again.
#[derive(Debug)]
pub(super) struct Load {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Load {
    pub(super) fn start(journald: &Arc<Journald>, per_second: u64) -> Self {
        let (is_over, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (end, count, journald) =
            (Arc::clone(&is_over), Arc::clone(&sent), Arc::clone(journald));
        let thread = std::thread::spawn(move || {
            let begin = Instant::now();
            while !end.load(Ordering::Relaxed) {
                let number = count.load(Ordering::Relaxed);
                let due = Duration::from_micros(number * 1_000_000 / per_second);
                std::thread::park_timeout(due.saturating_sub(begin.elapsed()));
                if line(&journald, number).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { is_over, sent, thread }
    }

    /// Lines so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it; how many lines the journal holds.
    pub(super) fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.sent.load(Ordering::Relaxed)
    }
}

/// One numbered line as Docker would write it.
pub(super) fn line(journald: &Journald, number: u64) -> Result<(), LabError> {
    let message = format!("line {number} of an application that has something to say");
    let container = format!("orders-{}", number % 3);
    journald.send(&[
        ("MESSAGE", message.as_bytes()),
        ("SYSLOG_IDENTIFIER", WRITER.as_bytes()),
        ("CONTAINER_NAME", container.as_bytes()),
        ("CONTAINER_ID_FULL", container.as_bytes()),
        ("PRIORITY", b"6"),
    ])
}

/// Writes lines `from..to`.
pub(super) fn lines(journald: &Journald, numbers: std::ops::Range<u64>) {
    numbers.for_each(|number| line(journald, number).unwrap());
}

/// Waits until the receiver has so many different records, and says how many came again.
pub(super) async fn until_all(receiver: &ForwardReceiver, records: u64) -> u64 {
    let all = wait::until("every record has arrived", DEADLINE, async || {
        let received = receiver.received();
        let distinct = received.ids.len() as u64;
        if distinct >= records { Ok(received) } else { Err(format!("{distinct} of {records}")) }
    });
    let received = all.await.unwrap();
    assert_eq!(received.ids.len() as u64, records, "more records than were written");
    received.repeats()
}
