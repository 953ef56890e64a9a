//! Keys as a table for people.

use contract::keys::{KeyRecord, KeyState};

use super::store::Found;
use crate::console::age;
use crate::show::{Rows, or_dash};

/// One row for each key.
pub(super) fn keys(found: &[Found], now: u64, width: Option<u16>) -> String {
    if found.is_empty() {
        return "no keys: make one with meshctl keys create".to_owned();
    }
    let head = ["ID", "FOLDER", "CONSUMER", "SCOPES", "AGE", "STATE"];
    let mut rows = Rows::new(&head, width);
    for Found { id, folder, record, .. } in found {
        rows.row(vec![
            id.clone(),
            folder.to_string(),
            record.consumer.clone(),
            or_dash(record.scopes.join(" ")),
            age(now.saturating_sub(record.created)),
            told(record, now),
        ]);
    }
    rows.finish()
}

/// One word for programs.
pub(super) fn state(record: &KeyRecord, now: u64) -> &'static str {
    match record.state(now) {
        KeyState::Valid => "valid",
        KeyState::Expired => "expired",
        KeyState::Revoked => "revoked",
    }
}

fn told(record: &KeyRecord, now: u64) -> String {
    let state = state(record, now);
    match (record.revoked, record.expires) {
        (Some(revoked), _) => format!("{state} {} ago", age(now.saturating_sub(revoked))),
        (None, Some(expires)) if expires <= now => format!("{state} {} ago", age(now - expires)),
        (None, Some(expires)) => format!("{state} for {}", age(expires - now)),
        (None, None) => state.to_owned(),
    }
}
