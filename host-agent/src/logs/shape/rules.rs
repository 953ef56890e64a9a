//! The rules of stage 2: what the configuration says (`raw`), and what the shaper works with.
//!
//! In: `[logs.shape]` and `[[logs.rules]]`. Out: [`Rules`], immutable, with every expression compiled, or all problems with
//! their keys. A rule's early part (multiline, json, level_word) is asked by origins before there is a record; its late part
//! changes, samples or drops the record.

mod apply;
mod choice;
mod conditions;
mod multiline;
mod raw;

pub(in crate::logs) use choice::Choice;
pub(in crate::logs::shape) use choice::Own;
pub(in crate::logs) use conditions::{Conditions, Scope};
pub(in crate::logs::shape) use multiline::{Multiline, State};
pub use raw::{Patterns, RawJson, RawLines, RawMultiline, RawRule, RawShape, RawWhen};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use service::config::Problems;

use crate::logs::entry::Fields;
use crate::logs::record::Record;
use apply::Late;

/// All rules, compiled; immutable.
#[derive(Debug)]
pub struct Rules {
    pub(super) limits: Limits,
    pub(super) choice: Choice,
    pub(super) set: Vec<(Box<str>, Box<str>)>,
    pub(super) count_ordinals: bool,
    /// How lines are read where no rule says otherwise.
    json: RawJson,
    text: TextRules,
    rules: Vec<Rule>,
    /// Whether any rule says which lines belong together.
    has_multiline: bool,
}

/// Bounds of what waits.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) partial_timeout: Duration,
    pub(super) message_bytes: usize,
    pub(super) open_bytes: usize,
    pub(super) consul_wait_us: u64,
}

#[derive(Debug)]
struct TextRules {
    level_word: bool,
    strip_colours: bool,
}

/// How a line is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handling<'r> {
    pub(super) json: &'r RawJson,
    pub(super) level_word: bool,
    pub(super) strip_colours: bool,
}

#[derive(Debug)]
struct Rule {
    name: Box<str>,
    when: Conditions,
    unless: Conditions,
    multiline: Option<Arc<Multiline>>,
    json: Option<RawJson>,
    level_word: Option<bool>,
    late: Option<Late>,
}

impl Default for Rules {
    fn default() -> Self {
        Self::resolve(&RawShape::default(), &[], &mut Problems::default())
    }
}

impl Rules {
    /// Reads `[logs.shape]` and `[[logs.rules]]`; every problem is noted with its key.
    pub fn resolve(shape: &RawShape, rules: &[RawRule], problems: &mut Problems) -> Self {
        let choice = Choice::resolve(shape, problems);
        let limits = Limits {
            partial_timeout: Duration::from_millis(shape.partial_timeout_ms),
            message_bytes: shape.max_message_bytes,
            open_bytes: shape.max_open_bytes,
            consul_wait_us: shape.consul_wait_ms.saturating_mul(1000),
        };
        if !(1024..=64 * 1024 * 1024).contains(&shape.max_message_bytes) {
            problems.add("logs.shape.max_message_bytes", "1,024 to 67,108,864 bytes");
        }
        if shape.max_open_bytes < shape.max_message_bytes {
            problems.add("logs.shape.max_open_bytes", "at least max_message_bytes");
        }
        if shape.partial_timeout_ms == 0 {
            problems.add("logs.shape.partial_timeout_ms", "at least 1");
        }
        check_under(&shape.json, &choice, "logs.shape.json", problems);
        let mut names = BTreeSet::new();
        let rules: Vec<Rule> = rules
            .iter()
            .enumerate()
            .map(|(index, raw)| {
                let key = format!("logs.rules.{index}");
                if raw.name.is_empty() || !names.insert(raw.name.as_str()) {
                    problems.add(format!("{key}.name"), "every rule has a name of its own");
                }
                Rule::resolve(raw, &key, &choice, problems)
            })
            .collect();
        Self {
            limits,
            choice,
            set: shape.set.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect(),
            count_ordinals: shape.count_ordinals,
            json: shape.json.clone(),
            text: TextRules { level_word: shape.level_word, strip_colours: shape.strip_colours },
            has_multiline: rules.iter().any(|rule| rule.multiline.is_some()),
            rules,
        }
    }

    /// Which lines of this writer belong together; `record` holds its origins.
    pub(super) fn multiline(&self, record: &Record, entry: &Fields) -> Option<&Arc<Multiline>> {
        if !self.has_multiline {
            return None;
        }
        let mut rules = self.rules.iter();
        rules.find_map(|rule| rule.multiline.as_ref().filter(|_| rule.is_for(record, Some(entry))))
    }

    /// How this writer's lines are read.
    pub(super) fn handling(&self, record: &Record, entry: &Fields) -> Handling<'_> {
        let (mut json, mut level_word) = (None, None);
        for rule in &self.rules {
            let is_new = (json.is_none() && rule.json.is_some())
                || (level_word.is_none() && rule.level_word.is_some());
            if is_new && rule.is_for(record, Some(entry)) {
                json = json.or(rule.json.as_ref());
                level_word = level_word.or(rule.level_word);
            }
        }
        Handling {
            json: json.unwrap_or(&self.json),
            level_word: level_word.unwrap_or(self.text.level_word),
            strip_colours: self.text.strip_colours,
        }
    }
}

impl Rule {
    fn resolve(raw: &RawRule, key: &str, choice: &Choice, problems: &mut Problems) -> Self {
        let is_early = raw.multiline.is_some() || raw.json.is_some() || raw.level_word.is_some();
        let scope = if is_early { Scope::Early } else { Scope::Record };
        let when = Conditions::resolve(&raw.when, &format!("{key}.when"), scope, problems);
        let unless = Conditions::resolve(&raw.unless, &format!("{key}.unless"), scope, problems);
        let multiline = raw.multiline.as_ref().and_then(|raw| {
            Multiline::resolve(raw, &format!("{key}.multiline"), problems).map(Arc::new)
        });
        if let Some(json) = &raw.json {
            check_under(json, choice, &format!("{key}.json"), problems);
        }
        let late = Late::resolve(raw, key, choice, problems);
        if late.is_none() && !is_early {
            problems.add(key, "the rule does nothing: say drop, keep_one_in, redact, set, remove, rename, multiline, json or level_word");
        }
        let json = raw.json.clone();
        let name = raw.name.as_str().into();
        Self { name, when, unless, multiline, json, level_word: raw.level_word, late }
    }

    fn is_for(&self, record: &Record, entry: Option<&Fields>) -> bool {
        self.when.hold(record, entry)
            && (self.unless.is_empty() || !self.unless.hold(record, entry))
    }
}

fn check_under(json: &RawJson, choice: &Choice, key: &str, problems: &mut Problems) {
    if let RawJson::Under(name) = json
        && !choice.is_free(name)
    {
        problems.add(
            key,
            format!("{name:?} may be another field's name: choose one with lower-case letters"),
        );
    }
}
