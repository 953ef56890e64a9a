//! Which attributes' values are masked, by patterns of their keys.

/// Patterns of keys: a text, with `*` for any run of characters at its beginning, at its end, or at both. Letters' case is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redaction {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: String,
    is_open_before: bool,
    is_open_behind: bool,
}

impl Redaction {
    /// From patterns as they are written.
    ///
    /// # Errors
    /// When a pattern has `*` in its middle, or nothing else.
    pub fn parse(patterns: &[String]) -> Result<Self, String> {
        let patterns = patterns.iter().map(|written| {
            let text = written.strip_prefix('*').unwrap_or(written);
            let is_open_before = text.len() < written.len();
            let inner = text.strip_suffix('*').unwrap_or(text);
            if inner.is_empty() || inner.contains('*') {
                return Err(format!(
                    "{written:?}: write a key, with * at its beginning or its end only"
                ));
            }
            Ok(Pattern {
                text: inner.to_ascii_lowercase(),
                is_open_before,
                is_open_behind: inner.len() < text.len(),
            })
        });
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Nothing is masked.
    pub const fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the value of this key is masked.
    pub fn hides(&self, key: &str) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let key = key.to_ascii_lowercase();
        self.patterns.iter().any(|pattern| match (pattern.is_open_before, pattern.is_open_behind) {
            (false, false) => key == pattern.text,
            (true, false) => key.ends_with(&pattern.text),
            (false, true) => key.starts_with(&pattern.text),
            (true, true) => key.contains(&pattern.text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_open_where_the_star_is() {
        let patterns =
            ["password", "http.request.header.*", "*token", "*secret*"].map(str::to_owned);
        let redaction = Redaction::parse(&patterns).unwrap();
        for key in ["Password", "http.request.header.cookie", "auth.token", "my.secret.key"] {
            assert!(redaction.hides(key), "{key}");
        }
        for key in ["passwords", "http.request.size", "token.count", ""] {
            assert!(!redaction.hides(key), "{key}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_meant_are_refused() {
        for pattern in ["*", "", "**", "a*b"] {
            assert!(Redaction::parse(&[pattern.to_owned()]).is_err(), "{pattern}");
        }
    }
}
