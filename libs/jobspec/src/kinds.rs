//! Types of variables, and values made to fit them.
//!
//! In: a type as it is written, a value. Out: the value as one of this type, or why it is none. Pure.
//!
//! Deliberately absent: sets as a type of their own; they are lists without repetition, in order.

use std::collections::BTreeMap;

use hcl::Value;
use hcl::edit::expr::{Expression, ObjectKey};

use crate::scope::plain;

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    Text,
    Number,
    Truth,
    List(Box<Self>),
    Set(Box<Self>),
    Map(Box<Self>),
    /// Attributes; `true`: it may be absent.
    Object(BTreeMap<String, (Self, bool)>),
    Tuple(Vec<Self>),
}

impl Kind {
    /// Reads `string`, `list(number)`, `object({ a = string })` and so on.
    pub(crate) fn read(expression: &Expression) -> Result<Self, String> {
        let unknown =
            || format!("Invalid type specification; {} is no type", expression.to_string().trim());
        if let Some(name) = expression.as_variable() {
            return match name.as_str() {
                "any" => Ok(Self::Any),
                "string" => Ok(Self::Text),
                "number" => Ok(Self::Number),
                "bool" => Ok(Self::Truth),
                "list" => Ok(Self::List(Box::new(Self::Any))),
                "map" => Ok(Self::Map(Box::new(Self::Any))),
                _ => Err(unknown()),
            };
        }
        let call = expression.as_func_call().ok_or_else(unknown)?;
        let argument = call.args.iter().next().ok_or_else(unknown)?;
        let inner = || Self::read(argument).map(Box::new);
        match call.name.name.as_str() {
            "list" => inner().map(Self::List),
            "set" => inner().map(Self::Set),
            "map" => inner().map(Self::Map),
            "tuple" => {
                let items = argument.as_array().ok_or_else(unknown)?;
                items.iter().map(Self::read).collect::<Result<_, _>>().map(Self::Tuple)
            }
            "object" => {
                let object = argument.as_object().ok_or_else(unknown)?;
                let attribute = |(key, value): (&ObjectKey, &hcl::edit::expr::ObjectValue)| {
                    let name = key.as_ident().ok_or_else(unknown)?.as_str().to_owned();
                    let own = value.expr();
                    let optional =
                        own.as_func_call().filter(|call| call.name.name.as_str() == "optional");
                    let kind = optional.and_then(|call| call.args.iter().next()).unwrap_or(own);
                    Ok((name, (Self::read(kind)?, optional.is_some())))
                };
                object.iter().map(attribute).collect::<Result<_, _>>().map(Self::Object)
            }
            _ => Err(unknown()),
        }
    }

    /// The value as one of this type.
    pub(crate) fn fit(&self, value: Value) -> Result<Value, String> {
        if value.is_null() || *self == Self::Any {
            return Ok(value);
        }
        match (self, value) {
            (Self::Text, value) => {
                plain(&value).map(Value::from).ok_or_else(|| "string required".to_owned())
            }
            (Self::Number, value) => {
                number(&value).ok_or_else(|| "a number is required".to_owned())
            }
            (Self::Truth, value) => match plain(&value).as_deref() {
                Some("true") => Ok(true.into()),
                Some("false") => Ok(false.into()),
                _ => Err("a bool is required".to_owned()),
            },
            (Self::List(kind), Value::Array(items)) => fit_all(kind, items).map(Value::Array),
            (Self::Set(kind), Value::Array(items)) => {
                let mut items = fit_all(kind, items)?;
                items.sort_by_key(ToString::to_string);
                items.dedup();
                Ok(Value::Array(items))
            }
            (Self::Map(kind), Value::Object(items)) => items
                .into_iter()
                .map(|(key, value)| Ok((key, kind.fit(value)?)))
                .collect::<Result<_, String>>()
                .map(Value::Object),
            (Self::Tuple(kinds), Value::Array(items)) if kinds.len() == items.len() => {
                let fitted = kinds.iter().zip(items).map(|(kind, item)| kind.fit(item));
                fitted.collect::<Result<_, _>>().map(Value::Array)
            }
            (Self::Object(kinds), Value::Object(mut items)) => {
                let mut fitted = hcl::Map::new();
                for (name, (kind, is_optional)) in kinds {
                    match items.swap_remove(name) {
                        Some(value) => drop(fitted.insert(name.clone(), kind.fit(value)?)),
                        None if *is_optional => drop(fitted.insert(name.clone(), Value::Null)),
                        None => return Err(format!("attribute \"{name}\" is required")),
                    }
                }
                Ok(Value::Object(fitted))
            }
            _ => Err(format!("{} is required", self.named())),
        }
    }

    const fn named(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Text => "string",
            Self::Number => "a number",
            Self::Truth => "a bool",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::Map(_) => "map",
            Self::Object(_) => "object",
            Self::Tuple(_) => "tuple",
        }
    }
}

fn fit_all(kind: &Kind, items: Vec<Value>) -> Result<Vec<Value>, String> {
    items.into_iter().map(|item| kind.fit(item)).collect()
}

/// A number, or a text that is one.
pub(crate) fn number(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::String(text) => {
            let whole = text.parse::<i64>().ok().map(Value::from);
            whole.or_else(|| hcl::Number::from_f64(text.parse().ok()?).map(Value::Number))
        }
        _ => None,
    }
}
