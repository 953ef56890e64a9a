//! The page `/traces`: each back end, what waits for it and whose it is. Plain HTML without scripts; `/traces.json` says the same.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{Html, Json};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::send::BackEnd;
use super::tail::Tail;

#[derive(Debug, Clone)]
struct Pages {
    back_ends: Arc<[Arc<BackEnd>]>,
    tail: Option<Arc<Tail>>,
}

const STYLE: &str = "body{font:14px/1.5 sans-serif;margin:2em}table{border-collapse:collapse;margin-bottom:1em}\
                     td,th{border:1px solid #bbb;padding:.3em .7em;text-align:left}td.n{text-align:right}\
                     .error{color:#a00}";

pub(super) fn router(back_ends: Arc<[Arc<BackEnd>]>, tail: Option<Arc<Tail>>) -> Router {
    Router::new()
        .route("/traces", get(page))
        .route("/traces.json", get(data))
        .with_state(Pages { back_ends, tail })
}

async fn data(State(pages): State<Pages>) -> Json<Value> {
    let now = Instant::now();
    let back_ends = pages.back_ends.iter().map(|back_end| {
        let queue = back_end.queue.status(now);
        let lanes = queue
            .lanes
            .iter()
            .map(|lane| json!({ "sender": &*lane.name, "spans": lane.spans, "bytes": lane.bytes }));
        json!({
            "name": &*back_end.name,
            "address": back_end.options.address.to_string(),
            "trouble": back_end.state.trouble().map(|trouble| trouble.what),
            "spans": queue.spans,
            "bytes": queue.bytes,
            "memory_bytes": queue.memory_bytes,
            "disk_bytes": queue.disk_bytes,
            "limit_bytes": back_end.options.queue.limit_bytes,
            "oldest_s": queue.oldest.map(|oldest| oldest.as_secs_f64()),
            "senders": lanes.collect::<Vec<_>>(),
        })
    });
    let traces = pages.tail.as_ref().map(|tail| tail.known());
    Json(json!({ "back_ends": back_ends.collect::<Vec<_>>(), "traces_remembered": traces }))
}

async fn page(State(pages): State<Pages>) -> Html<String> {
    let now = Instant::now();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Spans of this host</title>\
         <style>{STYLE}</style></head>\n<body><h1>Spans of this host</h1>\n\
         <p><a href=\"traces.json\">this as JSON</a> · <a href=\"metrics\">metrics</a></p>\n"
    );
    if let Some(tail) = &pages.tail {
        html += &format!(
            "<p>Tail sampling within this host: {} traces remembered, spans wait {:?}.</p>\n",
            tail.known(),
            tail.wait()
        );
    }
    for back_end in pages.back_ends.iter() {
        section(&mut html, back_end, now);
    }
    Html(html + "</body></html>\n")
}

fn section(html: &mut String, back_end: &BackEnd, now: Instant) {
    let queue = back_end.queue.status(now);
    let state = match back_end.state.trouble() {
        None => "takes spans".to_owned(),
        Some(trouble) => format!(
            "<span class=\"error\">{}</span>, since {} s",
            escape(&trouble.what),
            now.saturating_duration_since(trouble.since).as_secs()
        ),
    };
    let oldest =
        queue.oldest.map_or("none waits".to_owned(), |age| format!("{:.1} s", age.as_secs_f64()));
    let kept = if back_end.options.queue.folder.is_some() { "on disk" } else { "in memory only" };
    // Writing into a String does not fail.
    let written = write!(
        html,
        "<h2>{}</h2>\n<table>\n<tr><th>address</th><td>{}</td></tr>\n<tr><th>state</th><td>{state}</td></tr>\n\
         <tr><th>waiting, with what is being sent</th><td>{} spans, {} KiB; {} KiB of them in memory</td></tr>\n\
         <tr><th>the oldest</th><td>{oldest}</td></tr>\n\
         <tr><th>kept</th><td>{kept}; {} of {} MiB</td></tr>\n</table>\n",
        escape(&back_end.name),
        escape(&back_end.options.address.to_string()),
        queue.spans,
        queue.bytes >> 10,
        queue.memory_bytes >> 10,
        queue.disk_bytes.max(queue.memory_bytes) >> 20,
        back_end.options.queue.limit_bytes >> 20,
    );
    debug_assert!(written.is_ok());
    if queue.lanes.is_empty() {
        return;
    }
    *html += "<table>\n<tr><th>sender</th><th>spans that wait</th><th>KiB</th></tr>\n";
    for lane in &queue.lanes {
        *html += &format!(
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            escape(&lane.name),
            lane.spans,
            lane.bytes >> 10
        );
    }
    *html += "</table>\n";
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
