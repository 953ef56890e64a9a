//! Nomad's job language: a file's text → blocks whose attributes have values.
//!
//! In: HCL2, values for its variables. Out: [`Node`]s. Pure: files and the environment are the callers' business.
//!
//! | module | is |
//! |---|---|
//! | [`source`] | a file's text and the places in it |
//! | [`scope`] | what expressions mean: variables, locals, functions, and what only Nomad knows |
//! | [`inputs`] | values that come from outside, as Nomad takes them: by their variables' types, or with an error |
//! | [`node`] | a block with what its attributes are worth, `dynamic` blocks unrolled |
//! | [`content`] | everything that a block holds, for readers that refuse what they do not know |
//! | [`duration`] | Go's notation of lengths of time |
//!
//! Two kinds of readers: one that judges as much as it can and calls the rest unknown ([`Scope::of_file`]), one that
//! gives Nomad's verdicts ([`Scope::strict`]). Deliberately absent: what the blocks of a job mean; functions that read
//! files, clocks or randomness; `try` and `can`.

pub mod content;
pub mod duration;
mod functions;
pub mod inputs;
mod kinds;
pub mod node;
pub mod scope;
pub mod source;

pub use content::{Argument, Place};
pub use hcl::Value;
pub use hcl::edit::structure::Body;
pub use inputs::Inputs;
pub use node::{Node, Read};
pub use scope::Scope;
pub use source::{Problem, Source};

use hcl::edit::parser;

/// Parses a file.
///
/// # Errors
/// Where it is no HCL, and why.
pub fn parse(text: &str) -> Result<Body, Problem> {
    text.parse().map_err(|error: parser::Error| {
        let words = error.message().split_whitespace();
        Problem {
            line: error.location().line(),
            column: error.location().column(),
            message: words.collect::<Vec<_>>().join(" "),
        }
    })
}
