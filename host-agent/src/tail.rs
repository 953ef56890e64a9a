//! `host-agent tail`: what is logged from now on, as it will be sent.
//!
//! In: the configuration (sources, rules, routes) and what to show of it. Out: lines on standard output, for people or as
//! JSON. Reads by itself and saves nothing, so it needs no running agent and disturbs none.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use service::ErrorChain;
use tokio::sync::watch;

use crate::instances::Instances;
use crate::logs::config::LogsConfig;
use crate::logs::entry::Entry;
use crate::logs::pipeline::{HostSource, Source};
use crate::logs::position::Positions;
use crate::logs::read::Step;
use crate::logs::record::{Level, Origin, Record, Rfc3339, Value};
use crate::logs::route::DestinationId;
use crate::logs::shape::{Now, Shaped, Shaper};

/// Longest wait before instances are looked at again.
const LOOK: Duration = Duration::from_millis(500);
/// Pause after a source could not be read.
const PAUSE: Duration = Duration::from_secs(1);
/// Fields that the line shows in a place of their own, or whose value is in it already.
const SHOWN: [&str; 7] = ["message", "level", "system", "service", "host", "instance", "record_id"];

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// One object for each record: time, tag, the record.
    Json,
}

/// What is shown, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct TailOptions {
    /// Only this System.
    #[arg(long)]
    pub system: Option<String>,
    /// Only this service.
    #[arg(long)]
    pub service: Option<String>,
    /// Only this level or graver: trace, debug, info, warn, error, fatal.
    #[arg(long)]
    pub level: Option<Level>,
    /// Only what goes to this destination; otherwise what goes to any.
    #[arg(long)]
    pub destination: Option<String>,
    /// How lines look.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
}

/// Why it ends.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The destination is not configured.
    #[error("there is no destination {name}: the configuration has {known}")]
    Destination {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The sources.
    #[error("nothing can be read")]
    Source(#[source] crate::logs::read::ReadError),
    /// Standard output.
    #[error("cannot write")]
    Write(#[source] io::Error),
}

/// Shows records until standard output is closed.
///
/// # Errors
/// When sources cannot be opened, or lines cannot be written.
pub fn run(
    config: &LogsConfig,
    options: &TailOptions,
    mut instances: watch::Receiver<Arc<Instances>>,
    clock: fn() -> Now,
) -> Result<(), TailError> {
    let mut view = View::new(config, options)?;
    let opened =
        HostSource::open(&config.tail_sources(), &Positions::default(), clock().realtime_us);
    let (mut source, _) = opened.map_err(TailError::Source)?;
    let mut shaper = Shaper::new(config.rules());
    let mut entry = Entry::default();
    let mut known = Arc::clone(&instances.borrow_and_update());
    loop {
        let now = clock();
        let step = source.next(&mut entry, now.realtime_us);
        let mut show = |shaped: Shaped<'_>| view.take(&shaped);
        match step {
            Ok(Step::Entry { .. }) => shaper.push(&entry, now, &known, &mut show),
            Ok(Step::Skipped | Step::Lost(_) | Step::Ended(_)) => {}
            Ok(Step::End) => {
                if instances.has_changed().unwrap_or(false) {
                    known = Arc::clone(&instances.borrow_and_update());
                }
                shaper.expire(now, &known, &mut show);
                let due = shaper.next_deadline();
                let span = due.map(|at| at.saturating_duration_since(now.monotonic));
                source.wait(span.unwrap_or(LOOK).min(LOOK)).map_err(TailError::Source)?;
            }
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "A source cannot be read; it is tried again");
                std::thread::park_timeout(PAUSE);
            }
        }
        if let ControlFlow::Break(ended) = view.outcome() {
            return ended;
        }
    }
}

/// What is shown, and where.
struct View<'a> {
    config: &'a LogsConfig,
    options: &'a TailOptions,
    destinations: Vec<DestinationId>,
    is_coloured: bool,
    tag: String,
    failed: Option<io::Error>,
}

impl<'a> View<'a> {
    fn new(config: &'a LogsConfig, options: &'a TailOptions) -> Result<Self, TailError> {
        let known = config.destinations.keys().zip(0..).map(|(name, id)| (name, DestinationId(id)));
        let wanted = options.destination.as_ref();
        let destinations: Vec<DestinationId> = known
            .filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name))
            .map(|(_, id)| id)
            .collect();
        if let (Some(name), true) = (wanted, destinations.is_empty()) {
            let known: Vec<&str> = config.destinations.keys().map(String::as_str).collect();
            return Err(TailError::Destination { name: name.clone(), known: known.join(", ") });
        }
        let is_coloured = options.output == Form::Text && io::stdout().is_terminal();
        Ok(Self { config, options, destinations, is_coloured, tag: String::new(), failed: None })
    }

    fn take(&mut self, shaped: &Shaped<'_>) {
        let Shaped::Record(record) = shaped else { return };
        if !self.is_wanted(record) {
            return;
        }
        let line = match self.options.output {
            Form::Json => self.json(record),
            Form::Text => self.text(record),
        };
        let mut out = io::stdout().lock();
        let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        self.failed = self.failed.take().or(written.err());
    }

    fn is_wanted(&mut self, record: &Record) -> bool {
        let is = |origin, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| record.origin(origin) == Some(wanted))
        };
        let is_chosen = is(Origin::System, &self.options.system)
            && is(Origin::Service, &self.options.service)
            && self.options.level.is_none_or(|least| record.level.is_some_and(|own| own >= least));
        let Self { config, destinations, tag, .. } = self;
        // Without destinations there is nothing to route by: all is shown.
        is_chosen
            && (destinations.is_empty()
                || destinations.iter().any(|id| config.routes().decide(record, *id, tag)))
    }

    fn json(&self, record: &Record) -> String {
        let line = json!({"time": Rfc3339(record.time_ns).to_string(), "tag": self.tag, "record_id": record.id.to_string(), "record": record});
        format!("{line}\n")
    }

    fn text(&self, record: &Record) -> String {
        let (dim, plain) = if self.is_coloured { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let level = record.level.map_or("-", Level::as_str);
        let colour = match record.level {
            _ if !self.is_coloured => "",
            Some(Level::Error | Level::Fatal) => "\x1b[31m",
            Some(Level::Warn) => "\x1b[33m",
            Some(Level::Trace | Level::Debug) => "\x1b[2m",
            Some(Level::Info) | None => "\x1b[32m",
        };
        let system = record.origin(Origin::System);
        let service = record.origin(Origin::Service).or_else(|| record.writer()).unwrap_or("-");
        let who = system.map_or(service.to_owned(), |system| format!("{system}/{service}"));
        let message = match record.get("message") {
            Some(Value::Text(text)) => text.to_owned(),
            Some(other) => json!(other).to_string(),
            None => String::new(),
        };
        let rest = record.fields().filter(|(name, _)| !SHOWN.contains(name));
        let rest: String = rest
            .map(|(name, value)| match value {
                Value::Text(text) => format!(" {name}={text}"),
                value => format!(" {name}={}", json!(value)),
            })
            .collect();
        let time = Rfc3339(record.time_ns);
        format!("{dim}{time}{plain} {colour}{level:5}{plain} {who}: {message}{dim}{rest}{plain}\n")
    }

    fn outcome(&mut self) -> ControlFlow<Result<(), TailError>> {
        match self.failed.take() {
            None => ControlFlow::Continue(()),
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ControlFlow::Break(Ok(())),
            Some(error) => ControlFlow::Break(Err(TailError::Write(error))),
        }
    }
}
