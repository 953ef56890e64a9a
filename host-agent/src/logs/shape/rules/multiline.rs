//! Which lines belong together: a small machine for each language, or the pattern of a first line.
//!
//! A record is in a state; a line that fits a step from that state continues the record and leads to the step's state, any
//! other line begins a record of its own. A record in a state without steps is complete at once.

use std::time::Duration;

use regex::bytes::Regex;
use service::config::Problems;

use super::RawMultiline;
use super::raw::RawLines;

/// Where a record is within its language's form. 0 is an ordinary line.
pub(in crate::logs::shape) type State = u8;

/// Which lines belong together, and the limits.
#[derive(Debug)]
pub(in crate::logs::shape) struct Multiline {
    form: Form,
    /// Longest time between two lines of a record.
    pub(in crate::logs::shape) timeout: Duration,
    /// Most lines of a record.
    pub(in crate::logs::shape) max_lines: u32,
}

#[derive(Debug)]
enum Form {
    FirstLine(Regex),
    Machine(Vec<Step>),
}

#[derive(Debug)]
struct Step {
    /// States from which it leads; `None`: it is how a record begins.
    from: Option<&'static [State]>,
    pattern: Regex,
    to: State,
}

/// `(from, pattern, to)`, tried in order.
type Source = (Option<&'static [State]>, &'static str, State);

/// Stack traces of the JVM: a trace belongs to the line that was logged before it. State 1: within a trace.
const JAVA: &[Source] = &[
    (Some(&[0, 1]), r"^\s+at\s\S", 1),
    (Some(&[0, 1]), r"^\s+\.\.\.\s\d+\s", 1),
    (Some(&[0, 1]), r"^\s*(?:Caused by|Suppressed):\s", 1),
    (Some(&[0, 1]), r"^\s*\[CIRCULAR REFERENCE", 1),
    (Some(&[0, 1]), r"^(?:[\w$]+\.)+[\w$]*(?:Exception|Error|Throwable)(?:$|:|\s)", 1),
    (Some(&[1]), r"^\s+\S", 1),
];

/// A Go program's last words, and what `net/http` says of a handler that panicked. State 1: within them.
const GO: &[Source] = &[
    (None, r"^(?:panic: |fatal error: |unexpected fault address |SIG[A-Z]+: |goroutine \d+ \[)", 1),
    (None, r"http: panic serving ", 1),
    (Some(&[1]), r"^\s*$|^\s", 1),
    (
        Some(&[1]),
        r"^(?:panic: |goroutine \d+ \[|\[signal |created by |exit status |\.\.\.additional frames)",
        1,
    ),
    (Some(&[1]), r"^[^\s:=]+\(.*\)$", 1),
    (Some(&[1]), r"^r[a-z0-9]+\s+0x[0-9a-f]+$", 1),
];

/// Python's tracebacks: they belong to the line that was logged before. State 1: among the frames; 2: after the error.
const PYTHON: &[Source] = &[
    (None, r"^\s*(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):", 1),
    (Some(&[0, 1, 2]), r"^\s*(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):", 1),
    (Some(&[1, 2]), r"^\s+\S", 1),
    (Some(&[1]), r"^[A-Za-z_][\w.]*(?::\s.*)?$", 2),
    (Some(&[2]), r"^\s*$", 2),
    (Some(&[2]), r"^(?:During handling of the above|The above exception was)", 2),
];

impl Multiline {
    pub(super) fn resolve(raw: &RawMultiline, key: &str, problems: &mut Problems) -> Option<Self> {
        let table = match raw {
            RawMultiline::Table(table) => table,
            RawMultiline::Preset(preset) => &RawLines::preset(preset),
        };
        let form = match (&table.preset, &table.first_line) {
            (Some(preset), None) => preset_form(preset),
            (None, Some(pattern)) => Regex::new(pattern)
                .map(Form::FirstLine)
                .map_err(|_| super::conditions::compile(pattern).err().unwrap_or_default()),
            _ => Err("say either `preset` or `first_line`".to_owned()),
        };
        if table.timeout_ms == 0 || table.max_lines < 2 {
            problems.add(key, "timeout_ms is at least 1, max_lines at least 2");
        }
        Some(Self {
            form: problems.take(key, form)?,
            timeout: Duration::from_millis(table.timeout_ms),
            max_lines: table.max_lines,
        })
    }

    /// The state of a record that begins with this line.
    pub(in crate::logs::shape) fn begin(&self, line: &[u8]) -> State {
        match &self.form {
            Form::FirstLine(_) => 0,
            Form::Machine(steps) => steps
                .iter()
                .find(|step| step.from.is_none() && step.pattern.is_match(line))
                .map_or(0, |step| step.to),
        }
    }

    /// Whether a record in this state may have another line.
    pub(in crate::logs::shape) fn may_go_on(&self, state: State) -> bool {
        match &self.form {
            Form::FirstLine(_) => true,
            Form::Machine(steps) => steps.iter().any(|step| step.is_from(state)),
        }
    }

    /// The state after a line that continues the record; `None`: it begins another.
    pub(in crate::logs::shape) fn go_on(&self, state: State, line: &[u8]) -> Option<State> {
        match &self.form {
            Form::FirstLine(first) => (!first.is_match(line)).then_some(0),
            Form::Machine(steps) => steps
                .iter()
                .find(|step| step.is_from(state) && step.pattern.is_match(line))
                .map(|step| step.to),
        }
    }
}

impl Step {
    fn is_from(&self, state: State) -> bool {
        self.from.is_some_and(|from| from.contains(&state))
    }
}

impl RawLines {
    fn preset(preset: &str) -> Self {
        Self {
            preset: Some(preset.to_owned()),
            first_line: None,
            timeout_ms: super::raw::line_timeout(),
            max_lines: super::raw::line_count(),
        }
    }
}

fn preset_form(preset: &str) -> Result<Form, String> {
    let sources = match preset {
        "java" => JAVA,
        "go" => GO,
        "python" => PYTHON,
        _ => return Err(format!("{preset:?} is none of java, go, python")),
    };
    let steps = sources.iter().map(|(from, pattern, to)| {
        let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
        Ok(Step { from: *from, pattern, to: *to })
    });
    Ok(Form::Machine(steps.collect::<Result<_, String>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins lines as the shaper does, without limits.
    fn records(preset: &str, text: &str) -> Vec<String> {
        let mut problems = Problems::default();
        let raw = RawMultiline::Preset(preset.to_owned());
        let form = Multiline::resolve(&raw, "multiline", &mut problems).unwrap();
        let mut records: Vec<(State, String)> = vec![];
        for line in text.lines() {
            let state = records.last().map(|(state, _)| *state);
            match state.and_then(|state| form.go_on(state, line.as_bytes())) {
                Some(state) => {
                    let last = records.last_mut().unwrap();
                    last.0 = state;
                    last.1.push('|');
                    last.1.push_str(line.trim());
                }
                None => records.push((form.begin(line.as_bytes()), line.to_owned())),
            }
        }
        records.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_java_trace_belongs_to_the_line_before_it() {
        let text = "ERROR failed\njava.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)\n\t... 3 more\nCaused by: java.io.IOException\n\tat d.E\nINFO next\nException in thread \"main\" x.Y\n\tat z";
        assert_eq!(
            records("java", text),
            [
                "ERROR failed|java.lang.IllegalStateException: no|at a.B.c(B.java:1)|... 3 more|Caused by: java.io.IOException|at d.E",
                "INFO next",
                "Exception in thread \"main\" x.Y|at z"
            ]
        );
    }

    #[test]
    fn a_go_panic_is_one_record() {
        let text = "started\npanic: boom\n\ngoroutine 1 [running]:\nmain.(*T).run(0xc000012345, {0x1, 0x2})\n\t/app/main.go:12 +0x1d\ncreated by main.main\n\t/app/main.go:7\nexit status 2\nstarted";
        let all = records("go", text);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(
            all[1].starts_with("panic: boom||goroutine 1") && all[1].ends_with("exit status 2")
        );
    }

    #[test]
    fn chained_python_tracebacks_are_one_record() {
        let text = "ERROR:root:failed\nTraceback (most recent call last):\n  File \"a.py\", line 1\n    f()\nKeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 3\nValueError: y\nINFO:root:next\nINFO:root:again";
        let all = records("python", text);
        assert_eq!(all.len(), 3, "{all:#?}");
        assert!(all[0].ends_with("ValueError: y"));
    }
}
