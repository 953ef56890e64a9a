//! Which binding a request is for: a tree of path segments.
//!
//! In: templates, then an HTTP method and a path. Out: a binding and what its variables captured. Of several that match,
//! the more specific wins, segment by segment from the left: a literal before `*` before `**`; a verb before none.
//!
//! **Invariants**: literals are compared as they came, so that no percent-encoded spelling of a path is answered that
//! Envoy's routes did not see as that path; the work for a request is bounded by its segments and the tree.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use super::binding::Binding;
use super::template::{PathTemplate, Segment};

/// The tree; each node is what follows one more segment.
#[derive(Debug, Clone, Default)]
pub(super) struct Routes {
    root: Node,
}

#[derive(Debug, Clone, Default)]
struct Node {
    literals: BTreeMap<String, Node>,
    any: Option<Box<Node>>,
    /// Bindings that end here, and those that take all that is left.
    exact: Ends,
    rest: Ends,
}

/// By verb (empty: none), then by HTTP method: the binding's place.
type Ends = BTreeMap<String, BTreeMap<String, usize>>;

/// The binding that a request is for.
#[derive(Debug)]
pub struct Found<'a> {
    /// The binding.
    pub binding: &'a Binding,
    /// What its variables captured, in their order, percent-encoded as it came.
    pub captured: Vec<Cow<'a, str>>,
}

/// No binding is for the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    /// HTTP methods that the path has; empty: there is no such path.
    pub allow: Vec<String>,
    /// Bindings with much the same path, such as `GET /v1/orders/{id}`; the nearest first.
    pub near: Vec<String>,
}

impl Routes {
    /// Adds a binding; the one that is there already for the same requests, if any, stays and is returned.
    pub(super) fn insert(
        &mut self,
        method: &Method,
        template: &PathTemplate,
        binding: usize,
    ) -> Option<usize> {
        let mut node = &mut self.root;
        let mut takes_rest = false;
        for segment in template.segments() {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Any => node.any.get_or_insert_default(),
                Segment::Rest => {
                    takes_rest = true;
                    break;
                }
            };
        }
        let ends = if takes_rest { &mut node.rest } else { &mut node.exact };
        let methods = ends.entry(template.verb().unwrap_or_default().to_owned()).or_default();
        let known = methods.get(method.as_str()).copied();
        if known.is_none() {
            methods.insert(method.as_str().to_owned(), binding);
        }
        known
    }

    pub(super) fn find<'a>(
        &self,
        bindings: &'a [Binding],
        method: &Method,
        path: &'a str,
    ) -> Result<Found<'a>, NotFound> {
        let whole = path.strip_prefix('/').unwrap_or(path);
        let mut allow = BTreeSet::new();
        let mut search = |path: &'a str, verb: &str| {
            let segments: Vec<&str> =
                if path.is_empty() { Vec::new() } else { path.split('/').collect() };
            let at = self.root.find(&segments, verb, method.as_str(), &mut allow)?;
            let binding = bindings.get(at)?;
            Some(Found { binding, captured: capture(&binding.template, &segments) })
        };
        let with_verb = match whole.rsplit_once(':') {
            Some((path, verb)) if !verb.is_empty() && !verb.contains('/') => search(path, verb),
            _ => None,
        };
        if let Some(found) = with_verb.or_else(|| search(whole, "")) {
            return Ok(found);
        }
        let allow: Vec<String> = allow.into_iter().collect();
        let near = if allow.is_empty() { near(bindings, path) } else { Vec::new() };
        Err(NotFound { allow, near })
    }
}

impl Node {
    /// The most specific binding below this node; on the way, the methods of paths that match otherwise.
    fn find(
        &self,
        segments: &[&str],
        verb: &str,
        method: &str,
        allow: &mut BTreeSet<String>,
    ) -> Option<usize> {
        let below = match segments.split_first() {
            None => end(&self.exact, verb, method, allow),
            Some((segment, rest)) => {
                let literal = self.literals.get(*segment);
                let any = self.any.as_deref().filter(|_| !segment.is_empty());
                literal
                    .and_then(|node| node.find(rest, verb, method, allow))
                    .or_else(|| any.and_then(|node| node.find(rest, verb, method, allow)))
            }
        };
        below.or_else(|| end(&self.rest, verb, method, allow))
    }
}

fn end(ends: &Ends, verb: &str, method: &str, allow: &mut BTreeSet<String>) -> Option<usize> {
    let methods = ends.get(verb)?;
    let found = methods.get(method).or_else(|| methods.get("*")).copied();
    if found.is_none() {
        allow.extend(methods.keys().cloned());
    }
    found
}

/// What each variable of a template that matches these segments captures.
fn capture<'a>(template: &PathTemplate, segments: &[&'a str]) -> Vec<Cow<'a, str>> {
    let captured = template.variables().iter().map(|variable| {
        let takes_rest = template
            .segments()
            .get(variable.first + variable.count - 1)
            .is_some_and(|segment| *segment == Segment::Rest);
        let end = if takes_rest { segments.len() } else { variable.first + variable.count };
        match segments.get(variable.first..end).unwrap_or_default() {
            [one] => Cow::Borrowed(*one),
            several => Cow::Owned(several.join("/")),
        }
    });
    captured.collect()
}

/// The bindings whose paths are most like this one, at most three.
fn near(bindings: &[Binding], path: &str) -> Vec<String> {
    let asked: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut scored: Vec<(usize, String)> = bindings
        .iter()
        .map(|binding| (likeness(binding, path, &asked), binding))
        .filter(|(score, _)| *score > 0)
        .map(|(score, binding)| (score, format!("{} {}", binding.method, binding.template)))
        .collect();
    // Stable: what is equally near stays in the order of the schema.
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    scored.into_iter().take(3).map(|(_, text)| text).collect()
}

/// How much a path is like a binding's: equal segments count most, then equal but for case, then a wildcard.
fn likeness(binding: &Binding, path: &str, asked: &[&str]) -> usize {
    if super::binding::default_path(binding.rpc.parent_service(), &binding.rpc) == path {
        return usize::MAX;
    }
    let segments = binding.template.segments();
    let alike = segments.iter().zip(asked).map(|(segment, asked)| match segment {
        Segment::Literal(text) if text == asked => 4,
        Segment::Literal(text) if text.eq_ignore_ascii_case(asked) => 3,
        Segment::Literal(_) => 0,
        Segment::Any | Segment::Rest => 1,
    });
    let alike: Vec<usize> = alike.collect();
    if alike.iter().all(|score| *score < 3) {
        return 0;
    }
    let same_length = usize::from(segments.len() == asked.len());
    alike.iter().sum::<usize>() + 2 * same_length
}
