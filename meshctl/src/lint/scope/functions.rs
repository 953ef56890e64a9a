//! The functions of job files that are known here: those that jobs build names, lists and addresses with.
//!
//! In: values. Out: values, or why there is none. Pure.
//!
//! **Invariant**: a function that is known gives what Nomad's gives; one that is not makes its expression unknown.

use hcl::Value;
use hcl::eval::{Context, FuncArgs, FuncDef, ParamType};

use super::plain;

/// Declares all of them.
pub(super) fn declare(context: &mut Context<'static>) {
    let (any, text) = (|| ParamType::Any, || ParamType::String);
    let list = || ParamType::array_of(ParamType::Any);
    let functions: [(&'static str, FuncDef); 13] = [
        ("coalesce", FuncDef::builder().variadic_param(any()).build(coalesce)),
        ("concat", FuncDef::builder().variadic_param(list()).build(concat)),
        ("contains", FuncDef::new(contains, [list(), any()])),
        ("join", FuncDef::new(join, [text(), list()])),
        ("length", FuncDef::new(length, [any()])),
        ("lower", FuncDef::new(|args| changed(&args, str::to_lowercase), [text()])),
        ("merge", FuncDef::builder().variadic_param(ParamType::object_of(any())).build(merge)),
        ("replace", FuncDef::new(replace, [text(), text(), text()])),
        ("split", FuncDef::new(split, [text(), text()])),
        ("toset", FuncDef::new(to_set, [list()])),
        ("tostring", FuncDef::new(to_string, [any()])),
        ("trimspace", FuncDef::new(|args| changed(&args, |own| own.trim().to_owned()), [text()])),
        ("upper", FuncDef::new(|args| changed(&args, str::to_uppercase), [text()])),
    ];
    for (name, function) in functions {
        context.declare_func(name, function);
    }
}

/// The first that is neither null nor an empty text.
fn coalesce(args: FuncArgs) -> Result<Value, String> {
    let is_one = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    args.iter().find(is_one).cloned().ok_or_else(|| "nothing to choose".to_owned())
}

fn concat(args: FuncArgs) -> Result<Value, String> {
    Ok(Value::Array(args.iter().filter_map(Value::as_array).flatten().cloned().collect()))
}

fn contains(args: FuncArgs) -> Result<Value, String> {
    let (list, value) = (args.first().and_then(Value::as_array), args.get(1));
    Ok(Value::Bool(list.into_iter().flatten().any(|own| Some(own) == value)))
}

fn join(args: FuncArgs) -> Result<Value, String> {
    let items = args.get(1).and_then(Value::as_array).into_iter().flatten();
    let items: Option<Vec<String>> = items.map(plain).collect();
    let items = items.ok_or_else(|| "join of what is no text".to_owned())?;
    Ok(items.join(text(&args, 0)).into())
}

fn length(args: FuncArgs) -> Result<Value, String> {
    match args.first() {
        Some(Value::Array(items)) => Ok(items.len().into()),
        Some(Value::Object(map)) => Ok(map.len().into()),
        Some(Value::String(text)) => Ok(text.chars().count().into()),
        _ => Err("it has no length".to_owned()),
    }
}

/// The last of several equal keys wins.
fn merge(args: FuncArgs) -> Result<Value, String> {
    let maps = args.iter().filter_map(Value::as_object).flatten();
    Ok(Value::Object(maps.map(|(key, value)| (key.clone(), value.clone())).collect()))
}

/// A text between slashes is a regular expression for Nomad, and unknown here.
fn replace(args: FuncArgs) -> Result<Value, String> {
    let from = text(&args, 1);
    if from.len() > 1 && from.starts_with('/') && from.ends_with('/') {
        return Err("replace by a regular expression is not known here".to_owned());
    }
    Ok(text(&args, 0).replace(from, text(&args, 2)).into())
}

fn split(args: FuncArgs) -> Result<Value, String> {
    Ok(Value::Array(text(&args, 1).split(text(&args, 0)).map(Value::from).collect()))
}

/// Sorted, as a set of texts is gone through.
fn to_set(args: FuncArgs) -> Result<Value, String> {
    let items = args.first().and_then(Value::as_array).into_iter().flatten();
    let texts: Option<std::collections::BTreeSet<String>> = items.map(plain).collect();
    let texts = texts.ok_or_else(|| "a set of what is no text".to_owned())?;
    Ok(Value::Array(texts.into_iter().map(Value::from).collect()))
}

fn to_string(args: FuncArgs) -> Result<Value, String> {
    args.first().and_then(plain).map(Into::into).ok_or_else(|| "it is no text".to_owned())
}

fn changed(args: &FuncArgs, change: fn(&str) -> String) -> Result<Value, String> {
    Ok(change(text(args, 0)).into())
}

/// An argument that was declared as a text.
fn text(args: &FuncArgs, at: usize) -> &str {
    args.get(at).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use hcl::Expression;
    use hcl::eval::Evaluate;

    use super::*;

    #[test]
    fn functions_give_what_nomads_give() {
        let mut context = Context::new();
        declare(&mut context);
        for (call, value) in [
            (r#"coalesce(null, "", "a")"#, r#""a""#),
            (r#"concat(["a"], ["b"])"#, r#"["a", "b"]"#),
            (r#"contains(["a"], "b")"#, "false"),
            (r#"join(",", ["a", 1, true])"#, r#""a,1,true""#),
            (r#"length({a = 1, b = 2})"#, "2"),
            (r#"lower("A")"#, r#""a""#),
            (r#"merge({a = 1, b = 1}, {b = 2})"#, "{a = 1, b = 2}"),
            (r#"replace("a.b", ".", "-")"#, r#""a-b""#),
            (r#"split(",", "a,b")"#, r#"["a", "b"]"#),
            (r#"toset(["b", "a", "b"])"#, r#"["a", "b"]"#),
            (r#"tostring(8080)"#, r#""8080""#),
            (r#"trimspace(" a ")"#, r#""a""#),
            (r#"upper("a")"#, r#""A""#),
        ] {
            let of = |text: &str| text.parse::<Expression>().unwrap().evaluate(&context);
            assert_eq!(of(call).unwrap(), of(value).unwrap(), "{call}");
        }
        let regular = r#"replace("a", "/a/", "b")"#.parse::<Expression>().unwrap();
        assert!(regular.evaluate(&context).is_err());
    }
}
