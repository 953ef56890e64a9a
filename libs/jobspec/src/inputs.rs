//! Values of variables that come from outside of a job file: flags, files, the environment.
//!
//! In: [`Inputs`], the file's `variable` blocks. Out: a value for each variable, of its type. Pure.
//!
//! **Invariant**: a later source wins: defaults, the environment, files in their order, flags. What is wrong is named all at
//! once. A value for a text, a number or a variable without type is the text itself; for other types it is an expression.

use hcl::Value;
use hcl::edit::Span as _;
use hcl::edit::expr::Expression;
use hcl::edit::structure::{Block, Body};

use crate::kinds::Kind;
use crate::scope::{Scope, plain, variables};
use crate::source::{Problem, Source};

/// What is given from outside.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// `NOMAD_VAR_x=…` without its prefix; what no variable takes is passed over.
    pub environment: Vec<(String, String)>,
    /// Files of `x = …`: name and text.
    pub files: Vec<(String, String)>,
    /// `-var x=…`.
    pub flags: Vec<(String, String)>,
    /// Whether a name in a file that no variable takes is an error.
    pub is_strict: bool,
}

/// What a source says of a variable.
enum Given {
    Text(String),
    Expression(Expression),
}

/// A variable as the file declares it.
struct Variable<'a> {
    name: String,
    at: usize,
    kind: Option<Kind>,
    default: Option<&'a Expression>,
}

impl Variable<'_> {
    fn value(&self, given: Option<&Given>, scope: &Scope) -> Result<Value, String> {
        let wrong = |why: String| format!("Invalid value for variable \"{}\"; {why}", self.name);
        let value = match (given, self.default) {
            (Some(Given::Text(text)), _) => match self.kind {
                None | Some(Kind::Text | Kind::Number) => Value::from(text.as_str()),
                _ => text
                    .parse::<Expression>()
                    .map_err(|_| wrong(format!("{text:?} is no expression")))
                    .and_then(|own| scope.value(&own).map_err(wrong))?,
            },
            (Some(Given::Expression(own)), _) => scope.value(own).map_err(wrong)?,
            (None, Some(default)) => scope.value(default).map_err(wrong)?,
            (None, None) => {
                return Err(format!(
                    "Unset variable \"{}\"; A used variable must be set or have a default value",
                    self.name
                ));
            }
        };
        self.kind.as_ref().unwrap_or(&Kind::Any).fit(value).map_err(|why| {
            let name = &self.name;
            format!("Invalid value for variable \"{name}\"; The value is not compatible with its type: {why}.")
        })
    }
}

/// The value of every variable of a file.
pub(crate) fn values(
    source: &Source,
    body: &Body,
    inputs: &Inputs,
    scope: &Scope,
) -> Result<hcl::Map<String, Value>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut given: Vec<(String, Given)> = Vec::new();
    let texts = |own: &Vec<(String, String)>| {
        let own = own.clone().into_iter();
        own.map(|(name, text)| (name, Given::Text(text))).collect::<Vec<_>>()
    };
    given.extend(texts(&inputs.environment));
    let names = variables(body);
    for (file, text) in &inputs.files {
        match crate::parse(text) {
            Err(problem) => problems.push(Problem {
                message: format!("{file}:{},{}: {}", problem.line, problem.column, problem.message),
                ..problem
            }),
            Ok(own) => {
                for attribute in own.attributes() {
                    let name = attribute.key.as_str().to_owned();
                    if inputs.is_strict && !names.contains(&name) {
                        problems.push(undefined(&name, &format!("in {file}")));
                    }
                    given.push((name, Given::Expression(attribute.value.clone())));
                }
            }
        }
    }
    for (name, _) in inputs.flags.iter().filter(|(name, _)| !names.contains(name)) {
        problems.push(undefined(name, "in the command line"));
    }
    given.extend(texts(&inputs.flags));
    let mut values = hcl::Map::new();
    for variable in declared(source, body, &mut problems) {
        let own = given.iter().rev().find(|(name, _)| *name == variable.name);
        match variable.value(own.map(|(_, own)| own), scope) {
            Ok(value) => drop(values.insert(variable.name, value)),
            Err(message) => problems.push(problem(source, variable.at, message)),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn undefined(name: &str, place: &str) -> Problem {
    let message = format!(
        "Undefined variable; A \"{name}\" variable was set {place} but was not found in known variables. To declare \
         variable \"{name}\", place a variable block in your job file"
    );
    Problem { line: 1, column: 1, message }
}

fn problem(source: &Source, at: usize, message: String) -> Problem {
    let (line, column) = source.place(at);
    Problem { line, column, message }
}

fn start(block: &Block) -> usize {
    block.span().map_or(0, |span| span.start)
}

/// The keys of a `variable` block.
const KEYS: [&str; 4] = ["default", "type", "description", "sensitive"];

fn declared<'a>(source: &Source, body: &'a Body, problems: &mut Vec<Problem>) -> Vec<Variable<'a>> {
    let mut found: Vec<Variable<'a>> = Vec::new();
    for block in body.get_blocks("variable") {
        let at = start(block);
        let Some(name) = block.labels.first().map(|label| label.as_str().to_owned()) else {
            problems.push(problem(source, at, "Missing name for variable".to_owned()));
            continue;
        };
        if found.iter().any(|own| own.name == name) {
            problems.push(problem(
                source,
                at,
                format!("Duplicate variable; \"{name}\" is declared twice"),
            ));
        }
        for own in block.body.attributes().filter(|own| !KEYS.contains(&own.key.as_str())) {
            let key = own.key.as_str();
            let message =
                format!("Unsupported argument; An argument named \"{key}\" is not expected here.");
            problems.push(problem(source, own.span().map_or(at, |span| span.start), message));
        }
        let attribute = |key| block.body.get_attribute(key).map(|own| &own.value);
        let kind = match attribute("type").map(Kind::read) {
            Some(Err(why)) => {
                problems.push(problem(source, at, why));
                None
            }
            Some(Ok(kind)) => Some(kind),
            None => None,
        };
        found.push(Variable { name, at, kind, default: attribute("default") });
    }
    for own in body.get_blocks("variables").flat_map(|block| block.body.attributes()) {
        let at = own.span().map_or(0, |span| span.start);
        let name = own.key.as_str().to_owned();
        found.push(Variable { name, at, kind: None, default: Some(&own.value) });
    }
    found
}

/// Holds the values against the `validation` blocks of their variables.
pub(crate) fn validate(source: &Source, body: &Body, scope: &Scope) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    let blocks = body.get_blocks("variable");
    for rule in blocks.flat_map(|block| block.body.get_blocks("validation")) {
        let value = |key| {
            let own = rule.body.get_attribute(key);
            let own =
                own.ok_or_else(|| format!("Missing required argument \"{key}\" of validation"));
            own.and_then(|own| scope.value(&own.value))
        };
        let message = match (value("condition"), value("error_message")) {
            (Ok(Value::Bool(true)), Ok(_)) => continue,
            (Ok(Value::Bool(false)), Ok(text)) => {
                format!("Invalid value for variable; {}", plain(&text).unwrap_or_default())
            }
            (Ok(_), Ok(_)) => {
                "Invalid variable validation result; The condition is neither true nor false"
                    .to_owned()
            }
            (Err(why), _) | (_, Err(why)) => why,
        };
        problems.push(problem(source, start(rule), message));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
variable "name" {}
variable "count" {
  type    = number
  default = 1
  validation {
    condition     = var.count < 10
    error_message = "At most nine."
  }
}
variable "planes" {
  type    = list(string)
  default = ["a"]
}
it = [var.name, var.count, var.planes]
"#;

    fn pairs(own: &[(&str, &str)]) -> Vec<(String, String)> {
        own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(inputs: &Inputs) -> Result<String, Vec<String>> {
        let source = Source { name: "job".to_owned(), text: FILE.to_owned() };
        let body = crate::parse(FILE).unwrap();
        let scope = Scope::strict(&source, &body, inputs)
            .map_err(|all| all.into_iter().map(|own| own.message).collect::<Vec<_>>())?;
        Ok(scope.value(&body.get_attribute("it").unwrap().value).unwrap().to_string())
    }

    #[test]
    fn flags_win_over_files_over_the_environment_over_defaults() {
        let inputs = Inputs {
            environment: pairs(&[("name", "env"), ("count", "2"), ("other", "x")]),
            files: pairs(&[("f", "name = \"file\"\nplanes = [\"b\", 3]")]),
            flags: pairs(&[("name", "flag")]),
            is_strict: true,
        };
        assert_eq!(
            read(&inputs).unwrap(),
            "[\n  \"flag\",\n  2,\n  [\n    \"b\",\n    \"3\"\n  ]\n]"
        );
    }

    #[test]
    fn all_that_is_wrong_with_variables_is_said_at_once() {
        let inputs = Inputs {
            flags: pairs(&[("nmae", "x"), ("count", "many"), ("planes", "a")]),
            ..Inputs::default()
        };
        let said = read(&inputs).unwrap_err().join("\n");
        for words in [
            "A \"nmae\" variable was set in the command line",
            "Unset variable \"name\"",
            "Invalid value for variable \"count\"; The value is not compatible with its type: a number is required.",
            "Invalid value for variable \"planes\"; The value is not compatible with its type: list is required.",
        ] {
            assert!(said.contains(words), "{words}\n{said}");
        }
        let inputs =
            Inputs { flags: pairs(&[("name", "x"), ("count", "12")]), ..Inputs::default() };
        assert_eq!(read(&inputs).unwrap_err(), ["Invalid value for variable; At most nine."]);
    }
}
