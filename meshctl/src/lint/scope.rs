//! What expressions of a job file mean: variables with their defaults, locals, and what Nomad fills in at run time.
//!
//! In: the file's body, values given on the command line. Out: values, or why there is none. Pure.
//!
//! `${NOMAD_…}` is Nomad's own and known only when an allocation runs; it stays in texts as it is written.
//! Deliberately absent: functions that read files or clocks, and most of the others: what uses them has no value here.

use std::collections::{BTreeMap, BTreeSet};

use hcl::Value;
use hcl::edit::expr::Expression;
use hcl::edit::structure::{Attribute, Body};
use hcl::eval::{Context, Evaluate, FuncArgs, FuncDef, ParamType};

/// What is known where an expression stands.
#[derive(Debug, Clone)]
pub struct Scope {
    context: Context<'static>,
}

impl Scope {
    /// The scope of a file; `given` are values of variables in place of their defaults.
    pub fn of_file(text: &str, body: &Body, given: &BTreeMap<String, String>) -> Self {
        let mut scope = Self { context: Context::new() };
        declare_functions(&mut scope.context);
        for name in runtime_names(text) {
            scope.context.declare_var(name, format!("${{{name}}}"));
        }
        scope.declare_variables(body, given);
        scope.declare_locals(body);
        scope
    }

    /// The same with one more name, such as the iterator of a `dynamic` block.
    #[must_use]
    pub fn with(&self, name: &str, value: Value) -> Self {
        let mut scope = self.clone();
        scope.context.declare_var(name, value);
        scope
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// Why it has none here: most often a variable without a default.
    pub fn value(&self, expression: &Expression) -> Result<Value, String> {
        hcl::Expression::from(expression.clone()).evaluate(&self.context).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            // A long expression is cut off at its first line and says nothing.
            line.trim_end_matches(" in expression `[").to_owned()
        })
    }

    fn declare_variables(&mut self, body: &Body, given: &BTreeMap<String, String>) {
        let mut values = hcl::Map::new();
        for block in body.get_blocks("variable") {
            let Some(name) = block.labels.first().map(|label| label.as_str()) else { continue };
            let attribute = |key| block.body.get_attribute(key).map(|own: &Attribute| &own.value);
            let is_text = attribute("type").is_none_or(|kind| kind.to_string().trim() == "string");
            let value = match (given.get(name), attribute("default")) {
                (Some(text), _) if is_text => Some(Value::from(text.as_str())),
                (Some(text), _) => Some(self.given(text)),
                (None, Some(default)) => self.value(default).ok(),
                (None, None) => None,
            };
            if let Some(value) = value {
                values.insert(name.to_owned(), value);
            }
        }
        self.context.declare_var("var", Value::Object(values));
    }

    /// A value from the command line for a variable that is no text; what is no expression is a text all the same.
    fn given(&self, text: &str) -> Value {
        let parsed = text.parse::<Expression>().ok();
        parsed
            .and_then(|expression| self.value(&expression).ok())
            .unwrap_or_else(|| Value::from(text))
    }

    /// Locals may name each other in any order: each round finds the values of those that need no unknown one.
    fn declare_locals(&mut self, body: &Body) {
        let attributes = || body.get_blocks("locals").flat_map(|block| block.body.attributes());
        let mut values = hcl::Map::new();
        loop {
            self.context.declare_var("local", Value::Object(values.clone()));
            let before = values.len();
            for attribute in attributes() {
                if let Ok(value) = self.value(&attribute.value) {
                    values.insert(attribute.key.as_str().to_owned(), value);
                }
            }
            if values.len() == before {
                return;
            }
        }
    }
}

/// The names of the variables that a file declares.
pub fn variables(body: &Body) -> BTreeSet<String> {
    let labels = body.get_blocks("variable").filter_map(|block| block.labels.first());
    labels.map(|label| label.as_str().to_owned()).collect()
}

/// Every name of Nomad's that the text uses.
fn runtime_names(text: &str) -> BTreeSet<&str> {
    let starts = text.match_indices("NOMAD_").map(|(at, _)| at);
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    starts
        .filter_map(|at| {
            let rest = text.get(at..)?;
            rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len()))
        })
        .collect()
}

fn declare_functions(context: &mut Context<'static>) {
    let any = || ParamType::Any;
    let functions: [(&'static str, FuncDef); 7] = [
        ("join", FuncDef::new(join, [ParamType::String, ParamType::array_of(any())])),
        ("concat", FuncDef::builder().variadic_param(ParamType::array_of(any())).build(concat)),
        ("lower", FuncDef::new(|args| text(&args, str::to_lowercase), [ParamType::String])),
        ("upper", FuncDef::new(|args| text(&args, str::to_uppercase), [ParamType::String])),
        ("tostring", FuncDef::new(to_string, [any()])),
        ("length", FuncDef::new(length, [any()])),
        ("toset", FuncDef::new(first, [any()])),
    ];
    for (name, function) in functions {
        context.declare_func(name, function);
    }
}

fn first(args: FuncArgs) -> Result<Value, String> {
    args.iter().next().cloned().ok_or_else(|| "no argument".to_owned())
}

fn join(args: FuncArgs) -> Result<Value, String> {
    let mut args = args.iter();
    let separator = args.next().and_then(Value::as_str).unwrap_or_default().to_owned();
    let items = args.next().and_then(Value::as_array).cloned().unwrap_or_default();
    let items: Option<Vec<String>> = items.iter().map(plain).collect();
    items.map(|items| items.join(&separator).into()).ok_or_else(|| "join of no texts".to_owned())
}

fn concat(args: FuncArgs) -> Result<Value, String> {
    Ok(Value::Array(args.iter().filter_map(Value::as_array).flatten().cloned().collect()))
}

fn text(args: &FuncArgs, change: fn(&str) -> String) -> Result<Value, String> {
    let own = args.iter().next().and_then(Value::as_str);
    own.map(|own| change(own).into()).ok_or_else(|| "no text".to_owned())
}

fn to_string(args: FuncArgs) -> Result<Value, String> {
    let own = args.iter().next().and_then(plain);
    own.map(Into::into).ok_or_else(|| "no text".to_owned())
}

fn length(args: FuncArgs) -> Result<Value, String> {
    match args.iter().next() {
        Some(Value::Array(items)) => Ok(items.len().into()),
        Some(Value::Object(map)) => Ok(map.len().into()),
        Some(Value::String(text)) => Ok(text.chars().count().into()),
        _ => Err("no length".to_owned()),
    }
}

/// A text, number or truth as a text.
pub fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, given: &[(&str, &str)]) -> Result<Value, String> {
        let body: Body = text.parse().unwrap();
        let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let scope = Scope::of_file(text, &body, &given.collect());
        scope.value(&body.get_attribute("it").unwrap().value)
    }

    #[test]
    fn variables_locals_and_functions_have_values_and_nomads_own_stay() {
        let text = r#"
variable "version" { default = "1" }
variable "planes" {
  type    = list(string)
  default = ["a:1", "b:2"]
}
locals {
  tag    = "v${local.number}"
  number = var.version
}
it = "${local.tag}@${NOMAD_ALLOC_ID} ${join(",", var.planes)} $${x}"
"#;
        assert_eq!(value(text, &[]), Ok(Value::from("v1@${NOMAD_ALLOC_ID} a:1,b:2 ${x}")));
        assert_eq!(
            value(text, &[("version", "2"), ("planes", r#"["c:3"]"#)]),
            Ok(Value::from("v2@${NOMAD_ALLOC_ID} c:3 ${x}"))
        );
    }

    #[test]
    fn what_hangs_on_a_variable_without_a_default_has_no_value() {
        let text = "variable \"system\" {}\nit = \"x-${var.system}\"\n";
        assert!(value(text, &[]).unwrap_err().contains("system"));
        assert_eq!(value(text, &[("system", "trading")]), Ok(Value::from("x-trading")));
    }
}
