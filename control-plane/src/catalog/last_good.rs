//! The last good state in its form on disk: raw registrations and the documents in force, no keys and no tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::registry::RegisteredInstance;

/// What a restart can serve when no registry answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    /// Form of this file; another one is ignored.
    pub format: u32,
    /// Registrations by registered name.
    pub names: BTreeMap<Arc<str>, Arc<[RegisteredInstance]>>,
    /// Texts of the documents in force.
    pub documents: BTreeMap<String, String>,
}

impl LastGood {
    /// The form that this version writes and reads.
    pub const FORMAT: u32 = 1;

    /// Reads the file's bytes; the error says what to do with the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, LastGoodError> {
        let state: Self = serde_json::from_slice(bytes).map_err(LastGoodError::Decode)?;
        if state.format == Self::FORMAT {
            Ok(state)
        } else {
            Err(LastGoodError::Format { found: state.format })
        }
    }

    /// The file's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, LastGoodError> {
        serde_json::to_vec(self).map_err(LastGoodError::Encode)
    }
}

/// Why the last good state cannot be read or written; the process goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// Not the JSON that this program writes.
    #[error("last-good state is damaged; it is ignored and will be written anew")]
    Decode(#[source] serde_json::Error),
    /// Cannot happen for the types in it; kept as an error rather than a panic.
    #[error("last-good state cannot be encoded")]
    Encode(#[source] serde_json::Error),
    /// Written by another version.
    #[error(
        "last-good state has format {found}, this version reads {}; it is ignored and will be written anew",
        LastGood::FORMAT
    )]
    Format {
        /// What the file says.
        found: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::store::testing::a_registration;

    #[test]
    fn the_state_reads_back_and_damage_is_an_error() {
        let state = LastGood {
            format: LastGood::FORMAT,
            names: BTreeMap::from([(
                "orders".into(),
                Arc::from([a_registration("orders", "trading", 1)]),
            )]),
            documents: BTreeMap::from([("trading".into(), "kind: System".into())]),
        };
        let bytes = state.encode().unwrap();
        assert_eq!(LastGood::decode(&bytes).unwrap(), state);
        assert!(matches!(LastGood::decode(&bytes[1..]), Err(LastGoodError::Decode(_))));
        assert!(matches!(
            LastGood::decode(br#"{"format":9,"names":{},"documents":{}}"#),
            Err(LastGoodError::Format { found: 9 })
        ));
    }
}
