//! One request through the running demo, and its trace as a tree: `meshctl demo trace`.
//!
//! In: the Router's port. Out: text. The request goes to `positions` in one System, which asks `quotes` in the other; its spans
//! come from the Envoys on its way, through the host's agent, to the demo's store of spans, which is asked for them.
//!
//! **Invariants**: nothing is shown that did not come out of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::collector::Span;
use crate::http::Client;
use crate::{LabError, wait};

/// The path of the request, and the Systems on its way.
const PATH: &str = "/portfolio/positions/7";
const SYSTEMS: [&str; 2] = ["portfolio", "trading"];
/// Spans of its way: the Router, then of each System a gateway and a sidecar, and the sidecar of the one that asks once more.
const SPANS: usize = 6;
/// Envoys send their spans every five seconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where the demo keeps its spans: beside the Router.
pub fn store(router_port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, router_port.wrapping_add(1)))
}

/// Asks, waits for the spans, and shows them.
///
/// # Errors
/// When the demo does not answer, or the trace is not whole in time; the error says what was there.
pub async fn follow(router: SocketAddr, store: SocketAddr) -> Result<String, LabError> {
    let client = Client::new();
    let answer = client.get(router, "localhost", PATH).await?;
    let id = answer.headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let id = id.ok_or_else(|| LabError::Missing {
        what: format!("a request id in the answer {} of {router}", answer.status),
        next: "is this the Router of a running demo? Name its port with --router-port".to_owned(),
    })?;
    let spans = wait::until("the trace of the request is whole", DEADLINE, async || {
        let all: Vec<Span> = match client.get(store, "localhost", "/spans").await {
            Ok(answer) => {
                serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?
            }
            Err(error) => return Err(crate::chain(&error)),
        };
        let trace = all
            .iter()
            .find(|span| span.attributes.get("guid:x-request-id").is_some_and(|own| own == id));
        let trace = trace.ok_or("no span of this request came yet")?.trace.clone();
        let own: Vec<Span> = all.into_iter().filter(|span| span.trace == trace).collect();
        is_whole(&own).map(|()| own)
    })
    .await?;
    Ok(show(&spans))
}

/// Whether the trace has all of its spans, in one piece.
fn is_whole(spans: &[Span]) -> Result<(), String> {
    let ids: BTreeSet<u64> = spans.iter().map(|span| span.span).collect();
    let lost: Vec<_> = spans
        .iter()
        .filter(|span| span.parent != 0 && !ids.contains(&span.parent))
        .map(service)
        .collect();
    let roots = spans.iter().filter(|span| span.parent == 0).count();
    let systems = systems(spans);
    let has_all = SYSTEMS.iter().all(|system| systems.contains(*system));
    if spans.len() >= SPANS && roots == 1 && lost.is_empty() && has_all {
        return Ok(());
    }
    Err(format!(
        "{} spans of {systems:?}, {roots} roots, without their parents: {lost:?}",
        spans.len()
    ))
}

fn systems(spans: &[Span]) -> BTreeSet<&str> {
    spans
        .iter()
        .filter_map(|span| span.resource.get("service.namespace"))
        .map(String::as_str)
        .collect()
}

/// `SYSTEM/SERVICE`, or what the proxy calls itself.
fn service(span: &Span) -> String {
    let name = span.resource.get("service.name").map_or("", String::as_str);
    match (span.resource.get("service.namespace"), span.attributes.get("node_id")) {
        (Some(system), _) => format!("{system}/{name}"),
        (None, Some(node)) => node.clone(),
        (None, None) => name.to_owned(),
    }
}

/// The spans as a tree, children in the order in which they began.
pub fn show(spans: &[Span]) -> String {
    let mut children: BTreeMap<u64, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        children.entry(span.parent).or_default().push(span);
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|span| span.start_ns);
    }
    let trace = spans.first().map_or("", |span| span.trace.as_str());
    let systems: Vec<&str> = systems(spans).into_iter().collect();
    let mut text =
        format!("trace {trace}: {} spans, Systems {}\n", spans.len(), systems.join(", "));
    branch(&children, 0, "", &mut text);
    text
}

fn branch(children: &BTreeMap<u64, Vec<&Span>>, parent: u64, indent: &str, text: &mut String) {
    let siblings = children.get(&parent).map_or(&[][..], Vec::as_slice);
    for (index, span) in siblings.iter().enumerate() {
        let is_last = index + 1 == siblings.len();
        let (mark, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let took = Duration::from_nanos(span.end_ns.saturating_sub(span.start_ns));
        let what = match span.kind {
            2 => "serves",
            3 => "calls",
            _ => "does",
        };
        let failed = if span.is_error { ", failed" } else { "" };
        let head = format!("{indent}{mark}{} {what}", service(span));
        // Writing into a String does not fail.
        let written = writeln!(text, "{head:<52} {:<34} {took:>9.1?}{failed}", span.name);
        debug_assert!(written.is_ok());
        branch(children, span.span, &format!("{indent}{below}"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: u64, parent: u64, system: &str, start_ns: u64) -> Span {
        let resource = [("service.namespace", system), ("service.name", "s")];
        Span {
            trace: "ab".to_owned(),
            span: id,
            parent,
            name: format!("n{id}"),
            kind: 2,
            start_ns,
            end_ns: start_ns + 1_500_000,
            is_error: id == 3,
            resource: resource.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn a_tree_has_children_below_their_parents_in_time_s_order() {
        let spans =
            [span(3, 1, "b", 9), span(1, 0, "a", 1), span(2, 1, "a", 5), span(4, 2, "b", 6)];
        let text = show(&spans);
        let names: Vec<&str> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().rev().find(|word| word.starts_with('n')))
            .collect();
        assert_eq!(names, ["n1", "n2", "n4", "n3"]);
        assert!(text.starts_with("trace ab: 4 spans, Systems a, b\n"), "{text}");
        assert!(text.contains("1.5ms, failed"), "{text}");
    }

    #[test]
    fn a_trace_in_pieces_is_not_whole() {
        let mut spans: Vec<Span> = (1..=6)
            .map(|id| span(id, id - 1, if id < 3 { "portfolio" } else { "trading" }, id))
            .collect();
        assert_eq!(is_whole(&spans), Ok(()));
        spans.remove(2);
        assert!(is_whole(&spans).is_err());
    }
}
