//! Where records of keys are kept.
//!
//! In: a text of a document or a command line, a key of Consul's KV. Out: [`KeyFolder`].
//!
//! **Invariants**: a folder is below [`ROOT`] and in lower case; a record's key is the folder, a slash and a key's id.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ID_LENGTH, is_of_alphabet};

/// Every folder of keys is below this one of Consul's KV.
pub const ROOT: &str = "mesh/keys/";

/// A folder of Consul's KV that holds the records of keys, each under its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^mesh/keys/[a-z0-9][-a-z0-9_]*(/[a-z0-9][-a-z0-9_]*)*$"))]
pub struct KeyFolder(String);

/// Why a text is no [`KeyFolder`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a folder for keys: write one below mesh/keys/, such as mesh/keys/trading, in lower case and without a slash at the end"
)]
pub struct FolderError {
    /// What was given.
    pub value: String,
}

impl KeyFolder {
    /// The folder that a System's keys are in unless its document says otherwise.
    pub fn of_system(name: &crate::name::SystemName) -> Self {
        Self(format!("{ROOT}{name}"))
    }

    /// As Consul has it, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The KV key of a record.
    pub fn record(&self, id: &str) -> String {
        format!("{}/{id}", self.0)
    }

    /// Folder and id of a record's KV key.
    pub fn of_record(key: &str) -> Option<(Self, &str)> {
        let (folder, id) = key.rsplit_once('/')?;
        Some((folder.parse().ok()?, id)).filter(|(_, id)| is_of_alphabet(id, ID_LENGTH))
    }
}

impl fmt::Display for KeyFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyFolder {
    type Err = FolderError;

    fn from_str(value: &str) -> Result<Self, FolderError> {
        let is_part = |part: &str| {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            part.bytes().next().is_some_and(is_plain)
                && part.bytes().all(|byte| is_plain(byte) || b"-_".contains(&byte))
        };
        match value.strip_prefix(ROOT) {
            Some(rest) if rest.split('/').all(is_part) => Ok(Self(value.to_owned())),
            _ => Err(FolderError { value: value.to_owned() }),
        }
    }
}

impl TryFrom<String> for KeyFolder {
    type Error = FolderError;

    fn try_from(value: String) -> Result<Self, FolderError> {
        value.parse()
    }
}

impl From<KeyFolder> for String {
    fn from(folder: KeyFolder) -> Self {
        folder.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_below_the_root_and_knows_its_records() {
        let folder: KeyFolder = "mesh/keys/trading".parse().unwrap();
        let record = folder.record("BBBBBBBBBB");
        assert_eq!(record, "mesh/keys/trading/BBBBBBBBBB");
        assert_eq!(KeyFolder::of_record(&record), Some((folder, "BBBBBBBBBB")));
        for not_one in ["mesh/keys/", "mesh/keys/trading/", "mesh/keys/trading/x", "elsewhere"] {
            assert_eq!(KeyFolder::of_record(not_one), None, "{not_one}");
        }
        for bad in [
            "",
            "mesh/keys",
            "mesh/keys/",
            "mesh/keys/a/",
            "mesh/keys//a",
            "mesh/keys/../x",
            "mesh/systems/trading",
            "/mesh/keys/a",
            "mesh/keys/A",
        ] {
            assert!(bad.parse::<KeyFolder>().is_err(), "{bad}");
        }
    }
}
