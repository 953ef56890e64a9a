//! The records of keys in Consul's KV: `FOLDER/ID`, as JSON.
//!
//! **Invariants**: what is no record is named, and hides no other key.

use std::fmt;

use consul::{Consistency, ConsulClient, KeyValue, Query};
use contract::keys::{KeyFolder, KeyRecord, ROOT};

use crate::failure::Failure;
use crate::store::{ConsulArgs, failure};

/// Consul, as far as keys are concerned.
#[derive(Debug)]
pub(super) struct KeyStore {
    client: ConsulClient,
}

/// What is below a folder.
#[derive(Debug)]
pub(super) struct Listed {
    /// Keys, by folder and consumer.
    pub(super) found: Vec<Found>,
    /// What is no record of a key.
    pub(super) broken: Vec<Broken>,
}

/// Something else where a key's record should be.
#[derive(Debug)]
pub(super) struct Broken {
    /// Its key in Consul's KV.
    key: String,
    why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no record of a key ({}): delete it", self.key, self.why)
    }
}

/// A key's record, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) folder: KeyFolder,
    pub(super) record: KeyRecord,
    /// What a check-and-set names; 0: it is not there yet.
    pub(super) version: u64,
}

impl KeyStore {
    pub(super) fn new(args: &ConsulArgs) -> Result<Self, Failure> {
        Ok(Self { client: args.client()? })
    }

    /// What a folder has, or all.
    pub(super) async fn list(&self, folder: Option<&KeyFolder>) -> Result<Listed, Failure> {
        let below = folder.map_or_else(|| ROOT.to_owned(), |folder| format!("{folder}/"));
        let answer = self.client.read(&Query::keys_below(&below), Consistency::Consistent).await;
        let entries = answer.map_err(failure)?.value;
        let (mut found, mut broken) = (Vec::new(), Vec::new());
        for entry in entries.iter().filter(|entry| !entry.key.ends_with('/')) {
            match read(entry) {
                Ok(own) => found.push(own),
                Err(why) => broken.push(Broken { key: entry.key.clone(), why }),
            }
        }
        found.retain(|found| folder.is_none_or(|folder| found.folder == *folder));
        found.sort_by(|a, b| {
            let order = |found: &'_ Found| {
                (found.folder.clone(), found.record.consumer.clone(), found.record.created)
            };
            order(a).cmp(&order(b)).then_with(|| a.id.cmp(&b.id))
        });
        Ok(Listed { found, broken })
    }

    /// The key of this id, in whichever folder it is.
    pub(super) async fn find(&self, id: &str) -> Result<Found, Failure> {
        let Listed { mut found, broken } = self.list(None).await?;
        found.retain(|found| found.id == id);
        let is_meant = |own: &&Broken| own.key.rsplit('/').next() == Some(id);
        match (found.len(), broken.iter().find(is_meant)) {
            (0, Some(broken)) => Err(Failure::Refused(broken.to_string())),
            (1, _) => Ok(found.remove(0)),
            (0, None) => Err(Failure::Refused(format!(
                "no key has the id {id}: meshctl keys list shows which there are"
            ))),
            _ => Err(Failure::Refused(format!(
                "several folders have a key {id}: somebody copied records by hand; delete the copies in Consul's KV"
            ))),
        }
    }

    /// Writes a record over the version that was read.
    pub(super) async fn write(&self, found: &Found) -> Result<(), Failure> {
        let json = serde_json::to_vec(&found.record)
            .map_err(|error| Failure::Refused(format!("cannot write the record: {error}")))?;
        let key = found.folder.record(&found.id);
        if self.client.put_key(&key, json, Some(found.version)).await.map_err(failure)? {
            return Ok(());
        }
        Err(Failure::Refused(format!(
            "{} was changed by somebody else in the meantime and is left as it is: look at it with meshctl keys list and repeat the command",
            found.id
        )))
    }
}

fn read(entry: &KeyValue) -> Result<Found, String> {
    let (folder, id) = KeyFolder::of_record(&entry.key).ok_or("its name is not FOLDER/ID")?;
    let record = serde_json::from_slice(&entry.value).map_err(|error| error.to_string())?;
    Ok(Found { id: id.to_owned(), folder, record, version: entry.modify_index })
}
