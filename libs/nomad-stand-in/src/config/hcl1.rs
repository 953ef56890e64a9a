//! HCL in its first version, in which agents are configured: keys may be quoted, a block on one line may hold several.
//!
//! In: a text. Out: JSON, or the line and what is wrong there. Pure. Blocks of one name become one object, and a label a
//! key in it. Deliberately absent: interpolation, which agents do not do.

use serde_json::{Map, Value};

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text, line: 1 };
    let found = parser.body(None)?;
    Ok(Value::Object(found))
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
}

/// Puts a value beside what has the name already.
pub(super) fn add(found: &mut Map<String, Value>, key: String, value: Value) {
    match (found.get_mut(&key), value) {
        (Some(Value::Object(own)), Value::Object(more)) => {
            for (key, value) in more {
                add(own, key, value);
            }
        }
        (_, value) => drop(found.insert(key, value)),
    }
}

impl Parser<'_> {
    fn wrong<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("line {}: {what}", self.line))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.line += usize::from(found == '\n');
        self.rest = self.rest.get(found.len_utf8()..).unwrap_or_default();
        Some(found)
    }

    fn skip(&mut self, bytes: usize) {
        let (before, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += before.matches('\n').count();
        self.rest = rest;
    }

    /// White space, comments, and commas, which may stand between all items.
    fn space(&mut self) {
        loop {
            let end = if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.rest.find('\n').unwrap_or(self.rest.len())
            } else if self.rest.starts_with("/*") {
                self.rest.find("*/").map_or(self.rest.len(), |at| at + 2)
            } else {
                match self.peek() {
                    Some(own) if own.is_whitespace() || own == ',' => own.len_utf8(),
                    _ => return,
                }
            };
            self.skip(end);
        }
    }

    fn body(&mut self, end: Option<char>) -> Result<Map<String, Value>, String> {
        let mut found = Map::new();
        loop {
            self.space();
            match (self.peek(), end) {
                (None, None) => return Ok(found),
                (Some(own), Some(end)) if own == end => {
                    self.next();
                    return Ok(found);
                }
                (None, Some(_)) => return self.wrong("a } is missing"),
                _ => {}
            }
            let key = self.key()?;
            let value = self.item()?;
            add(&mut found, key, value);
        }
    }

    fn key(&mut self) -> Result<String, String> {
        if self.peek() == Some('"') {
            return self.text();
        }
        let is_part = |own: char| own.is_alphanumeric() || matches!(own, '_' | '-' | '.');
        let end = self.rest.find(|own| !is_part(own)).unwrap_or(self.rest.len());
        let key = self.rest.get(..end).unwrap_or_default().to_owned();
        if key.is_empty() {
            return self.wrong("a key is expected");
        }
        self.skip(end);
        Ok(key)
    }

    /// What stands after a key: `= value`, `{ … }`, or a label and again.
    fn item(&mut self) -> Result<Value, String> {
        self.space();
        match self.peek() {
            Some('=' | ':') => {
                self.next();
                self.space();
                self.value()
            }
            Some('{') => {
                self.next();
                self.body(Some('}')).map(Value::Object)
            }
            Some('"') => {
                let label = self.text()?;
                let inner = self.item()?;
                Ok(Value::Object(Map::from_iter([(label, inner)])))
            }
            _ => self.wrong("= or { is expected after a key"),
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        match self.peek() {
            Some('"') => self.text().map(Value::String),
            Some('{') => {
                self.next();
                self.body(Some('}')).map(Value::Object)
            }
            Some('[') => self.list(),
            Some('<') => self.heredoc(),
            _ => self.word(),
        }
    }

    fn list(&mut self) -> Result<Value, String> {
        self.next();
        let mut found = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(']') => {
                    self.next();
                    return Ok(Value::Array(found));
                }
                None => return self.wrong("a ] is missing"),
                Some(_) => found.push(self.value()?),
            }
        }
    }

    fn word(&mut self) -> Result<Value, String> {
        let is_end = |own: char| own.is_whitespace() || matches!(own, ',' | '}' | ']' | '#');
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let word = self.rest.get(..end).unwrap_or_default();
        let found = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match serde_json::from_str::<serde_json::Number>(word) {
                Ok(number) => Value::Number(number),
                Err(_) => return self.wrong(&format!("{word:?} is no value")),
            },
        };
        self.skip(end);
        Ok(found)
    }

    fn text(&mut self) -> Result<String, String> {
        self.next();
        let mut found = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(found),
                Some('\\') => match self.next() {
                    Some('n') => found.push('\n'),
                    Some('t') => found.push('\t'),
                    Some(own @ ('"' | '\\')) => found.push(own),
                    _ => return self.wrong("this escape is not known"),
                },
                None | Some('\n') => return self.wrong("a \" is missing"),
                Some(own) => found.push(own),
            }
        }
    }

    fn heredoc(&mut self) -> Result<Value, String> {
        let (head, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        let mark = head.trim_start_matches('<');
        let is_indented = mark.starts_with('-');
        let mark = mark.trim_start_matches('-').trim();
        let mut lines: Vec<&str> = Vec::new();
        let mut taken = head.len() + 1;
        for line in rest.split_inclusive('\n') {
            taken += line.len();
            if line.trim() == mark {
                let cut = lines.iter().map(|own| own.len() - own.trim_start().len()).min();
                let cut = if is_indented { cut.unwrap_or(0) } else { 0 };
                let text: String = lines.iter().filter_map(|own| own.get(cut..)).collect();
                self.skip(taken);
                return Ok(Value::String(text));
            }
            lines.push(line);
        }
        self.wrong(&format!("the end {mark} of a text is missing"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_labels_and_quoted_keys_become_objects() {
        let text = r#"
# a comment
region = "eu" // another
client {
  options { "fingerprint.denylist" = "env_aws,env_gce", b = 1 }
  servers = ["a", "b",]
}
/* and
   another */
client { "enabled" = true }
plugin "docker" {
  config {
    gc { image = false }
    extra = { a = -1.5 }
  }
}
text = <<-EOF
  a
   b
  EOF
"#;
        let wanted = json!({
            "region": "eu",
            "client": {
                "options": {"fingerprint.denylist": "env_aws,env_gce", "b": 1},
                "servers": ["a", "b"], "enabled": true,
            },
            "plugin": {"docker": {"config": {"gc": {"image": false}, "extra": {"a": -1.5}}}},
            "text": "a\n b\n",
        });
        assert_eq!(parse(text).unwrap(), wanted);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, words) in [
            ("a = 1\nb = yes", "line 2: \"yes\" is no value"),
            ("a {\n", "line 2: a } is missing"),
            ("a = [1", "line 1: a ] is missing"),
            ("a\n", "line 2: = or { is expected after a key"),
            ("= 1", "line 1: a key is expected"),
            ("a = \"x", "line 1: a \" is missing"),
        ] {
            assert_eq!(parse(text).unwrap_err(), words, "{text}");
        }
    }
}
