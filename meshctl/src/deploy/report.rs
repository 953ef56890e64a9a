//! Progress: for programs a line of JSON per event, for people lines, and on a terminal a table that is redrawn.
//!
//! In: [`Event`]s, and what is observed between them. Out: text on the [`Console`]; JSON on `out`, everything else on `err`.
//!
//! **Invariants**: nothing is said twice in a row. That nobody reads ends no deploy: what cannot be written is dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::decide::Step;
use super::diff::Palette;
use super::event::Event;
use super::instance::Instance;
use super::live::{self, Frame};
use super::outcome::Outcome;
use super::record::{Record, State};
use super::view::View;
use crate::console::Console;
use crate::failure::Failure;

/// What is awaited is said anew at most so often.
const PACE: Duration = Duration::from_secs(2);

/// Where progress goes, and what was said last.
#[derive(Debug)]
pub struct Reporter<'a, 'c> {
    console: &'a mut Console<'c>,
    mode: Mode,
    begun: Instant,
    now: u64,
    instances: Option<BTreeMap<String, Instance>>,
    waiting: Option<(String, Instant)>,
    frame: Frame,
    /// Lines of the table that stand on the terminal.
    drawn: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Json,
    Lines,
    Live(u16),
}

impl<'a, 'c> Reporter<'a, 'c> {
    /// For programs with `is_json`; for people otherwise.
    pub fn new(console: &'a mut Console<'c>, is_json: bool) -> Self {
        let mode = match (is_json, console.err_width) {
            (true, _) => Mode::Json,
            (false, Some(width)) => Mode::Live(width),
            (false, None) => Mode::Lines,
        };
        let now = console.unix_seconds();
        Self {
            console,
            mode,
            begun: Instant::now(),
            now,
            instances: None,
            waiting: None,
            frame: Frame::default(),
            drawn: 0,
        }
    }

    /// Whether a program reads.
    pub fn is_json(&self) -> bool {
        self.mode == Mode::Json
    }

    /// The console, with nothing of the table on it.
    pub fn console(&mut self) -> &mut Console<'c> {
        self.erase();
        self.console
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        self.now + self.begun.elapsed().as_secs()
    }

    /// Something happened.
    pub fn note(&mut self, event: &Event) {
        if self.mode == Mode::Json {
            self.print_json(&event.json());
            return;
        }
        let text = event.text();
        if text.is_empty() {
            return;
        }
        let is_live = matches!(self.mode, Mode::Live(_));
        if is_live && matches!(event, Event::Waiting { .. } | Event::Instance(_)) {
            return;
        }
        let palette = self.palette();
        let (color, sign) = match event {
            Event::Entered(State::Reverting { .. }) | Event::Evidence(_) => (palette.red, "✗"),
            Event::Entered(State::AwaitingPromotion { .. })
            | Event::Outage(_)
            | Event::Remark(_)
            | Event::Compared { verdict: "undecided", .. } => (palette.yellow, "!"),
            Event::Compared { verdict: "breached", .. } => (palette.red, "✗"),
            Event::Waiting { .. } | Event::Instance(_) => (palette.dim, "·"),
            _ => (palette.green, "✓"),
        };
        self.erase();
        let (clock, plain, dim) = (self.clock(), palette.plain, palette.dim);
        // What cannot be written is dropped: see above.
        writeln!(self.console.err, "{dim}{clock}{plain} {color}{sign}{plain} {text}").ok();
        self.draw();
    }

    /// What is observed now, and what is decided.
    pub fn look(&mut self, record: &Record, view: &View, step: &Step) {
        let now: BTreeMap<String, Instance> =
            view.allocations.iter().map(|own| (own.id.clone(), Instance::from(own))).collect();
        let before = self.instances.replace(now.clone());
        if let Some(before) = before {
            let shown = |own: &Instance| (own.health, own.track);
            let is_news = |own: &&Instance| before.get(&own.id).map(shown) != Some(shown(own));
            for instance in now.values().filter(is_news) {
                self.note(&Event::Instance(instance.clone()));
            }
        }
        self.frame = Frame::of(record, view, step);
        if let Step::Wait { on, what } = step {
            let is_fresh = |(said, at): &(String, Instant)| said == what || at.elapsed() < PACE;
            if !self.waiting.as_ref().is_some_and(is_fresh) {
                self.waiting = Some((what.clone(), Instant::now()));
                self.note(&Event::Waiting { on: on.name(), what: what.clone() });
            }
        } else {
            self.waiting = None;
        }
        self.tick();
    }

    /// Time goes by.
    pub fn tick(&mut self) {
        if matches!(self.mode, Mode::Live(_)) {
            self.erase();
            self.draw();
        }
    }

    /// The end: as the last line of JSON, or for people when all is well.
    pub fn end(&mut self, job: &str, outcome: &Outcome) {
        self.erase();
        let sentence = outcome.sentence(job);
        if self.mode == Mode::Json {
            let mut result = super::event::named("result", outcome);
            if let Some(fields) = result.as_object_mut() {
                fields.insert("job".to_owned(), job.into());
                fields.insert("exit_code".to_owned(), outcome.exit_code().into());
                fields.insert("message".to_owned(), sentence.into());
            }
            self.print_json(&result);
        } else if outcome.exit_code() == 0 {
            // What cannot be written is dropped: see above.
            writeln!(self.console.out, "{sentence}").ok();
        }
    }

    /// The end where nothing was begun: for programs, a last line like any other.
    pub fn refuse(&mut self, job: &str, failure: &Failure) {
        self.erase();
        if self.mode == Mode::Json {
            let result = serde_json::json!({
                "event": "result",
                "outcome": "failed",
                "job": job,
                "exit_code": failure.exit_code(),
                "message": failure.to_string(),
            });
            self.print_json(&result);
        }
    }

    fn print_json(&mut self, value: &serde_json::Value) {
        // What cannot be written is dropped: see above.
        writeln!(self.console.out, "{value}").and_then(|()| self.console.out.flush()).ok();
    }

    fn palette(&self) -> Palette {
        Palette::new(matches!(self.mode, Mode::Live(_)))
    }

    /// Minutes and seconds since the beginning.
    fn clock(&self) -> String {
        let seconds = self.begun.elapsed().as_secs();
        format!("{:02}:{:02}", seconds / 60, seconds % 60)
    }

    fn draw(&mut self) {
        let Mode::Live(width) = self.mode else { return };
        let turn = usize::try_from(self.begun.elapsed().as_millis() / 250).unwrap_or_default();
        let (now, clock) = (self.now(), self.clock());
        let lines = live::block(&self.frame, &clock, now, turn, width);
        for line in &lines {
            // What cannot be written is dropped: see above.
            writeln!(self.console.err, "{line}").ok();
        }
        self.console.err.flush().ok();
        self.drawn = lines.len();
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            // Up, and everything from there on; what cannot be written is dropped: see above.
            write!(self.console.err, "\x1b[{}A\x1b[J", self.drawn).ok();
            self.drawn = 0;
        }
    }
}
