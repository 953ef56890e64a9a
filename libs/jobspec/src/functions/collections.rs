//! Functions of lists and maps.
//!
//! In: values. Out: values, or why there is none. Pure.

use std::collections::BTreeSet;

use hcl::Value;
use hcl::eval::FuncArgs;

use super::{Just, Least, Row, list, map, text, texts, value, whole};

pub(super) const ALL: &[Row] = &[
    ("coalesce", Least(1), |args| coalesce(&args)),
    ("compact", Just(1), |args| compact(&args)),
    ("concat", Least(1), |args| concat(&args)),
    ("contains", Just(2), |args| Ok(list(&args, 0)?.contains(value(&args, 1)).into())),
    ("distinct", Just(1), |args| distinct(&args)),
    ("element", Just(2), |args| element(&args)),
    ("flatten", Just(1), |args| Ok(Value::Array(flat(list(&args, 0)?)))),
    ("keys", Just(1), |args| {
        Ok(Value::Array(sorted(&args)?.map(|(key, _)| key.as_str().into()).collect()))
    }),
    ("length", Just(1), |args| length(&args)),
    ("lookup", Least(2), |args| lookup(&args)),
    ("merge", Least(1), |args| merge(&args)),
    ("range", Least(1), |args| range(&args)),
    ("reverse", Just(1), |args| Ok(Value::Array(list(&args, 0)?.iter().rev().cloned().collect()))),
    ("slice", Just(3), |args| slice(&args)),
    ("sort", Just(1), |args| sort(&args)),
    ("tolist", Just(1), |args| Ok(Value::Array(list(&args, 0)?.clone()))),
    ("tomap", Just(1), |args| Ok(Value::Object(map(&args, 0)?.clone()))),
    ("toset", Just(1), |args| to_set(&args)),
    ("values", Just(1), |args| {
        Ok(Value::Array(sorted(&args)?.map(|(_, own)| own.clone()).collect()))
    }),
    ("zipmap", Just(2), |args| zip(&args)),
];

/// A map's entries in the order of its keys.
fn sorted(args: &FuncArgs) -> Result<impl Iterator<Item = (&String, &Value)>, String> {
    let mut items: Vec<(&String, &Value)> = map(args, 0)?.iter().collect();
    items.sort_by_key(|(key, _)| *key);
    Ok(items.into_iter())
}

/// The first that is neither null nor an empty text.
fn coalesce(args: &FuncArgs) -> Result<Value, String> {
    let is_one = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    args.iter().find(is_one).cloned().ok_or_else(|| "nothing to choose".to_owned())
}

fn compact(args: &FuncArgs) -> Result<Value, String> {
    let is_one = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    Ok(Value::Array(list(args, 0)?.iter().filter(is_one).cloned().collect()))
}

fn concat(args: &FuncArgs) -> Result<Value, String> {
    let mut all = Vec::new();
    for at in 0..args.len() {
        all.extend(list(args, at)?.iter().cloned());
    }
    Ok(Value::Array(all))
}

fn distinct(args: &FuncArgs) -> Result<Value, String> {
    let mut found: Vec<Value> = Vec::new();
    for item in list(args, 0)? {
        if !found.contains(item) {
            found.push(item.clone());
        }
    }
    Ok(Value::Array(found))
}

/// The index counts on from the start beyond the end.
fn element(args: &FuncArgs) -> Result<Value, String> {
    let items = list(args, 0)?;
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return Err("an element of an empty list".to_owned());
    }
    let at = usize::try_from(whole(args, 1)?.rem_euclid(count)).unwrap_or(0);
    items.get(at).cloned().ok_or_else(|| "no such element".to_owned())
}

fn flat(items: &[Value]) -> Vec<Value> {
    let one = |item: &Value| match item {
        Value::Array(inner) => flat(inner),
        other => vec![other.clone()],
    };
    items.iter().flat_map(one).collect()
}

fn length(args: &FuncArgs) -> Result<Value, String> {
    match value(args, 0) {
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::String(text) => Ok(text.chars().count().into()),
        _ => Err("it has no length".to_owned()),
    }
}

fn lookup(args: &FuncArgs) -> Result<Value, String> {
    let key = text(args, 1)?;
    let found = map(args, 0)?.get(&key).or_else(|| args.get(2));
    found.cloned().ok_or_else(|| format!("the map has no key {key:?}, and there is no default"))
}

/// The last of several equal keys wins; `null` is a map without keys.
fn merge(args: &FuncArgs) -> Result<Value, String> {
    let mut all = hcl::Map::new();
    for at in 0..args.len() {
        if !value(args, at).is_null() {
            all.extend(map(args, at)?.iter().map(|(key, own)| (key.clone(), own.clone())));
        }
    }
    Ok(Value::Object(all))
}

/// `range(end)`, `range(start, end)`, `range(start, end, step)`; without a step it counts towards the end.
fn range(args: &FuncArgs) -> Result<Value, String> {
    let (start, end) = match args.len() {
        1 => (0, whole(args, 0)?),
        _ => (whole(args, 0)?, whole(args, 1)?),
    };
    let towards = if end < start { -1 } else { 1 };
    let step = if args.len() > 2 { whole(args, 2)? } else { towards };
    if start != end && step.signum() != towards {
        return Err(format!("a step of {step} does not lead from {start} to {end}"));
    }
    let distance = end.abs_diff(start);
    let count = distance.div_ceil(step.unsigned_abs().max(1));
    if count > 1024 {
        return Err("more than 1024 values".to_owned());
    }
    Ok(Value::Array((0..count.cast_signed()).map(|at| Value::from(start + at * step)).collect()))
}

fn slice(args: &FuncArgs) -> Result<Value, String> {
    let place = |at| whole(args, at).map(|own| usize::try_from(own).unwrap_or(usize::MAX));
    let part = list(args, 0)?.get(place(1)?..place(2)?);
    Ok(Value::Array(part.ok_or_else(|| "beyond the end of the list".to_owned())?.to_vec()))
}

fn sort(args: &FuncArgs) -> Result<Value, String> {
    let mut items = texts(list(args, 0)?)?;
    items.sort();
    Ok(Value::Array(items.into_iter().map(Value::from).collect()))
}

/// Sorted, as a set of texts is gone through.
fn to_set(args: &FuncArgs) -> Result<Value, String> {
    let items: BTreeSet<String> = texts(list(args, 0)?)?.into_iter().collect();
    Ok(Value::Array(items.into_iter().map(Value::from).collect()))
}

fn zip(args: &FuncArgs) -> Result<Value, String> {
    let (keys, items) = (texts(list(args, 0)?)?, list(args, 1)?);
    if keys.len() != items.len() {
        return Err("as many keys as values are needed".to_owned());
    }
    Ok(Value::Object(keys.into_iter().zip(items.iter().cloned()).collect()))
}
