//! `/targets`: who is asked and how that went, for programs and for people.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Response};
use tokio::time::Instant;

use super::Context;
use super::answers::is_page;
use crate::relay::status::TargetView;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;color:#222}\
    table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3em .7em;\
    border-bottom:1px solid #ddd;vertical-align:top}td.n{text-align:right;white-space:nowrap;\
    font-variant-numeric:tabular-nums}.up{color:#176f2c}.down{color:#b00020;font-weight:600}\
    .unknown{color:#777}code{font-size:12px;overflow-wrap:anywhere}";

pub(super) async fn targets(State(context): State<Context>, headers: HeaderMap) -> Response {
    let views = context.statuses.views(&context.targets(), Instant::now());
    if is_page(&headers) {
        return Html(page(&views)).into_response();
    }
    axum::Json(views).into_response()
}

fn page(views: &[TargetView]) -> String {
    let down = views.iter().filter(|view| view.up == Some(false)).count();
    let mut rows = String::new();
    for view in views {
        row(view, &mut rows);
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Targets</title>\
         <style>{STYLE}</style><h1>Targets of this host</h1>\
         <p>{} targets, {down} down. Each was last asked when <a href=/metrics>/metrics</a> was; \
         the same as JSON: <code>curl HOST:PORT/targets</code>.</p>\
         <table><thead><tr><th>Service<th>Instance<th>What<th>State<th>Samples<th>Took<th>Ago\
         <th>Address and error</thead><tbody>{rows}</tbody></table></html>\n",
        views.len()
    )
}

fn row(view: &TargetView, rows: &mut String) {
    let state = match view.up {
        Some(true) => "up",
        Some(false) => "down",
        None => "unknown",
    };
    let seconds =
        |value: Option<f64>| value.map(|value| format!("{value:.3} s")).unwrap_or_default();
    let error = match (&view.error_class, &view.error) {
        (Some(class), Some(error)) => format!("<br><b>{class}</b>: {}", escaped(error)),
        _ => String::new(),
    };
    let path = format!("/metrics/{}/{}", view.service, view.instance);
    // Writing to a string does not fail.
    writeln!(
        rows,
        "<tr><td>{}<td><a href=\"{}\">{}</a><td>{}<td class={state}>{state}<td class=n>{}\
         <td class=n>{}<td class=n>{}<td><code>{}</code>{error}",
        escaped(&view.service),
        escaped(&path),
        escaped(&view.instance),
        view.kind,
        view.samples,
        seconds(view.duration_s),
        seconds(view.age_s),
        escaped(&view.url),
    )
    .ok();
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}
