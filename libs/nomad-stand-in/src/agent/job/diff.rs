//! The difference between two versions of a job, as `POST /v1/job/ID/plan` shows it.
//!
//! In: two bodies with their defaults. Out: Nomad's JobDiff. Blocks are objects, maps of texts are fields `Env[KEY]`; groups, tasks,
//! services and ports are told apart by their names, other lists by their place. `Diff.Type` is `None` when nothing differs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::agent::evaluate::plan::DesiredUpdates;

/// Keys that say nothing about the job's content, or are shown in a place of their own.
const APART: [&str; 3] = ["TaskGroups", "Tasks", "ID"];

/// The difference of two jobs; without an old one everything is added.
pub(crate) fn job(
    old: Option<&Map<String, Value>>,
    new: &Map<String, Value>,
    updates: &BTreeMap<String, DesiredUpdates>,
) -> Value {
    let groups: Vec<Value> = pairs(old, Some(new), "TaskGroups")
        .into_iter()
        .filter_map(|(name, old, new)| group(&name, old, new, updates))
        .collect();
    let (fields, objects) = content(old, Some(new));
    let is_same = fields.is_empty()
        && objects.is_empty()
        && groups.iter().all(|group| group.get("Type") == Some(&json!("None")));
    let kind = kind(old.is_some(), true, is_same);
    let groups = if is_same { Vec::new() } else { groups };
    json!({"Type": kind, "ID": new.get("ID"), "Fields": fields, "Objects": objects, "TaskGroups": groups})
}

fn group(
    name: &str,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    updates: &BTreeMap<String, DesiredUpdates>,
) -> Option<Value> {
    let tasks: Vec<Value> = pairs(old, new, "Tasks")
        .into_iter()
        .map(|(name, old, new)| {
            let (fields, objects) = content(old, new);
            let kind = kind(old.is_some(), new.is_some(), fields.is_empty() && objects.is_empty());
            json!({"Type": kind, "Name": name, "Fields": fields, "Objects": objects, "Annotations": null})
        })
        .filter(|task| task.get("Type") != Some(&json!("None")))
        .collect();
    let (fields, objects) = content(old, new);
    let is_same = fields.is_empty() && objects.is_empty() && tasks.is_empty();
    let updates: Map<String, Value> = updates.get(name).map(counts).unwrap_or_default();
    let kind = kind(old.is_some(), new.is_some(), is_same);
    Some(
        json!({"Type": kind, "Name": name, "Fields": fields, "Objects": objects, "Tasks": tasks, "Updates": updates}),
    )
}

fn counts(updates: &DesiredUpdates) -> Map<String, Value> {
    let counts = [
        ("ignore", updates.ignore),
        ("create", updates.place),
        ("destroy", updates.stop),
        ("migrate", updates.migrate),
        ("canary", updates.canary),
        ("in-place update", updates.in_place_update),
        ("create/destroy update", updates.destructive_update),
    ];
    counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_owned(), json!(count)))
        .collect()
}

fn kind(has_old: bool, has_new: bool, is_same: bool) -> &'static str {
    match (has_old, has_new) {
        (false, true) => "Added",
        (true, false) => "Deleted",
        _ if is_same => "None",
        _ => "Edited",
    }
}

type Block<'a> = Option<&'a Map<String, Value>>;

/// Members of a list of named blocks, each with its other version.
fn pairs<'a>(old: Block<'a>, new: Block<'a>, key: &str) -> Vec<(String, Block<'a>, Block<'a>)> {
    let named = |block: Block<'a>| {
        let list = block.and_then(|block| block.get(key)).and_then(Value::as_array);
        let members = list.into_iter().flatten().filter_map(Value::as_object);
        members.enumerate().map(|(place, one)| (name(one, place), one)).collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (named(old), named(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .map(|name| (name.clone(), old.get(name).copied(), new.get(name).copied()))
        .collect()
}

fn name(block: &Map<String, Value>, place: usize) -> String {
    let text = |key: &str| block.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    text("Name").or_else(|| text("Label")).map_or_else(|| place.to_string(), str::to_owned)
}

/// Differing fields and blocks of a block.
fn content(old: Block<'_>, new: Block<'_>) -> (Vec<Value>, Vec<Value>) {
    let (mut fields, mut objects) = (Vec::new(), Vec::new());
    let keys =
        |block: Block<'_>| block.into_iter().flat_map(Map::keys).cloned().collect::<BTreeSet<_>>();
    for key in keys(old).union(&keys(new)).filter(|key| !APART.contains(&key.as_str())) {
        let value = |block: Option<&'_ Map<String, Value>>| {
            block.and_then(|block| block.get(key)).filter(|value| !value.is_null()).cloned()
        };
        let (old, new) = (value(old), value(new));
        if old == new {
            continue;
        }
        let is_map_of_texts =
            ["Meta", "Env", "CanaryMeta", "GetterOptions", "GetterHeaders"].contains(&key.as_str());
        let lists_blocks = |value: &Option<Value>| {
            value
                .as_ref()
                .and_then(Value::as_array)
                .is_some_and(|list| list.iter().any(Value::is_object))
        };
        let is_block = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_object);
        if lists_blocks(&old) || lists_blocks(&new) {
            let (old, new) = (wrap(key, old), wrap(key, new));
            for (_, old, new) in pairs(Some(&old), Some(&new), key) {
                objects.extend(object(singular(key), old, new));
            }
        } else if is_block(&old) || is_block(&new) {
            let (old, new) =
                (old.as_ref().and_then(Value::as_object), new.as_ref().and_then(Value::as_object));
            if is_map_of_texts {
                let entries: BTreeSet<&String> =
                    old.into_iter().chain(new).flat_map(Map::keys).collect();
                for entry in entries {
                    let value =
                        |block: Block<'_>| block.and_then(|block| block.get(entry)).cloned();
                    fields.extend(field(
                        &format!("{key}[{entry}]"),
                        value(old).as_ref(),
                        value(new).as_ref(),
                    ));
                }
            } else {
                objects.extend(object(singular(key), old, new));
            }
        } else {
            fields.extend(field(key, old.as_ref(), new.as_ref()));
        }
    }
    (fields, objects)
}

fn wrap(key: &str, value: Option<Value>) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value.unwrap_or_default())])
}

fn object(name: &str, old: Block<'_>, new: Block<'_>) -> Option<Value> {
    let (fields, objects) = content(old, new);
    let is_same = fields.is_empty() && objects.is_empty();
    let kind = kind(old.is_some(), new.is_some(), is_same);
    (!is_same || old.is_some() != new.is_some())
        .then(|| json!({"Type": kind, "Name": name, "Fields": fields, "Objects": objects}))
}

fn field(name: &str, old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    let (old_text, new_text) = (text(old), text(new));
    let kind = match (old_text.is_empty(), new_text.is_empty()) {
        _ if old_text == new_text => return None,
        (true, _) => "Added",
        (_, true) => "Deleted",
        _ => "Edited",
    };
    Some(json!({"Type": kind, "Name": name, "Old": old_text, "New": new_text, "Annotations": null}))
}

/// A block as it is called in a job's text: `Services` lists `Service` blocks.
fn singular(key: &str) -> &str {
    match key {
        "DynamicPorts" => "Dynamic Port",
        "ReservedPorts" => "Static Port",
        _ => key.strip_suffix('s').unwrap_or(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let job_of = |image: &str, meta: Value| {
            let job = json!({
                "ID": "web", "Type": "service", "TaskGroups": [{
                    "Name": "g", "Count": 1, "Meta": meta,
                    "Tasks": [{"Name": "t", "Config": {"image": image}, "Env": {"A": "1"}}],
                }],
            });
            job.as_object().cloned().unwrap()
        };
        let none = BTreeMap::new();
        let old = job_of("a:1", json!(null));
        assert_eq!(
            job(Some(&old), &old, &none),
            json!({"Type": "None", "ID": "web", "Fields": [], "Objects": [], "TaskGroups": []})
        );
        let diff = job(Some(&old), &job_of("a:2", json!({"k": "v"})), &none);
        assert_eq!(
            diff,
            json!({
                "Type": "Edited", "ID": "web", "Fields": [], "Objects": [],
                "TaskGroups": [{
                    "Type": "Edited", "Name": "g", "Objects": [], "Updates": {},
                    "Fields": [{"Type": "Added", "Name": "Meta[k]", "Old": "", "New": "v", "Annotations": null}],
                    "Tasks": [{
                        "Type": "Edited", "Name": "t", "Fields": [], "Annotations": null,
                        "Objects": [{
                            "Type": "Edited", "Name": "Config", "Objects": [],
                            "Fields": [{"Type": "Edited", "Name": "image", "Old": "a:1", "New": "a:2", "Annotations": null}],
                        }],
                    }],
                }],
            })
        );
        assert_eq!(job(None, &old, &none).get("Type"), Some(&json!("Added")));
    }
}
