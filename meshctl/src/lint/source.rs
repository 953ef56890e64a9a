//! The comments of a job file that silence rules.
//!
//! In: a [`Source`]. Out: [`Silence`]s. Pure.

pub use jobspec::Source;

/// `# lint:allow(RULE) REASON`: at the end of the line that is meant, or in the comment directly above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// The rule's id.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// Where it stands.
    pub line: usize,
    /// The line that it speaks of.
    pub covers: usize,
}

const OPEN: &str = "lint:allow(";

/// Every silence, in the order of the file.
pub fn silences(source: &Source) -> Vec<Silence> {
    let lines: Vec<&str> = source.text.lines().collect();
    let of_line = |(index, line): (usize, &&str)| {
        let (code, comment) = split_comment(line)?;
        let (_, rest) = comment.split_once(OPEN)?;
        let (rule, reason) = rest.split_once(')')?;
        let is_code = |line: &&str| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#') && !line.starts_with("//")
        };
        let below = || lines.iter().skip(index + 1).position(is_code);
        let covers = if code.trim().is_empty() { index + 1 + below().unwrap_or(0) } else { index };
        Some(Silence {
            rule: rule.trim().to_owned(),
            reason: reason.trim().to_owned(),
            line: index + 1,
            covers: covers + 1,
        })
    };
    lines.iter().enumerate().filter_map(of_line).collect()
}

/// What stands before and after a comment's mark, where the comment has a silence in it.
fn split_comment(line: &str) -> Option<(&str, &str)> {
    let at = line.find(OPEN)?;
    let mark = line.get(..at)?.rfind(['#', '/'])?;
    let code = line.get(..mark)?;
    Some((code.strip_suffix('/').unwrap_or(code), line.get(mark..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_speaks_of_its_own_line_or_of_the_code_below_its_comment() {
        let text = "\
a = 1 # lint:allow(one) because
# lint:allow(two) of this
# and that

b = 2
// lint:allow(three)
c = 3
";
        let source = Source { name: String::new(), text: text.to_owned() };
        let silence = |rule: &str, reason: &str, line, covers| Silence {
            rule: rule.to_owned(),
            reason: reason.to_owned(),
            line,
            covers,
        };
        assert_eq!(
            silences(&source),
            [
                silence("one", "because", 1, 1),
                silence("two", "of this", 2, 5),
                silence("three", "", 6, 7)
            ]
        );
    }
}
