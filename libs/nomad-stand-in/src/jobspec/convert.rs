//! An argument's value → JSON of the type that its table names.
//!
//! In: a value, a kind. Out: JSON, or why it does not fit. Pure. Texts, numbers and truths become each other as in HCL2:
//! "3" is a number where one is wanted, 3 a text.

use ::jobspec::{Value as Hcl, duration, scope};
use serde_json::{Map, Value, json};

use super::table::Kind;

/// The value as this kind; `None`: it is `null`, as if it were not there.
pub(super) fn value(value: &Hcl, kind: Kind) -> Result<Option<Value>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let wanted = |what: &str| format!("Unsuitable value type; Unsuitable value: {what} required");
    let text = |own: &Hcl| scope::plain(own).ok_or_else(|| wanted("string"));
    let found = match kind {
        Kind::Any => json(value),
        Kind::Text => text(value)?.into(),
        Kind::Truth => match scope::plain(value).as_deref() {
            Some("true") => true.into(),
            Some("false") => false.into(),
            _ => return Err(wanted("a bool is")),
        },
        Kind::Whole => {
            let own = scope::plain(value).and_then(|own| own.parse::<i64>().ok());
            own.ok_or_else(|| wanted("a number is"))?.into()
        }
        Kind::Duration => nanos(value)?,
        Kind::Texts => {
            let items = value.as_array().ok_or_else(|| wanted("list of string"))?;
            items.iter().map(text).collect::<Result<Vec<_>, _>>()?.into()
        }
        Kind::Map => texts(value)?,
    };
    Ok(Some(found))
}

/// An object of texts; what is `null` in it is not there.
pub(super) fn texts(value: &Hcl) -> Result<Value, String> {
    let wanted = || "Unsuitable value type; Unsuitable value: map of string required".to_owned();
    let mut found = Map::new();
    for (key, own) in value.as_object().ok_or_else(wanted)?.iter().filter(|(_, own)| !own.is_null())
    {
        found.insert(key.clone(), scope::plain(own).ok_or_else(wanted)?.into());
    }
    Ok(Value::Object(found))
}

fn nanos(value: &Hcl) -> Result<Value, String> {
    if let Hcl::Number(number) = value {
        let nanos = number.as_i64();
        return nanos.map(Value::from).ok_or_else(|| unsuitable(&number.to_string()));
    }
    let text = value.as_str().ok_or_else(|| unsuitable(&value.to_string()))?;
    let (sign, length) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let nanos = duration::parse(length).and_then(|own| i64::try_from(own.as_nanos()).ok());
    nanos.map(|own| json!(sign * own)).ok_or_else(|| unsuitable(text))
}

fn unsuitable(text: &str) -> String {
    format!("Unsuitable duration value; Unsuitable duration value: time: invalid duration {text:?}")
}

/// Any value as JSON, without what is `null`.
pub(super) fn json(value: &Hcl) -> Value {
    match value {
        Hcl::Null => Value::Null,
        Hcl::Bool(own) => (*own).into(),
        Hcl::Number(own) => serde_json::to_value(own).unwrap_or_default(),
        Hcl::String(own) => own.as_str().into(),
        Hcl::Array(items) => items.iter().map(json).collect(),
        Hcl::Object(items) => {
            let present = items.iter().filter(|(_, own)| !own.is_null());
            Value::Object(present.map(|(key, own)| (key.clone(), json(own))).collect())
        }
    }
}
