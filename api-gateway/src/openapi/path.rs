//! Path templates as OpenAPI writes them.
//!
//! In: routes and bindings. Out: the document's paths.
//!
//! ```text
//!  /v1/{symbol}:watch                 /v1/{symbol}:watch
//!  /v1/{name=shelves/*}               /v1/shelves/{name}
//!  /v1/{name=shelves/*/books/*}       /v1/shelves/{name.1}/books/{name.2}
//!  /v1/files/{path=**}                /v1/files/{path}
//! ```
//!
//! **Invariants**: paths that differ in names of parameters only are one path, as OpenAPI demands: the first names stay.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Map, Value, json};

use super::RestRoute;
use crate::transcode::{Binding, PathTemplate, Segment};

/// A parameter of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathParameter {
    /// What stands between the braces.
    pub(super) name: String,
    /// Which variable of the template it belongs to; `None`: a wildcard that sets nothing.
    pub(super) variable: Option<usize>,
    /// It takes all that is left of the path.
    pub(super) is_rest: bool,
    /// It is one of several that make up the variable, or the variable has literals around it.
    pub(super) is_part: bool,
}

/// All paths, by their shape.
#[derive(Default)]
pub(super) struct Paths(BTreeMap<String, PathItem>);

struct PathItem {
    path: String,
    names: Vec<String>,
    operations: BTreeMap<&'static str, Value>,
}

/// Methods that a path of OpenAPI can have.
const METHODS: [(Method, &str); 8] = [
    (Method::GET, "get"),
    (Method::PUT, "put"),
    (Method::POST, "post"),
    (Method::DELETE, "delete"),
    (Method::PATCH, "patch"),
    (Method::HEAD, "head"),
    (Method::OPTIONS, "options"),
    (Method::TRACE, "trace"),
];
/// Which of them stand for any method.
const ANY: [&str; 5] = ["get", "put", "post", "delete", "patch"];

impl Paths {
    /// Adds a binding of a route; `operation` gets the names of the path's parameters. What an earlier binding has taken
    /// stays with it, as in Envoy.
    ///
    /// # Errors
    /// Why the binding cannot be described.
    pub(super) fn insert(
        &mut self,
        route: &RestRoute,
        binding: &Binding,
        mut operation: impl FnMut(&[String]) -> Value,
    ) -> Result<(), &'static str> {
        let is_any = binding.method.as_str() == "*";
        let known = METHODS.iter().filter(|(method, name)| match is_any {
            true => ANY.contains(name),
            false => *method == binding.method,
        });
        let known: Vec<&'static str> = known.map(|(_, name)| *name).collect();
        if known.is_empty() {
            return Err("OpenAPI has no such method");
        }
        let (inside, parameters) = parameters(&binding.template);
        let (shape, path) = outside(route, &inside, &parameters, binding.template.verb());
        let names = parameters.into_iter().map(|parameter| parameter.name).collect();
        let new = || PathItem { path, names, operations: BTreeMap::new() };
        let item = self.0.entry(shape).or_insert_with(new);
        let before = item.operations.len();
        for name in known {
            item.operations.entry(name).or_insert_with(|| operation(&item.names));
        }
        if item.operations.len() == before {
            return Err("OpenAPI cannot tell its path from one that is described");
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Value {
        let items = self.0.into_values().map(|item| (item.path, json!(item.operations)));
        Value::Object(items.collect::<Map<_, _>>())
    }
}

/// Whether requests that the route matches may be for the binding.
pub(super) fn is_reachable(route: &RestRoute, binding: &Binding) -> bool {
    let inside = route.rewrite.as_deref().unwrap_or(&route.prefix);
    let template = binding.template.to_string();
    let literal = template.split(['{', '*']).next().unwrap_or_default();
    // A prefix may reach into a wildcard; which part of one a rewritten prefix stands for cannot be written as a path.
    let may_reach = route.rewrite.is_none() && literal.len() < template.len();
    literal.starts_with(inside) || (may_reach && inside.starts_with(literal))
}

/// The path with a place for each parameter, and these.
pub(super) fn parameters(template: &PathTemplate) -> (Vec<Option<String>>, Vec<PathParameter>) {
    let mut path = Vec::new();
    let mut parameters: Vec<PathParameter> = Vec::new();
    for (at, segment) in template.segments().iter().enumerate() {
        if let Segment::Literal(text) = segment {
            path.push(Some(text.clone()));
            continue;
        }
        path.push(None);
        let variables = template.variables();
        let of = variables.iter().position(|one| (one.first..one.first + one.count).contains(&at));
        let (name, is_part) = match of.and_then(|of| variables.get(of)) {
            None => (format!("any.{}", parameters.len() + 1), false),
            Some(variable) => {
                let whole = variable.field_path.join(".");
                let span = variable.first..variable.first + variable.count;
                let segments = template.segments().get(span).unwrap_or_default();
                let is_wild = |segment: &&Segment| !matches!(segment, Segment::Literal(_));
                let before = variable.first..at;
                let before = template.segments().get(before).unwrap_or_default();
                let number = before.iter().filter(is_wild).count() + 1;
                let is_only = segments.iter().filter(is_wild).count() == 1;
                let name = if is_only { whole } else { format!("{whole}.{number}") };
                (name, segments.len() > 1)
            }
        };
        let is_rest = *segment == Segment::Rest;
        parameters.push(PathParameter { name, variable: of, is_rest, is_part });
    }
    (path, parameters)
}

/// The shape of a path as clients see it, and the path with its names.
fn outside(
    route: &RestRoute,
    inside: &[Option<String>],
    parameters: &[PathParameter],
    verb: Option<&str>,
) -> (String, String) {
    let write = |name: &dyn Fn(&PathParameter) -> String| {
        let mut parameters = parameters.iter();
        let mut path = String::new();
        for segment in inside {
            match segment {
                Some(text) => {
                    path.push('/');
                    path += text;
                }
                None => {
                    path += "/{";
                    path += &parameters.next().map(name).unwrap_or_default();
                    path.push('}');
                }
            }
        }
        if let Some(verb) = verb {
            path.push(':');
            path += verb;
        }
        match route.rewrite.as_deref().and_then(|rewrite| path.strip_prefix(rewrite)) {
            // A rewrite to `/` takes the slash that clients write after the prefix.
            Some(rest) if rest.starts_with(|first| first != '/' && first != ':') => {
                format!("{}/{rest}", route.prefix.trim_end_matches('/'))
            }
            Some(rest) => format!("{}{rest}", route.prefix),
            None if path.is_empty() => "/".to_owned(),
            None => path,
        }
    };
    (write(&|_| String::new()), write(&|parameter| parameter.name.clone()))
}
