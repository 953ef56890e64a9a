//! The state of all schemas as a plain HTML table.
//!
//! In: what the snapshot tells people. Out: a page without scripts, readable in a text browser.

use std::fmt::Write as _;

use crate::schema::{Status, VersionStatus};

const STYLE: &str = "body{font:14px/1.5 sans-serif;margin:2em}table{border-collapse:collapse}\
                     td,th{border:1px solid #bbb;padding:.4em .7em;text-align:left;vertical-align:top}\
                     .error{color:#a00}code{white-space:nowrap}";

/// The page.
pub(super) fn page(system: &str, conversions: &[Status]) -> String {
    let system = escape(system);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Schemas of {system}</title>\
         <style>{STYLE}</style></head>\n<body><h1>Schemas of {system}</h1>\n\
         <p>What the gateway knows of the gRPC services that it offers as REST. \
         <a href=\"docs/\">Try them</a> · <a href=\"openapi.json\">OpenAPI</a> · \
         <a href=\"schemas.json\">this as JSON</a></p>\n"
    );
    if conversions.is_empty() {
        page += "<p>None yet: no route converts, or no request came and none is listed.</p>\n";
    } else {
        page += "<table>\n<tr><th>conversion</th><th>source</th><th>looked at</th>\
                 <th>versions alive, newest first</th><th>error</th></tr>\n";
        page.extend(conversions.iter().map(row));
        page += "</table>\n";
    }
    page + "</body></html>\n"
}

fn row(status: &Status) -> String {
    let looked = status.looked_s.map_or("never".to_owned(), ago);
    let error = match (&status.error, status.failing_s) {
        (Some(error), Some(since)) => {
            format!("<span class=\"error\">{}</span><br>since {}", escape(error), ago(since))
        }
        (Some(error), None) => escape(error),
        (None, _) => "none".to_owned(),
    };
    let versions = match status.versions.as_slice() {
        [] => "<span class=\"error\">none: requests are answered 503</span>".to_owned(),
        versions => versions.iter().map(version).collect::<Vec<_>>().join("<hr>"),
    };
    format!(
        "<tr><td><code>{}</code></td><td>{}</td><td>{looked}</td><td>{versions}</td><td>{error}</td></tr>\n",
        escape(&status.conversion),
        escape(&status.source),
    )
}

fn version(version: &VersionStatus) -> String {
    let mut text = format!(
        "<code>{}</code>, first seen {}, last seen {}",
        escape(&version.id),
        ago(version.first_seen_s),
        ago(version.last_seen_s)
    );
    for binding in &version.bindings {
        // Writing to a string cannot fail.
        write!(text, "<br><code>{}</code>", escape(binding)).unwrap_or_default();
    }
    text
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            other => out.push(other),
        }
    }
    out
}
