//! A plan's difference in lines, as `job plan` shows it.
//!
//! In: the `Diff` of a plan. Out: text. Pure.

use serde_json::Value;

use super::plan::{counts, name};
use super::show::{items, text};

/// `+`, `-`, `+/-` or nothing, as wide as it is.
fn mark(kind: &str) -> &'static str {
    match kind {
        "Added" => "+ ",
        "Deleted" => "- ",
        "Edited" => "+/- ",
        _ => "",
    }
}

/// The whole difference.
pub(super) fn job(change: &Value, plan: &Value, is_verbose: bool) -> String {
    let kind = text(change, "/Type");
    let mut lines = vec![format!("{}Job: {:?}", mark(kind), text(change, "/ID"))];
    if kind == "Edited" || is_verbose {
        inside(change, 0, &mut lines);
    }
    for group in items(change, "/TaskGroups") {
        let update =
            plan.pointer("/Annotations/DesiredTGUpdates").and_then(|own| own.get(name(group)));
        let counts = update.map(counts).unwrap_or_default();
        let counts =
            if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
        let kind = text(group, "/Type");
        lines.push(format!("{}Task Group: {:?}{counts}", mark(kind), name(group)));
        if kind == "Edited" || is_verbose {
            inside(group, 2, &mut lines);
        }
        for task in items(group, "/Tasks") {
            let kind = text(task, "/Type");
            if kind == "None" && !is_verbose {
                continue;
            }
            lines.push(format!("  {}Task: {:?}{}", mark(kind), name(task), notes(task)));
            if kind == "Edited" || is_verbose {
                inside(task, 4, &mut lines);
            }
        }
    }
    lines.join("\n") + "\n"
}

fn notes(own: &Value) -> String {
    let notes: Vec<&str> = items(own, "/Annotations").filter_map(Value::as_str).collect();
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) }
}

fn inside(own: &Value, indent: usize, lines: &mut Vec<String>) {
    let space = " ".repeat(indent);
    let fields: Vec<&Value> = items(own, "/Fields").collect();
    let width = fields.iter().map(|field| name(field).len()).max().unwrap_or(0);
    for field in fields {
        let (old, new) = (text(field, "/Old"), text(field, "/New"));
        let value = match text(field, "/Type") {
            "Added" => format!("{new:?}"),
            "Deleted" => format!("{old:?}"),
            "Edited" => format!("{old:?} => {new:?}"),
            _ => format!("{new:?}"),
        };
        let label = format!("{}:", name(field));
        let mark = mark(text(field, "/Type"));
        lines.push(format!(
            "{space}{mark}{label:<wide$} {value}{}",
            notes(field),
            wide = width + 1
        ));
    }
    for object in items(own, "/Objects") {
        lines.push(format!("{space}{}{} {{", mark(text(object, "/Type")), name(object)));
        inside(object, indent + 2, lines);
        lines.push(format!("{space}}}"));
    }
}
