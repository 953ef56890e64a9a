//! What expressions of a job file mean: variables, locals, functions, and what Nomad fills in at run time.
//!
//! In: the file's body, values given from outside. Out: values, or why there is none. Pure.
//!
//! `${NOMAD_…}` is Nomad's own and known only when an allocation runs; it stays in texts as it is written. A strict scope
//! does so with every name that nobody declared, such as `${attr.kernel.name}`, because Nomad does.
//!
//! **Invariant**: a name that a file declares never stays as it is written: it has a value, or the expression has none.

use std::collections::{BTreeMap, BTreeSet};

use hcl::Value;
use hcl::edit::expr::{Expression, ForExpr};
use hcl::edit::structure::{Attribute, Body};
use hcl::edit::visit_mut::{self, VisitMut};
use hcl::edit::{Decorated, Ident};
use hcl::eval::{Context, Evaluate};

use crate::functions;
use crate::inputs::{self, Inputs};
use crate::source::{Problem, Source};

/// Which names stay in a text as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// `NOMAD_…` alone.
    Runtime,
    /// All that the file does not declare.
    Undeclared,
}

/// What is known where an expression stands.
#[derive(Debug, Clone)]
pub struct Scope {
    context: Context<'static>,
    declared: BTreeSet<String>,
    keeps: Keeps,
}

impl Scope {
    fn new(keeps: Keeps) -> Self {
        let mut scope = Self { context: Context::new(), declared: BTreeSet::new(), keeps };
        functions::declare(&mut scope.context);
        scope
    }

    /// The scope of a file; `given` are values of variables in place of their defaults. What cannot be known has no value.
    pub fn of_file(body: &Body, given: &BTreeMap<String, String>) -> Self {
        let mut scope = Self::new(Keeps::Runtime);
        scope.declare_variables(body, given);
        scope.declare_locals(body);
        scope
    }

    /// The scope of a file as Nomad has it: a variable has a value of its type.
    ///
    /// # Errors
    /// Every variable without a value, or with one of another type; inputs that no variable takes; locals without a value.
    pub fn strict(source: &Source, body: &Body, inputs: &Inputs) -> Result<Self, Vec<Problem>> {
        let mut scope = Self::new(Keeps::Undeclared);
        let values = inputs::values(source, body, inputs, &scope)?;
        scope.set("var", Value::Object(values));
        inputs::validate(source, body, &scope)?;
        let problems: Vec<Problem> = scope
            .declare_locals(body)
            .into_iter()
            .map(|(at, name, why)| {
                let (line, column) = source.place(at);
                Problem { line, column, message: format!("Unset local \"{name}\"; {why}") }
            })
            .collect();
        if problems.is_empty() { Ok(scope) } else { Err(problems) }
    }

    fn set(&mut self, name: &str, value: Value) {
        self.declared.insert(name.to_owned());
        self.context.declare_var(name, value);
    }

    /// The same with one more name, such as the iterator of a `dynamic` block.
    #[must_use]
    pub fn with(&self, name: &str, value: Value) -> Self {
        let mut scope = self.clone();
        scope.set(name, value);
        scope
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// Why it has none here: most often a variable without a default.
    pub fn value(&self, expression: &Expression) -> Result<Value, String> {
        let mut kept = Kept { scope: self, inner: Vec::new(), texts: Vec::new() };
        let mut expression = expression.clone();
        kept.visit_expr_mut(&mut expression);
        let texts = kept.texts;
        let with_texts = (!texts.is_empty()).then(|| {
            let mut context = self.context.clone();
            for (index, text) in texts.iter().enumerate() {
                context.declare_var(kept_name(index), format!("${{{text}}}"));
            }
            context
        });
        let context = with_texts.as_ref().unwrap_or(&self.context);
        hcl::Expression::from(expression).evaluate(context).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            // A long expression is cut off at its first line and says nothing.
            let mut line = line.trim_end_matches(" in expression `[").to_owned();
            for (index, text) in texts.iter().enumerate().rev() {
                line = line.replace(&kept_name(index), text);
            }
            line
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
        // Several at once, with their defaults alone.
        for attribute in body.get_blocks("variables").flat_map(|block| block.body.attributes()) {
            let name = attribute.key.as_str();
            let given = given.get(name).map(|text| self.given(text));
            if let Some(value) = given.or_else(|| self.value(&attribute.value).ok()) {
                values.insert(name.to_owned(), value);
            }
        }
        self.set("var", Value::Object(values));
    }

    /// A value from the command line for a variable that is no text; what is no expression is a text all the same.
    fn given(&self, text: &str) -> Value {
        let parsed = text.parse::<Expression>().ok();
        parsed
            .and_then(|expression| self.value(&expression).ok())
            .unwrap_or_else(|| Value::from(text))
    }

    /// Locals may name each other in any order: each round finds the values of those that need no unknown one. What is
    /// left has none: where it stands, its name, why.
    fn declare_locals(&mut self, body: &Body) -> Vec<(usize, String, String)> {
        use hcl::edit::Span as _;
        let attributes = || body.get_blocks("locals").flat_map(|block| block.body.attributes());
        let mut values = hcl::Map::new();
        loop {
            self.set("local", Value::Object(values.clone()));
            let (before, mut failed) = (values.len(), Vec::new());
            for attribute in attributes() {
                let name = attribute.key.as_str().to_owned();
                match self.value(&attribute.value) {
                    Ok(value) => drop(values.insert(name, value)),
                    Err(why) => {
                        let at = attribute.span().map_or(0, |span| span.start);
                        failed.push((at, name, why));
                    }
                }
            }
            if values.len() == before {
                return failed;
            }
        }
    }
}

/// Puts a name of ours in place of each name that stays as it is written.
struct Kept<'a> {
    scope: &'a Scope,
    /// The variables of the `for` expressions around.
    inner: Vec<String>,
    /// What was written, by the number in our name.
    texts: Vec<String>,
}

fn kept_name(index: usize) -> String {
    format!("kept_as_written_{index}_")
}

impl Kept<'_> {
    fn stays(&self, name: &str) -> bool {
        if self.scope.declared.contains(name) || self.inner.iter().any(|own| own == name) {
            return false;
        }
        self.scope.keeps == Keeps::Undeclared || name.starts_with("NOMAD_")
    }
}

impl VisitMut for Kept<'_> {
    fn visit_expr_mut(&mut self, node: &mut Expression) {
        let root = match node {
            Expression::Variable(name) => Some(name.as_str().to_owned()),
            Expression::Traversal(traversal) => {
                traversal.expr.as_variable().map(|name| name.as_str().to_owned())
            }
            _ => None,
        };
        if root.is_some_and(|root| self.stays(&root)) {
            let name = kept_name(self.texts.len());
            self.texts.push(node.to_string().trim().to_owned());
            *node = Expression::Variable(Decorated::new(Ident::new_sanitized(name)));
            return;
        }
        visit_mut::visit_expr_mut(self, node);
    }

    fn visit_for_expr_mut(&mut self, node: &mut ForExpr) {
        let before = self.inner.len();
        self.visit_expr_mut(&mut node.intro.collection_expr);
        self.inner.push(node.intro.value_var.as_str().to_owned());
        self.inner.extend(node.intro.key_var.as_ref().map(|name| name.as_str().to_owned()));
        for inner in node.key_expr.iter_mut().chain([&mut node.value_expr]) {
            self.visit_expr_mut(inner);
        }
        if let Some(condition) = &mut node.cond {
            self.visit_expr_mut(&mut condition.expr);
        }
        self.inner.truncate(before);
    }
}

/// The names of the variables that a file declares.
pub fn variables(body: &Body) -> BTreeSet<String> {
    let labels = body.get_blocks("variable").filter_map(|block| block.labels.first());
    let several = body.get_blocks("variables").flat_map(|block| block.body.attributes());
    let several = several.map(|attribute| attribute.key.as_str().to_owned());
    labels.map(|label| label.as_str().to_owned()).chain(several).collect()
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
        let scope = Scope::of_file(&body, &given.collect());
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
variables {
  track = "stable"
}
it = "${local.tag}@${NOMAD_ALLOC_ID} ${join(",", var.planes)} ${upper(var.track)} $${x}"
"#;
        assert_eq!(value(text, &[]), Ok(Value::from("v1@${NOMAD_ALLOC_ID} a:1,b:2 STABLE ${x}")));
        assert_eq!(
            value(text, &[("version", "2"), ("planes", r#"["c:3"]"#), ("track", "canary")]),
            Ok(Value::from("v2@${NOMAD_ALLOC_ID} c:3 CANARY ${x}"))
        );
    }

    #[test]
    fn what_hangs_on_a_variable_without_a_default_has_no_value() {
        let text = "variable \"system\" {}\nit = \"x-${var.system}\"\n";
        assert!(value(text, &[]).unwrap_err().contains("system"));
        assert_eq!(value(text, &[("system", "trading")]), Ok(Value::from("x-trading")));
    }

    #[test]
    fn a_strict_scope_keeps_every_name_that_nobody_declared() {
        let text =
            r#"it = ["${attr.kernel.name}-x", node.class, [for own in ["a"] : "${own}${meta.y}"]]"#;
        let body: Body = text.parse().unwrap();
        let source = Source { name: String::new(), text: text.to_owned() };
        let scope = Scope::strict(&source, &body, &Inputs::default()).unwrap();
        let found = scope.value(&body.get_attribute("it").unwrap().value).unwrap();
        let wanted = r#"["${attr.kernel.name}-x","${node.class}",["a${meta.y}"]]"#;
        assert_eq!(serde_json::to_string(&found).unwrap(), wanted);
    }
}
