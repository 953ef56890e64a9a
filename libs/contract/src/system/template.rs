//! Path templates: `/users/{id}`, `/files/{rest=**}`.
//!
//! In: a template's text. Out: its [`Segment`]s, what it matches, and how Envoy and expressions write it.
//!
//! **Invariants**: a variable is a whole segment; `{name=**}` stands last. What is taken here, Envoy's URI template
//! matcher takes: it knows at most five variables, with names of at most 16 characters.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::pattern::escaped;

const MAX_VARIABLES: usize = 5;
const MAX_NAME: usize = 16;
const MAX_LENGTH: usize = 80;
/// A segment of a normalised path, and any number of them.
const ONE: &str = "[!-.0-~]+";
const REST: &str = "[!-~]*";

/// A path with names in place of segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Segment>);

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Just this.
    Literal(String),
    /// `{name}`: any one segment.
    One(String),
    /// `{name=**}`: all that follows, also nothing.
    Rest(String),
}

impl Template {
    /// Its segments.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Its variables' names.
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.iter().filter_map(Segment::name).collect()
    }

    /// Whether the path fits.
    pub fn fits(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut parts = path.split('/');
        for segment in &self.0 {
            let part = parts.next();
            match segment {
                Segment::Rest(_) => return part.is_some(),
                Segment::Literal(literal) if part != Some(literal) => return false,
                Segment::One(_) if part.is_none_or(str::is_empty) => return false,
                Segment::Literal(_) | Segment::One(_) => {}
            }
        }
        parts.next().is_none()
    }

    /// The same as an expression.
    pub fn to_regex(&self) -> String {
        let piece = |segment: &Segment| match segment {
            Segment::Literal(literal) => format!("/{}", escaped(literal)),
            Segment::One(_) => format!("/{ONE}"),
            Segment::Rest(_) => format!("/{REST}"),
        };
        self.0.iter().map(piece).collect()
    }

    /// Reads what a template becomes: names of the matched one stand for what they matched.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_rewrite(&self, text: &str) -> Result<Self, String> {
        let rewrite = Self::from_str(text)?;
        let known = self.names();
        for segment in &rewrite.0 {
            match segment {
                Segment::Rest(name) => return Err(format!("write {{{name}}}, without =**")),
                Segment::One(name) if !known.contains(name.as_str()) => {
                    return Err(format!("the matched template has no {{{name}}}"));
                }
                Segment::One(_) | Segment::Literal(_) => {}
            }
        }
        Ok(rewrite)
    }
}

impl Segment {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::One(name) | Self::Rest(name) => Some(name),
        }
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err("a template begins with /".to_owned());
        };
        if text.len() > MAX_LENGTH {
            return Err(format!("a template has at most {MAX_LENGTH} characters"));
        }
        let segments = path.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        let last = segments.len() - 1;
        let mut names = BTreeSet::new();
        for (index, segment) in segments.iter().enumerate() {
            if matches!(segment, Segment::Rest(_)) && index < last {
                return Err("=** takes all that follows: it stands last".to_owned());
            }
            if let Some(name) = segment.name()
                && !names.insert(name)
            {
                return Err(format!("{{{name}}} is there twice"));
            }
        }
        if names.len() > MAX_VARIABLES {
            return Err(format!("at most {MAX_VARIABLES} names in a template"));
        }
        Ok(Self(segments))
    }
}

fn segment(text: &str) -> Result<Segment, String> {
    if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let name = inner.strip_suffix("=**").unwrap_or(inner);
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !begins || name.len() > MAX_NAME || !name.bytes().all(is_word) {
            return Err(format!(
                "{text} is not a name: {{name}} or {{name=**}} with 1 to {MAX_NAME} of a-z, 0-9 and _"
            ));
        }
        let make = if inner == name { Segment::One } else { Segment::Rest };
        return Ok(make(name.to_owned()));
    }
    if matches!(text, "" | "." | "..") {
        return Err(
            "a path has no empty, . or .. part: such requests are normalised before routing"
                .to_owned(),
        );
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@!$&'+,".contains(&byte);
    match text.bytes().find(|byte| !is_plain(*byte)) {
        None => Ok(Segment::Literal(text.to_owned())),
        Some(b'{' | b'}') => Err(format!("{text:?}: a name in braces is a whole segment")),
        Some(byte) => Err(format!("a template cannot hold {:?}", char::from(byte))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Pattern;

    #[test]
    fn a_template_fits_what_its_expression_fits() {
        for (template, path, fits) in [
            ("/users/{id}", "/users/7", true),
            ("/users/{id}", "/users/", false),
            ("/users/{id}", "/users/7/x", false),
            ("/users/{id}/x", "/users/a%20b/x", true),
            ("/files/{rest=**}", "/files/a/b", true),
            ("/files/{rest=**}", "/files/", true),
            ("/files/{rest=**}", "/files", false),
            ("/a.b", "/aXb", false),
        ] {
            let read: Template = template.parse().unwrap();
            assert_eq!(read.fits(path), fits, "{template} {path}");
            let pattern = Pattern::parse(&read.to_regex()).unwrap();
            assert_eq!(pattern.fits(path), fits, "{} {path}", read.to_regex());
        }
    }

    #[test]
    fn a_template_that_envoy_would_not_read_as_written_is_refused() {
        for (template, reason) in [
            ("users", "begins with /"),
            ("/", "no empty"),
            ("/a//b", "no empty"),
            ("/a{id}", "whole segment"),
            ("/{rest=**}/x", "stands last"),
            ("/{id}/{id}", "twice"),
            ("/{Id}", "not a name"),
            ("/{a}/{b}/{c}/{d}/{e}/{f}", "at most 5"),
            ("/a=b", "cannot hold '='"),
        ] {
            let error = Template::from_str(template).unwrap_err();
            assert!(error.contains(reason), "{template}: {error}");
        }
        let template: Template = "/users/{id}".parse().unwrap();
        assert!(template.parse_rewrite("/v2/{id}").is_ok());
        assert!(template.parse_rewrite("/v2/{name}").unwrap_err().contains("has no {name}"));
    }
}
