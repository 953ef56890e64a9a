//! Regular expressions of documents, read as Envoy's RE2 reads them.
//!
//! In: an expression's text. Out: a [`Pattern`] that answers what it matches, or why Envoy would not take it.
//! Called by the rules of documents and by [`super::cover`].
//!
//! **Invariants**: what is taken here, Envoy takes: one expression that it refuses would cost a System all its routes.
//! Hence whatever the two engines read differently is refused, and so is what RE2 would compile into more than Envoy's
//! limit, in either letter case.

use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::{BuildError, NFA, State};
use regex_automata::util::syntax;

/// Envoy's limit of RE2's program size is 100; the count here is of another program for the same expression.
const MAX_STEPS: usize = 80;
/// Longer than any expression within that limit.
const MAX_LENGTH: usize = 256;

/// A regular expression that matches whole texts.
#[derive(Debug, Clone)]
pub struct Pattern {
    whole: Regex,
}

impl Pattern {
    /// Reads an expression.
    ///
    /// # Errors
    /// One sentence that says what Envoy would not take.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(format!("an expression has 1 to {MAX_LENGTH} characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err("an expression is printable ASCII: paths and headers are".to_owned());
        }
        if let Some(part) = FOREIGN.iter().find(|part| text.contains(**part)) {
            return Err(format!("{part} is not read alike by every engine: write it otherwise"));
        }
        check_flags(text)?;
        check_classes(text)?;
        let error = |error: &dyn std::error::Error| {
            let mut cause = error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            format!("not a regular expression (RE2): {}", cause.to_string().replace('\n', " "))
        };
        let ascii = ascii_classes(text);
        for (what, syntax) in [
            ("", syntax::Config::new().unicode(false).utf8(false)),
            // A guard against other spellings asks for it in either case, where k and s have further forms.
            (" in either letter case", syntax::Config::new().case_insensitive(true)),
        ] {
            let size = program_size(&ascii, syntax).map_err(|source| error(&*source))?;
            if size > MAX_STEPS {
                return Err(format!(
                    "the expression is too large for Envoy{what} ({size} steps, {MAX_STEPS} at the most): counted repetitions are written out"
                ));
            }
        }
        let whole = Regex::new(&format!("^(?:{ascii})$")).map_err(|source| error(&source))?;
        Ok(Self { whole })
    }

    /// Whether the whole text fits.
    pub fn fits(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }
}

fn program_size(text: &str, syntax: syntax::Config) -> Result<usize, Box<BuildError>> {
    let config = NFA::config().utf8(false).nfa_size_limit(Some(1 << 20));
    let program = NFA::compiler().syntax(syntax).configure(config).build(text)?;
    Ok(program.states().iter().map(steps).sum())
}

/// What RE2 makes of a state: one step for each range of a class.
fn steps(state: &State) -> usize {
    match state {
        State::Sparse(sparse) => sparse.transitions.len(),
        _ => 1,
    }
}

/// What one engine reads otherwise than the other: operations on classes, extended escapes.
const FOREIGN: [&str; 11] =
    ["&&", "--", "~~", "\\u", "\\U", "\\<", "\\>", "\\b{", "\\C", "\\Q", "\\K"];

/// Flags that both engines have.
fn check_flags(text: &str) -> Result<(), String> {
    for group in text.split("(?").skip(1) {
        let flags: String =
            group.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
        let is_name = group.starts_with(['P', '<', ':']);
        if !is_name && !flags.bytes().all(|flag| b"ims-".contains(&flag)) {
            return Err(format!("(?{flags} is not read alike by every engine: flags are i, m, s"));
        }
    }
    Ok(())
}

/// A `[` within a class is a letter to one engine and a class of its own to the other.
fn check_classes(text: &str) -> Result<(), String> {
    let mut is_class = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, is_class) {
            ('\\', _) => drop(letters.next()),
            ('[', false) => {
                letters.next_if(|next| *next == '^');
                letters.next_if(|next| *next == ']');
                is_class = true;
            }
            ('[', true) if letters.next_if(|next| *next == ':').is_some() => {
                letters.by_ref().find(|next| *next == ']');
            }
            ('[', true) => return Err("write a [ within a class as \\[".to_owned()),
            (']', true) => is_class = false,
            _ => {}
        }
    }
    Ok(())
}

/// `\d`, `\w` and `\s` are ASCII in RE2.
fn ascii_classes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut in_class = false;
    while let Some(letter) = chars.next() {
        if letter != '\\' {
            in_class = match letter {
                '[' => true,
                ']' => false,
                _ => in_class,
            };
            out.push(letter);
            continue;
        }
        let Some(escaped) = chars.next() else {
            out.push('\\');
            break;
        };
        match (escaped, in_class) {
            ('d', true) => out.push_str("0-9"),
            ('d', false) => out.push_str("[0-9]"),
            ('w', true) => out.push_str("0-9A-Za-z_"),
            ('w', false) => out.push_str("[0-9A-Za-z_]"),
            ('s', true) => out.push_str("\\t\\n\\f\\r "),
            ('s', false) => out.push_str("[\\t\\n\\f\\r ]"),
            ('D', false) => out.push_str("[^0-9]"),
            ('W', false) => out.push_str("[^0-9A-Za-z_]"),
            ('S', false) => out.push_str("[^\\t\\n\\f\\r ]"),
            ('b', false) => out.push_str("(?-u:\\b)"),
            ('B', false) => out.push_str("(?-u:\\B)"),
            (other, _) => out.extend(['\\', other]),
        }
    }
    out
}

/// Text as an expression that matches just it.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if !letter.is_ascii_alphanumeric() && !matches!(letter, '/' | '-' | '_' | '~') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_fits_whole_texts() {
        for (expression, text, fits) in [
            ("/a|/b", "/a", true),
            ("/a|/b", "/ab", false),
            (r"/v\d+/.*", "/v12/x", true),
            (r"/[\w-]+", "/a-b", true),
            (r"/\d", "/\u{664}", false),
            ("/(?i)admin", "/ADMIN", true),
        ] {
            assert_eq!(Pattern::parse(expression).unwrap().fits(text), fits, "{expression} {text}");
        }
    }

    #[test]
    fn what_envoy_would_refuse_or_read_otherwise_is_refused() {
        for (expression, reason) in [
            ("", "1 to 256 characters"),
            ("/(a", "unclosed group"),
            ("/[a-z]{120}", "too large for Envoy"),
            ("/(?x)a b", "flags are i, m, s"),
            ("/[a&&b]", "&&"),
            ("/[[a]b]", "within a class"),
            ("/a)(b", "unopened group"),
            ("/\u{e4}", "printable ASCII"),
            ("/(?=a)", "look-around"),
        ] {
            let error = Pattern::parse(expression).unwrap_err();
            assert!(error.contains(reason), "{expression}: {error}");
        }
    }

    #[test]
    fn escaped_text_matches_itself_alone() {
        let text = "/a.b+c(d)/{e}$~-_";
        let pattern = Pattern::parse(&escaped(text)).unwrap();
        assert!(pattern.fits(text) && !pattern.fits("/aXb+c(d)/{e}$~-_"));
    }
}
