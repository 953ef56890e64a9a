//! Entries as `journalctl -o json --all` prints them: one object a line.
//!
//! A value is text; a list of numbers, the bytes of a value that is no plain text; a list of either, a field that came
//! several times. Names that begin with two underscores are the journal's addresses, not fields. Lines written by hand need only
//! `MESSAGE`; what stands in for the address is then the number of the line.

use serde_json::{Map, Value};

use crate::logs::entry::{Entry, Fields, RecordId, SourceId};

/// Why a line is no entry.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is no JSON object.
    #[error(
        "line {line} is no entry: write what `journalctl -o json --all` prints, one object a line"
    )]
    Json {
        /// Which line, from 1.
        line: usize,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A value is none that journalctl prints.
    #[error(
        "line {line}: the value of {field} is no text, list of bytes, or list of these (journalctl prints null for long values without --all)"
    )]
    Value {
        /// Which line, from 1.
        line: usize,
        /// The field.
        field: String,
    },
}

/// Reads the entry in line `line`, from 1.
///
/// # Errors
/// When it is none.
pub fn entry(text: &str, line: usize) -> Result<Entry, InputError> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|source| InputError::Json { line, source })?;
    let mut fields = Fields::default();
    for (name, value) in object.iter().filter(|(name, _)| !name.starts_with("__")) {
        let bad = || InputError::Value { line, field: name.clone() };
        match single(value) {
            Some(bytes) => fields.push(name, &bytes),
            None => {
                for value in value.as_array().ok_or_else(bad)? {
                    fields.push(name, &single(value).ok_or_else(bad)?);
                }
            }
        }
    }
    let address = |name: &str| object.get(name).and_then(Value::as_str);
    let cursor = address("__CURSOR").map_or_else(|| format!("line={line}"), str::to_owned);
    Ok(Entry {
        source: SourceId(0),
        id: record_id(&cursor).unwrap_or(RecordId { sequence: 0, number: line as u64 }),
        realtime_us: address("__REALTIME_TIMESTAMP").and_then(|us| us.parse().ok()).unwrap_or(0),
        cursor,
        fields,
    })
}

/// One value: text, or its bytes.
fn single(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(bytes) if !bytes.is_empty() => {
            bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
        }
        _ => None,
    }
}

/// The record's id from the cursor's sequence-number id and number (`s=`, `i=`, both hexadecimal).
fn record_id(cursor: &str) -> Option<RecordId> {
    let part = |name: &str| cursor.split(';').find_map(|part| part.strip_prefix(name));
    Some(RecordId {
        sequence: u128::from_str_radix(part("s=")?, 16).ok()?,
        number: u64::from_str_radix(part("i=")?, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_repeated_fields_are_read_as_journalctl_prints_them() {
        let text = r#"{"MESSAGE":[104,105,255],"TAG":["a",[0,1]],"EMPTY":"","__CURSOR":"s=ab;i=1f;b=c","__REALTIME_TIMESTAMP":"7"}"#;
        let entry = entry(text, 1).unwrap();
        let fields: Vec<(&str, &[u8])> = entry.fields.iter().collect();
        let expected: [(&str, &[u8]); 4] =
            [("EMPTY", b""), ("MESSAGE", b"hi\xff"), ("TAG", b"a"), ("TAG", b"\0\x01")];
        assert_eq!(fields, expected);
        assert_eq!(entry.id, RecordId { sequence: 0xab, number: 31 });
        assert_eq!((entry.cursor.as_str(), entry.realtime_us), ("s=ab;i=1f;b=c", 7));
    }

    #[test]
    fn what_is_no_entry_is_named_with_its_line() {
        assert!(entry("MESSAGE=x", 3).unwrap_err().to_string().starts_with("line 3 is no entry"));
        let error = entry(r#"{"MESSAGE":null}"#, 4).unwrap_err().to_string();
        assert!(error.starts_with("line 4: the value of MESSAGE is no text"), "{error}");
    }
}
