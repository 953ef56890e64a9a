//! Tags of records by template: `mesh.{system}.{service|task|unit}`.
//!
//! In braces stand names of origins or `level`, the first known of which counts. What is known of none is written `unknown`.
//! A value's characters other than `A-Z a-z 0-9 _ -` become `_`, dots too, so that a tag has as many parts as its
//! template; a value is cut after 100 characters.

use std::str::FromStr;

use crate::logs::record::{Origin, Record};

/// The template where a route says none.
const DEFAULT: &str = "mesh.{system}.{service|task|container|unit|identifier}";
/// What stands for a value that is not known.
const UNKNOWN: &str = "unknown";
/// Longest value, characters.
const LONGEST: usize = 100;

/// A template.
#[derive(Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Literal(Box<str>),
    FirstOf(Vec<Name>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Name {
    Origin(Origin),
    Level,
}

impl Default for Template {
    fn default() -> Self {
        DEFAULT.parse().unwrap_or(Self(vec![]))
    }
}

impl Template {
    /// Appends the record's tag.
    pub(super) fn write(&self, record: &Record, tag: &mut String) {
        for part in &self.0 {
            match part {
                Part::Literal(text) => tag.push_str(text),
                Part::FirstOf(names) => {
                    let known = names.iter().find_map(|name| match name {
                        Name::Origin(origin) => record.origin(*origin),
                        Name::Level => record.level.map(|level| level.as_str()),
                    });
                    let known = known.unwrap_or(UNKNOWN);
                    tag.extend(
                        known.chars().take(LONGEST).map(|c| if is_plain(c) { c } else { '_' }),
                    );
                }
            }
        }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = rest.split_once('{').map_or((rest, None), |(l, a)| (l, Some(a)));
            if !literal.chars().all(|c| is_plain(c) || c == '.') {
                return Err(format!("{literal:?}: a tag holds A-Z a-z 0-9 _ - and dots"));
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.into()));
            }
            let Some(after) = after else { break };
            let (names, after) =
                after.split_once('}').ok_or_else(|| format!("{text:?}: a brace is not closed"))?;
            let names: Result<Vec<Name>, String> = names.split('|').map(name).collect();
            parts.push(Part::FirstOf(names?));
            rest = after;
        }
        let is_dotted = text.is_empty() || text.split('.').any(str::is_empty);
        match is_dotted {
            true => Err(format!("{text:?}: a tag has no empty part")),
            false => Ok(Self(parts)),
        }
    }
}

fn name(name: &str) -> Result<Name, String> {
    if name == "level" {
        return Ok(Name::Level);
    }
    Origin::from_name(name).map(Name::Origin).ok_or_else(|| {
        let known = Origin::ALL.map(Origin::name).join(", ");
        format!("{{{name}}} is none of {known}, level")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::record::Level;

    fn tag(template: &str) -> Result<String, String> {
        let mut record = Record::default();
        record.set_origin(Origin::Image, "registry:5000/a/b:1.2");
        record.set_origin(Origin::Task, "tâche");
        record.level = Some(Level::Warn);
        let mut tag = String::new();
        template.parse::<Template>()?.write(&record, &mut tag);
        Ok(tag)
    }

    #[test]
    fn a_tag_has_the_parts_of_its_template() {
        for (template, expected) in [
            ("mesh.{system}.{service|image}", "mesh.unknown.registry_5000_a_b_1_2"),
            ("{task}-{level}", "t_che-warn"),
            ("a.b", "a.b"),
        ] {
            assert_eq!(tag(template).unwrap(), expected);
        }
        assert_eq!(tag(DEFAULT).unwrap(), "mesh.unknown.t_che");
    }

    #[test]
    fn a_bad_template_is_refused_with_what_is_wrong() {
        for (template, message) in [
            ("", "\"\": a tag has no empty part"),
            ("a..b", "\"a..b\": a tag has no empty part"),
            ("a b", "\"a b\": a tag holds A-Z a-z 0-9 _ - and dots"),
            ("a.{system", "\"a.{system\": a brace is not closed"),
        ] {
            assert_eq!(tag(template).unwrap_err(), message);
        }
        assert!(tag("a.{sistem}").unwrap_err().starts_with("{sistem} is none of system, service"));
    }
}
