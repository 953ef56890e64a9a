//! Path templates, such as `/v1/{name=shelves/*}/books:move`.
//!
//! In: the text of a `google.api.http` rule. Out: its segments, and which of them each variable captures.
//!
//! ```text
//! template = "/" segments [ ":" verb ]      segment  = "*" | "**" | literal | variable
//! segments = segment { "/" segment }        variable = "{" field { "." field } [ "=" segments ] "}"
//! ```
//!
//! **Invariants**: `**` is the last segment; a variable captures neighbouring segments.
//! **Absent**: what fields a variable's path names (`api.rs`), how paths are matched (`routes.rs`).

use std::fmt;
use std::str::FromStr;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    segments: Vec<Segment>,
    verb: Option<String>,
    variables: Vec<Variable>,
}

/// What stands between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text, as it stands: percent-encoded spellings of it are other paths.
    Literal(String),
    /// `*`: one segment that is not empty.
    Any,
    /// `**`: all segments that are left, or none.
    Rest,
}

/// A part of the path that becomes a field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Names of fields, from the request message down.
    pub field_path: Vec<String>,
    /// The first segment that it captures.
    pub first: usize,
    /// How many segments of the template it captures.
    pub count: usize,
    /// It may capture slashes: then what is percent-encoded and reserved stays encoded.
    pub multi: bool,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It does not begin with a slash.
    #[error("a template begins with `/`")]
    NoSlash,
    /// Two slashes, or one at the end.
    #[error("a segment is empty; remove the doubled or last `/`")]
    EmptySegment,
    /// Braces that do not match or stand inside each other.
    #[error(
        "the braces do not match; a variable is a whole segment, such as `{{name}}` or `{{name=shelves/*}}`"
    )]
    Braces,
    /// Not `a.b.c`.
    #[error("{0:?} is no path of fields, such as `order.id`")]
    FieldPath(String),
    /// A character that a literal cannot have.
    #[error("{0:?} is no literal; `*` and `**` stand alone between slashes")]
    Literal(String),
    /// `**` in the middle.
    #[error("`**` must be the last segment")]
    RestNotLast,
    /// `:` without a verb.
    #[error("nothing follows the `:`; remove it, or write the verb")]
    EmptyVerb,
    /// Two variables of one name.
    #[error("the field `{0}` is captured twice")]
    Twice(String),
}

impl PathTemplate {
    /// All segments, in order; a variable's are among them.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// What follows the last colon.
    pub fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    /// Its variables, in order.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The template without names: equal for two templates that match the same paths.
    pub fn shape(&self) -> String {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => text.as_str(),
            Segment::Any => "*",
            Segment::Rest => "**",
        });
        let verb = self.verb.iter().map(|verb| format!(":{verb}"));
        format!("/{}{}", segments.collect::<Vec<_>>().join("/"), verb.collect::<String>())
    }

    fn push_segment(&mut self, text: &str) -> Result<(), TemplateError> {
        if self.segments.last() == Some(&Segment::Rest) {
            return Err(TemplateError::RestNotLast);
        }
        self.segments.push(match text {
            "" => return Err(TemplateError::EmptySegment),
            "*" => Segment::Any,
            "**" => Segment::Rest,
            _ if text.contains(['{', '}']) => return Err(TemplateError::Braces),
            _ if is_literal(text) => Segment::Literal(text.to_owned()),
            _ => return Err(TemplateError::Literal(text.to_owned())),
        });
        Ok(())
    }

    fn push_variable(&mut self, text: &str) -> Result<(), TemplateError> {
        let (path, segments) = text.split_once('=').unwrap_or((text, "*"));
        let is_name = |name: &str| {
            !name.starts_with(|c: char| c.is_ascii_digit())
                && !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !path.split('.').all(is_name) {
            return Err(TemplateError::FieldPath(path.to_owned()));
        }
        let field_path: Vec<String> = path.split('.').map(str::to_owned).collect();
        if self.variables.iter().any(|other| other.field_path == field_path) {
            return Err(TemplateError::Twice(path.to_owned()));
        }
        let first = self.segments.len();
        segments.split('/').try_for_each(|segment| self.push_segment(segment))?;
        let count = self.segments.len() - first;
        let multi = count > 1 || self.segments.last() == Some(&Segment::Rest);
        self.variables.push(Variable { field_path, first, count, multi });
        Ok(())
    }
}

impl FromStr for PathTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let path = text.strip_prefix('/').ok_or(TemplateError::NoSlash)?;
        let (path, verb) = split_verb(path);
        if verb == Some("") {
            return Err(TemplateError::EmptyVerb);
        }
        if let Some(verb) = verb.filter(|verb| !is_literal(verb)) {
            return Err(TemplateError::Literal(verb.to_owned()));
        }
        let mut template = Self {
            text: text.to_owned(),
            segments: Vec::new(),
            verb: verb.map(str::to_owned),
            variables: Vec::new(),
        };
        let mut rest = (!path.is_empty() || verb.is_some()).then_some(path);
        while let Some(segments) = rest {
            let after = if let Some(variable) = segments.strip_prefix('{') {
                let (variable, after) = variable.split_once('}').ok_or(TemplateError::Braces)?;
                template.push_variable(variable)?;
                after
            } else {
                let end = segments.find('/').unwrap_or(segments.len());
                let (segment, after) = segments.split_at(end);
                template.push_segment(segment)?;
                after
            };
            rest = match after.strip_prefix('/') {
                None if after.is_empty() => None,
                None => return Err(TemplateError::Braces),
                more => more,
            };
        }
        Ok(template)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Cuts off what follows the last colon of the last segment.
fn split_verb(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once(':') {
        Some((before, verb)) if !verb.contains(['/', '}']) => (before, Some(verb)),
        _ => (path, None),
    }
}

/// What a path may have between slashes, percent-encoded where it must be.
fn is_literal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;=:@".contains(&byte))
}
