//! Whether one route takes every request that another could: what makes the other unreachable.
//!
//! In: the [`Reach`] of two matches that are otherwise right. Out: [`Cover`].
//! Called by the rules of documents, and by the control plane for `mesh_path`.
//!
//! **Invariants**: `All` is never said wrongly; where expressions make it undecidable, `Unknown` is said.
//! Deliberately absent: several routes that cover another together.

use std::collections::BTreeMap;

use super::pattern::Pattern;
use super::template::{Segment, Template};
use super::{Fits, HostName, RouteMatch, ValueMatch};

/// Whether a route takes all requests of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cover {
    /// Not all of them.
    NotAll,
    /// Nobody can tell.
    Unknown,
    /// All of them.
    All,
}

/// A match, read once for many questions.
#[derive(Debug, Clone)]
pub struct Reach<'a> {
    matches: &'a RouteMatch,
    pattern: Option<Pattern>,
    template: Option<Template>,
}

impl<'a> Reach<'a> {
    /// Reads a match.
    pub fn of(matches: &'a RouteMatch) -> Self {
        let pattern = matches.regex.as_ref().and_then(|regex| Pattern::parse(regex).ok());
        let template = matches.template.as_ref().and_then(|template| template.parse().ok());
        Self { matches, pattern, template }
    }

    /// Whether every request that `other` takes is one that this takes too.
    pub fn covers(&self, other: &Self) -> Cover {
        if self.matches.conditions_cover(other.matches) {
            paths(self, other)
        } else {
            Cover::NotAll
        }
    }
}

impl RouteMatch {
    /// A path and everything below it, without conditions.
    pub fn of_prefix(prefix: &str) -> Self {
        Self { prefix: Some(prefix.to_owned()), ..Self::default() }
    }

    fn conditions_cover(&self, other: &Self) -> bool {
        let is_host_covered = |host: &HostName| self.hosts.iter().any(|wide| wide.covers(host));
        let hosts = self.hosts.is_empty()
            || (!other.hosts.is_empty() && other.hosts.iter().all(is_host_covered));
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty()
                && other.methods.iter().all(|method| self.methods.contains(method)));
        hosts
            && methods
            && values_cover(&self.headers, &other.headers)
            && values_cover(&self.query, &other.query)
    }
}

impl HostName {
    /// Whether every host that `other` names is one that this names.
    pub fn covers(&self, other: &Self) -> bool {
        self == other
            || self.0.strip_prefix('*').is_some_and(|domain| {
                other.0.trim_start_matches('*').ends_with(domain)
                // A pattern is no part of itself one level up: `*.a.b` does not name `a.b`.
                && other.0.len() > domain.len()
            })
    }
}

fn values_cover(
    wide: &BTreeMap<String, ValueMatch>,
    narrow: &BTreeMap<String, ValueMatch>,
) -> bool {
    wide.iter().all(|(name, wide)| narrow.get(name).is_some_and(|narrow| wide.covers(narrow)))
}

impl ValueMatch {
    fn covers(&self, narrow: &Self) -> bool {
        match (self, narrow) {
            (wide, narrow) if wide == narrow => true,
            (Self::Present(true), Self::Exact(_) | Self::Fits(_)) => true,
            (Self::Fits(Fits::Prefix(prefix)), Self::Exact(value)) => value.starts_with(prefix),
            (Self::Fits(Fits::Prefix(wide)), Self::Fits(Fits::Prefix(narrow))) => {
                narrow.starts_with(wide)
            }
            _ => false,
        }
    }
}

/// Whether the path is the prefix or below it, in whole segments.
pub fn is_within(path: &str, prefix: &str) -> bool {
    let stem = prefix.trim_end_matches('/');
    path.strip_prefix(stem).is_some_and(|rest| {
        // `/a/` takes what is below `/a`, not `/a` itself.
        rest.starts_with('/') || (rest.is_empty() && stem == prefix)
    })
}

fn paths(wide: &Reach<'_>, narrow: &Reach<'_>) -> Cover {
    let certain = |is_all| if is_all { Cover::All } else { Cover::NotAll };
    let RouteMatch { prefix, path, regex, .. } = narrow.matches;
    let below = |prefix: &str, rest: &str| format!("{}{rest}", prefix.trim_end_matches('/'));
    if let Some(wide) = &wide.matches.prefix {
        return match (prefix.as_ref().or(path.as_ref()), &narrow.template, regex) {
            (Some(path), ..) => certain(is_within(path, wide)),
            (_, Some(template), _) => certain(is_template_within(template, wide)),
            (_, _, Some(_)) if wide == "/" => Cover::All,
            (_, _, Some(regex)) => regex_within(regex, wide),
            _ => Cover::NotAll,
        };
    }
    if let Some(wide) = &wide.matches.path {
        return certain(path.as_ref() == Some(wide));
    }
    if let Some(wide) = &wide.template {
        return match (path, &narrow.template, prefix) {
            (Some(path), ..) => certain(wide.fits(path)),
            (_, Some(narrow), _) => certain(templates(wide.segments(), narrow.segments())),
            // A prefix reaches any depth, which only `**` does.
            (_, _, Some(prefix)) => certain(
                [prefix, &below(prefix, "/"), &below(prefix, "/x/x")].map(|p| wide.fits(p))
                    == [true; 3],
            ),
            _ => Cover::NotAll,
        };
    }
    let Some(pattern) = &wide.pattern else { return Cover::NotAll };
    match (path, prefix) {
        _ if *regex == wide.matches.regex => Cover::All,
        (Some(path), _) => certain(pattern.fits(path)),
        (_, Some(prefix)) if pattern.fits(prefix) && pattern.fits(&below(prefix, "/x/y")) => {
            Cover::Unknown
        }
        _ => Cover::NotAll,
    }
}

/// Whether the template's literal beginning is within the prefix.
fn is_template_within(template: &Template, prefix: &str) -> bool {
    let mut path = String::new();
    for segment in template.segments() {
        let Segment::Literal(literal) = segment else {
            path.push('/');
            break;
        };
        path.push('/');
        path.push_str(literal);
    }
    is_within(&path, prefix)
}

/// Whether what the expression fits is all below the prefix, as far as its literal beginning tells.
fn regex_within(regex: &str, prefix: &str) -> Cover {
    let stem = prefix.trim_end_matches('/');
    let is_meta = |letter: char| "\\.+*?()|[]{}^$".contains(letter);
    let literal = regex.split(is_meta).next().unwrap_or_default();
    // What repeats or replaces the last letter begins right after the literal; what holds alternatives may hold others.
    let is_repeated = |rest: &str| rest.starts_with(['?', '*', '{']);
    let is_bound = literal.len() > stem.len() + 1
        || regex.get(literal.len()..).is_some_and(|rest| !is_repeated(rest));
    let is_below = literal.strip_prefix(stem).is_some_and(|rest| rest.starts_with('/'));
    match (is_below, is_bound && !regex.contains('|')) {
        (false, _) => Cover::NotAll,
        (true, false) => Cover::Unknown,
        (true, true) => Cover::All,
    }
}

fn templates(wide: &[Segment], narrow: &[Segment]) -> bool {
    match (wide, narrow) {
        ([], []) => true,
        ([Segment::Rest(_)], [_, ..]) => true,
        ([Segment::Literal(wide), wider @ ..], [Segment::Literal(narrow), narrower @ ..]) => {
            wide == narrow && templates(wider, narrower)
        }
        ([Segment::One(_), wider @ ..], [Segment::Literal(_) | Segment::One(_), narrower @ ..]) => {
            templates(wider, narrower)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(yaml: &str) -> RouteMatch {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[track_caller]
    fn check(wide: &str, narrow: &str, expected: Cover) {
        let (one, other) = (of(wide), of(narrow));
        let cover = Reach::of(&one).covers(&Reach::of(&other));
        assert_eq!(cover, expected, "{wide} covers {narrow}");
    }

    #[test]
    fn paths_cover_what_is_at_or_below_them() {
        use Cover::{All, NotAll, Unknown};
        for (wide, narrow, expected) in [
            ("{prefix: /a}", "{prefix: /a}", All),
            ("{prefix: /a}", "{path: /a/b}", All),
            ("{prefix: /a}", "{path: /ab}", NotAll),
            ("{prefix: /a/}", "{path: /a}", NotAll),
            ("{prefix: /a/}", "{prefix: /a/}", All),
            ("{prefix: /a}", "{template: '/a/{id}'}", All),
            ("{prefix: /a/b}", "{template: '/a/{id}'}", NotAll),
            ("{prefix: /}", "{regex: '/[a-z]+'}", All),
            ("{prefix: /a}", "{regex: '/a/[a-z]+'}", All),
            ("{prefix: /a}", "{regex: '/a/|/b'}", Unknown),
            ("{prefix: /a}", "{regex: '/b/.*'}", NotAll),
            ("{path: /a}", "{path: /a}", All),
            ("{path: /a}", "{prefix: /a}", NotAll),
            ("{regex: '/a/.*'}", "{path: /a/b}", All),
            ("{regex: '/a(/.*)?'}", "{prefix: /a}", Unknown),
            ("{regex: '/a/.*'}", "{prefix: /a}", NotAll),
            ("{regex: '/a/.*'}", "{regex: '/a/.*'}", All),
            ("{template: '/a/{id}'}", "{path: /a/b}", All),
            ("{template: '/a/{id}'}", "{template: '/a/b'}", All),
            ("{template: '/a/{id}'}", "{template: '/a/{name}'}", All),
            ("{template: '/a/{id}'}", "{template: '/a/{id}/x'}", NotAll),
            ("{template: '/a/{rest=**}'}", "{template: '/a/{id}/x'}", All),
            ("{template: '/a/{rest=**}'}", "{prefix: /a}", NotAll),
            ("{template: '/a/{rest=**}'}", "{prefix: /a/}", All),
            ("{template: '/a/{rest=**}'}", "{prefix: /a/b}", All),
        ] {
            check(wide, narrow, expected);
        }
    }

    #[test]
    fn conditions_must_be_met_by_all_that_the_other_takes() {
        use Cover::{All, NotAll};
        for (wide, narrow, expected) in [
            ("methods: [GET]", "methods: [GET]", All),
            ("methods: [GET, POST]", "methods: [GET]", All),
            ("methods: [GET]", "hosts: []", NotAll),
            ("hosts: ['*.a.b']", "hosts: [c.a.b]", All),
            ("hosts: ['*.a.b']", "hosts: ['*.c.a.b']", All),
            ("hosts: ['*.a.b']", "hosts: [a.b]", NotAll),
            ("hosts: [a.b]", "methods: [GET]", NotAll),
            ("headers: {x: true}", "headers: {x: '1'}", All),
            ("headers: {x: {prefix: a}}", "headers: {x: abc}", All),
            ("headers: {x: {regex: '[a-c]+'}}", "headers: {x: {regex: '[a-c]+'}}", All),
            ("headers: {x: false}", "headers: {x: '1'}", NotAll),
            ("query: {q: '1'}", "query: {q: true}", NotAll),
            ("query: {q: '1'}", "query: {q: '1'}", All),
        ] {
            check(
                &format!("{{prefix: /a, {wide}}}"),
                &format!("{{prefix: /a/b, {narrow}}}"),
                expected,
            );
        }
    }
}
