//! The API keys that this gateway knows.
//!
//! In: the records below `mesh/keys/` of Consul's KV, read by `follow`. Out: [`KeyTable`]s, and whom a key belongs to.
//!
//! **Invariants**: what was read stays while Consul is away; before anything was read no key is judged; a record that
//! cannot be read lets nobody in and harms no other.
//! Deliberately absent: secrets; the records have hashes of them.

use std::collections::BTreeMap;
use std::time::Instant;

use consul::KeyValue;
use contract::keys::{Key, KeyFolder, KeyRecord, KeyState};

mod follow;
mod metrics;

pub use follow::KeyFollower;
pub use metrics::KeyMetrics;

/// Every record, as Consul last had it.
#[derive(Debug, Clone, Default)]
pub struct KeyTable {
    folders: BTreeMap<KeyFolder, BTreeMap<String, KeyRecord>>,
    /// Whether Consul was read at all.
    pub is_read: bool,
    /// KV keys that hold no record, with the reason.
    pub rejected: BTreeMap<String, String>,
    /// Since when Consul gives no answer.
    pub failing_since: Option<Instant>,
}

/// Why a key does not tell who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefusal {
    /// The records were never read: nothing can be said about any key.
    Unread,
    /// No record in this folder fits it.
    Unknown,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

impl KeyTable {
    /// The table of what Consul has below `mesh/keys/`.
    pub fn read(entries: &[KeyValue]) -> Self {
        let mut table = Self { is_read: true, ..Self::default() };
        for entry in entries.iter().filter(|entry| !entry.key.ends_with('/')) {
            match record(entry) {
                Ok((folder, id, record)) => {
                    table.folders.entry(folder).or_default().insert(id, record);
                }
                Err(reason) => {
                    table.rejected.insert(entry.key.clone(), reason);
                }
            }
        }
        table
    }

    /// Whom the key belongs to, in this folder and at this time.
    ///
    /// That a key is expired or revoked is told only to those who have it: its hash is compared first.
    ///
    /// # Errors
    /// When it belongs to nobody, or not any more.
    pub fn find(&self, folder: &KeyFolder, key: &Key, now: u64) -> Result<&KeyRecord, KeyRefusal> {
        if !self.is_read {
            return Err(KeyRefusal::Unread);
        }
        let record = self.folders.get(folder).and_then(|folder| folder.get(key.id()));
        let fits = record.map_or_else(|| KeyRecord::fits_none(key), |record| record.fits(key));
        match record.filter(|_| fits) {
            None => Err(KeyRefusal::Unknown),
            Some(record) => match record.state(now) {
                KeyState::Valid => Ok(record),
                KeyState::Expired => Err(KeyRefusal::Expired),
                KeyState::Revoked => Err(KeyRefusal::Revoked),
            },
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.folders.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn record(entry: &KeyValue) -> Result<(KeyFolder, String, KeyRecord), String> {
    let (folder, id) =
        KeyFolder::of_record(&entry.key).ok_or("its name is not FOLDER/ID of a key")?;
    let record: KeyRecord =
        serde_json::from_slice(&entry.value).map_err(|error| format!("no record: {error}"))?;
    let is_shown = |byte: u8| (b'!'..=b'~').contains(&byte);
    if record.consumer.is_empty() || !record.consumer.bytes().all(is_shown) {
        return Err("its consumer cannot be written into a header".to_owned());
    }
    Ok((folder, id.to_owned(), record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn key(byte: u8) -> Key {
        Key::generate(|bytes| {
            bytes.fill(byte);
            Ok::<_, Infallible>(())
        })
        .unwrap()
    }

    fn entry(folder: &str, key: &Key, record: &KeyRecord) -> KeyValue {
        let value = serde_json::to_vec(record).unwrap();
        KeyValue { key: format!("{folder}/{}", key.id()), value, modify_index: 1, session: None }
    }

    #[test]
    fn a_key_is_found_in_its_folder_alone_and_refused_with_its_own_reason() {
        let trading: KeyFolder = "mesh/keys/trading".parse().unwrap();
        let other: KeyFolder = "mesh/keys/other".parse().unwrap();
        let (valid, revoked, expired) = (key(1), key(2), key(3));
        let record = |key: &Key| KeyRecord::new(key, [9; 16], "acme".to_owned(), 100);
        let entries = [
            entry("mesh/keys/trading", &valid, &record(&valid)),
            entry(
                "mesh/keys/trading",
                &revoked,
                &KeyRecord { revoked: Some(1), ..record(&revoked) },
            ),
            entry(
                "mesh/keys/trading",
                &expired,
                &KeyRecord { expires: Some(200), ..record(&expired) },
            ),
        ];
        let table = KeyTable::read(&entries);
        let unknown = key(4);
        let find =
            |folder, key| table.find(folder, key, 200).map(|record| record.consumer.as_str());
        assert_eq!(find(&trading, &valid), Ok("acme"));
        assert_eq!(find(&other, &valid), Err(KeyRefusal::Unknown));
        assert_eq!(find(&trading, &unknown), Err(KeyRefusal::Unknown));
        assert_eq!(find(&trading, &revoked), Err(KeyRefusal::Revoked));
        assert_eq!(find(&trading, &expired), Err(KeyRefusal::Expired));
        assert!(table.find(&trading, &expired, 199).is_ok());
        let unread = KeyTable::default();
        assert_eq!(unread.find(&trading, &valid, 0), Err(KeyRefusal::Unread));
    }

    #[test]
    fn a_secret_that_is_not_the_record_s_is_unknown_though_its_id_is_known() {
        let folder: KeyFolder = "mesh/keys/trading".parse().unwrap();
        let mut record = KeyRecord::new(&key(1), [9; 16], "acme".to_owned(), 100);
        record.hash = "0".repeat(64);
        record.revoked = Some(1);
        let table = KeyTable::read(&[entry("mesh/keys/trading", &key(1), &record)]);
        assert_eq!(table.find(&folder, &key(1), 0), Err(KeyRefusal::Unknown));
    }

    #[test]
    fn what_is_no_record_is_named_and_harms_no_other() {
        let good = KeyRecord::new(&key(1), [9; 16], "acme".to_owned(), 100);
        let smuggler = KeyRecord { consumer: "acme\r\nx-mesh-auth: me".to_owned(), ..good.clone() };
        let mut entries = vec![
            entry("mesh/keys/trading", &key(1), &good),
            entry("mesh/keys/trading", &key(2), &smuggler),
        ];
        for (name, value) in [("mesh/keys/trading/", ""), ("mesh/keys/trading/x", "{}")] {
            let value = value.as_bytes().to_vec();
            entries.push(KeyValue { key: name.to_owned(), value, modify_index: 1, session: None });
        }
        entries
            .push(KeyValue { value: b"{}".to_vec(), ..entry("mesh/keys/trading", &key(3), &good) });
        let table = KeyTable::read(&entries);
        assert_eq!(table.len(), 1);
        let reasons: Vec<&str> = table.rejected.values().map(String::as_str).collect();
        assert_eq!(
            reasons,
            [
                "its consumer cannot be written into a header",
                "no record: missing field `consumer` at line 1 column 2",
                "its name is not FOLDER/ID of a key",
            ]
        );
    }
}
