//! The functions of job files that are known here: those that jobs build names, lists and addresses with.
//!
//! In: values. Out: values, or why there is none. Pure.
//!
//! **Invariant**: a function that is known gives what Nomad's gives; one that is not makes its expression unknown, with
//! its name. A number or a truth is a text where a text is wanted.

use hcl::Value;
use hcl::eval::{Context, Func, FuncArgs, FuncDef, ParamType};

use crate::kinds;
use crate::scope::plain;

mod collections;
mod numbers;
mod texts;

/// How many arguments a function takes.
enum Takes {
    /// So many.
    Just(usize),
    /// So many or more.
    Least(usize),
}

use Takes::{Just, Least};

/// A function: its name, its arguments, itself.
type Row = (&'static str, Takes, Func);

/// Declares all of them.
pub(crate) fn declare(context: &mut Context<'static>) {
    let all = [texts::ALL, collections::ALL, numbers::ALL];
    for (name, takes, function) in all.into_iter().flatten() {
        let (count, is_variadic) = match takes {
            Just(count) => (*count, false),
            Least(count) => (*count, true),
        };
        let builder = FuncDef::builder().params(std::iter::repeat_n(ParamType::Any, count));
        let builder = if is_variadic { builder.variadic_param(ParamType::Any) } else { builder };
        context.declare_func(*name, builder.build(*function));
    }
}

fn value(args: &FuncArgs, at: usize) -> &Value {
    args.get(at).unwrap_or(&Value::Null)
}

/// An argument as a text.
fn text(args: &FuncArgs, at: usize) -> Result<String, String> {
    plain(value(args, at)).ok_or_else(|| format!("argument {}: string required", at + 1))
}

fn list(args: &FuncArgs, at: usize) -> Result<&Vec<Value>, String> {
    value(args, at).as_array().ok_or_else(|| format!("argument {}: list required", at + 1))
}

fn map(args: &FuncArgs, at: usize) -> Result<&hcl::Map<String, Value>, String> {
    value(args, at).as_object().ok_or_else(|| format!("argument {}: map required", at + 1))
}

/// An argument as a number.
fn number(args: &FuncArgs, at: usize) -> Result<f64, String> {
    let number = kinds::number(value(args, at)).as_ref().and_then(Value::as_f64);
    number.ok_or_else(|| format!("argument {}: a number is required", at + 1))
}

/// An argument as a place or a count.
fn whole(args: &FuncArgs, at: usize) -> Result<i64, String> {
    let number = kinds::number(value(args, at)).as_ref().and_then(Value::as_i64);
    number.ok_or_else(|| format!("argument {}: a whole number is required", at + 1))
}

/// A list of texts.
fn texts(items: &[Value]) -> Result<Vec<String>, String> {
    let items: Option<Vec<String>> = items.iter().map(plain).collect();
    items.ok_or_else(|| "an item is no text".to_owned())
}

#[cfg(test)]
mod tests {
    use hcl::Expression;
    use hcl::eval::Evaluate;

    use super::*;

    const CALLS: &[(&str, &str)] = &[
        (r#"coalesce(null, "", "a")"#, r#""a""#),
        (r#"concat(["a"], ["b"])"#, r#"["a", "b"]"#),
        (r#"contains(["a"], "b")"#, "false"),
        (r#"join(",", ["a", 1, true])"#, r#""a,1,true""#),
        (r#"length({a = 1, b = 2})"#, "2"),
        (r#"lower("A")"#, r#""a""#),
        (r#"merge({a = 1, b = 1}, {b = 2})"#, "{a = 1, b = 2}"),
        (r#"replace("a.b", ".", "-")"#, r#""a-b""#),
        (r#"replace("a1b22", "/[0-9]+/", "x")"#, r#""axbx""#),
        (r#"replace("ab", "/(a)(b)/", "$2$1")"#, r#""ba""#),
        (r#"split(",", "a,b")"#, r#"["a", "b"]"#),
        (r#"toset(["b", "a", "b"])"#, r#"["a", "b"]"#),
        (r#"tostring(8080)"#, r#""8080""#),
        (r#"tonumber("8080")"#, "8080"),
        (r#"trimspace(" a ")"#, r#""a""#),
        (r#"upper("a")"#, r#""A""#),
        (
            r#"format("%s-%03d-%v-%q %5.1f%%", "a", 7, true, "b", 2.25)"#,
            r#""a-007-true-\"b\"   2.2%""#,
        ),
        (r#"format("%-4s|%4s|%x", "a", "b", 255)"#, r#""a   |   b|ff""#),
        (r#"lookup({a = 1}, "b", 2)"#, "2"),
        (r#"jsonencode({b = [1, null], a = "x"})"#, r#""{\"a\":\"x\",\"b\":[1,null]}""#),
        (r#"jsondecode("{\"a\": [1.5, true]}")"#, "{a = [1.5, true]}"),
        (r#"keys({b = 1, a = 2})"#, r#"["a", "b"]"#),
        (r#"values({b = 1, a = 2})"#, "[2, 1]"),
        (r#"flatten([["a"], [["b"], "c"]])"#, r#"["a", "b", "c"]"#),
        (r#"distinct(["a", "b", "a"])"#, r#"["a", "b"]"#),
        (r#"compact(["a", "", "b"])"#, r#"["a", "b"]"#),
        (r#"element(["a", "b"], 3)"#, r#""b""#),
        (r#"slice(["a", "b", "c"], 1, 2)"#, r#"["b"]"#),
        (r#"sort(["b", "a"])"#, r#"["a", "b"]"#),
        (r#"reverse(["b", "a"])"#, r#"["a", "b"]"#),
        (r#"zipmap(["a"], [1])"#, "{a = 1}"),
        (r#"range(3)"#, "[0, 1, 2]"),
        (r#"range(-2)"#, "[0, -1]"),
        (r#"range(1, 4)"#, "[1, 2, 3]"),
        (r#"range(4, 1)"#, "[4, 3, 2]"),
        (r#"range(0, 5, 2)"#, "[0, 2, 4]"),
        (r#"range(5, 0, -2)"#, "[5, 3, 1]"),
        (r#"range(2, 2)"#, "[]"),
        (r#"substr("abcd", 1, 2)"#, r#""bc""#),
        (r#"trimprefix("v1", "v")"#, r#""1""#),
        (r#"trimsuffix("a.gz", ".gz")"#, r#""a""#),
        (r#"title("a b")"#, r#""A B""#),
        (r#"indent(2, "a\nb")"#, r#""a\n  b""#),
        (r#"base64encode("a")"#, r#""YQ==""#),
        (r#"base64decode("YQ==")"#, r#""a""#),
        (r#"max(1, 3, 2)"#, "3"),
        (r#"min(4, 3)"#, "3"),
        (r#"ceil(1.2)"#, "2"),
        (r#"floor(1.8)"#, "1"),
        (r#"abs(-2)"#, "2"),
    ];

    #[test]
    fn functions_give_what_nomads_give() {
        let mut context = Context::new();
        declare(&mut context);
        for (call, value) in CALLS {
            let of = |text: &str| text.parse::<Expression>().unwrap().evaluate(&context);
            assert_eq!(of(call).unwrap(), of(value).unwrap(), "{call}");
        }
    }

    #[test]
    fn what_is_no_function_or_has_wrong_arguments_is_named() {
        let mut context = Context::new();
        declare(&mut context);
        for (call, words) in [
            ("try(1)", "undefined function `try`"),
            (r#"upper(["a"])"#, "argument 1: string required"),
            (r#"lookup({}, "a")"#, "the map has no key \"a\""),
            (r#"format("%d", "x")"#, "a whole number is required"),
            (r#"tonumber("x")"#, "a number is required"),
            (r#"format("%99999s", "x")"#, "wider than 1000 places"),
            (r#"format("%.99999f", 1)"#, "wider than 1000 places"),
            (r#"format("%9999999999999999999999s", "x")"#, "wider than 1000 places"),
            (r#"indent(9000000000000000000, "x")"#, "wider than 1000 places"),
            (r#"range(4, 1, 1)"#, "a step of 1 does not lead from 4 to 1"),
            (r#"range(1, 4, 0)"#, "a step of 0 does not lead from 1 to 4"),
        ] {
            let error = call.parse::<Expression>().unwrap().evaluate(&context).unwrap_err();
            assert!(error.to_string().contains(words), "{call}: {error}");
        }
    }
}
