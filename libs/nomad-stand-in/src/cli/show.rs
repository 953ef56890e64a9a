//! Tables, lists of keys, and parts of JSON as Nomad's program shows them.
//!
//! In: JSON, texts. Out: texts. Pure.

use serde_json::Value;

use crate::agent::time::rfc3339;

/// Characters of an id that are shown.
const SHORT: usize = 8;

/// A text in JSON; empty: there is none.
pub(super) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// A number in JSON; 0: there is none.
pub(super) fn number(value: &Value, path: &str) -> i64 {
    value.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

/// A truth in JSON.
pub(super) fn flag(value: &Value, path: &str) -> bool {
    value.pointer(path).and_then(Value::as_bool).unwrap_or(false)
}

/// The items of a list in JSON.
pub(super) fn items<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// The entries of an object in JSON.
pub(super) fn entries<'a>(
    value: &'a Value,
    path: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    value.pointer(path).and_then(Value::as_object).into_iter().flatten()
}

/// An id, cut unless the whole is wanted.
pub(super) fn id(whole: &str, is_verbose: bool) -> &str {
    if is_verbose { whole } else { whole.get(..SHORT).unwrap_or(whole) }
}

/// JSON as it is printed.
pub(super) fn json(value: &Value) -> String {
    format!("{value:#}")
}

/// Columns with two spaces between them.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|own| own.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(own, width)| format!("{own:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A table from its head and rows of texts.
pub(super) fn titled(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|own| (*own).to_owned()).collect();
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// `key = value` with the signs below each other.
pub(super) fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let line = |(key, value): &(&str, String)| {
        let value = if value.is_empty() { "<none>" } else { value };
        format!("{key:<width$} = {value}")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A time in nanoseconds since 1970 in RFC 3339, in whole seconds.
pub(super) fn time(nanos: i64) -> String {
    if nanos <= 0 {
        return "<none>".to_owned();
    }
    // Without its fraction.
    let text = rfc3339(nanos);
    text.get(..19).map(|own| format!("{own}Z")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_pairs_stand_below_each_other() {
        let rows =
            vec![vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), String::new()]];
        assert_eq!(titled(&["ID", "N"], rows), "ID   N\na    1\nbcd");
        assert_eq!(
            pairs(&[("ID", "x".to_owned()), ("Status", String::new())]),
            "ID     = x\nStatus = <none>"
        );
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(time(1_796_000_000_000_000_000), "2026-11-30T00:53:20Z");
        assert_eq!(time(951_782_400_000_000_000), "2000-02-29T00:00:00Z");
    }
}
