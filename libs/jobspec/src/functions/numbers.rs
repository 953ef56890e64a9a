//! Functions of numbers and truths.
//!
//! In: values. Out: values, or why there is none. Pure. A result without a fraction is a whole number.

use hcl::Value;
use hcl::eval::FuncArgs;

use super::{Just, Least, Row, number, text, value};
use crate::kinds;

pub(super) const ALL: &[Row] = &[
    ("abs", Just(1), |args| written(number(&args, 0)?.abs())),
    ("ceil", Just(1), |args| written(number(&args, 0)?.ceil())),
    ("floor", Just(1), |args| written(number(&args, 0)?.floor())),
    ("max", Least(1), |args| folded(&args, f64::max)),
    ("min", Least(1), |args| folded(&args, f64::min)),
    ("tobool", Just(1), |args| truth(&args)),
    ("tonumber", Just(1), |args| to_number(&args)),
];

fn folded(args: &FuncArgs, choose: fn(f64, f64) -> f64) -> Result<Value, String> {
    let mut best = number(args, 0)?;
    for at in 1..args.len() {
        best = choose(best, number(args, at)?);
    }
    written(best)
}

fn written(number: f64) -> Result<Value, String> {
    // `{}` writes a whole float without a fraction.
    kinds::number(&Value::from(number.to_string()))
        .ok_or_else(|| "it is no finite number".to_owned())
}

fn truth(args: &FuncArgs) -> Result<Value, String> {
    match text(args, 0)?.as_str() {
        "true" => Ok(true.into()),
        "false" => Ok(false.into()),
        _ => Err("a bool is required".to_owned()),
    }
}

fn to_number(args: &FuncArgs) -> Result<Value, String> {
    kinds::number(value(args, 0)).ok_or_else(|| "a number is required".to_owned())
}
