//! A job file as text, and places in it.
//!
//! In: a name and a text. Out: line numbers, lines. Pure.
//!
//! **Invariant**: lines and columns count from one, as editors do.

/// A file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path, as it was given.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl Source {
    /// The number of the line that holds this byte.
    pub fn line_of(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Line and column of this byte.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let in_line = before.rsplit('\n').next().unwrap_or_default();
        (self.line_of(offset), 1 + in_line.chars().count())
    }

    /// A line without its end.
    pub fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number.saturating_sub(1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let source = Source { name: String::new(), text: "a\nµb\n".to_owned() };
        assert_eq!((source.line_of(0), source.line_of(2), source.line(2)), (1, 2, "µb"));
        assert_eq!((source.place(0), source.place(4)), ((1, 1), (2, 2)));
    }
}
