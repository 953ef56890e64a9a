//! Where the schema of a conversion comes from: the service itself, or a file.
//!
//! In: a conversion, the versions of it that are compiled already. Out: which version is there now. Called by the owner.
//!
//! **Invariants**: what is compiled already is not compiled again; compiling is done beside the threads that serve
//! requests, and a panic of the compiler is an error of this schema alone.

use std::sync::Arc;

use contract::conversion::Conversion;

use super::descriptors::{DescriptorFiles, Fingerprint};
use super::error::Fault;
use super::file::{DescriptorFolder, Failure, Stamp};
use super::reflection::Reflection;
use crate::transcode::Api;

/// Both sources.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Asks services.
    pub reflection: Reflection,
    /// Reads files.
    pub folder: DescriptorFolder,
}

/// What a source says.
#[derive(Debug)]
pub(super) enum Seen {
    /// The file is the one that was read last.
    Unchanged,
    /// This version is there.
    Version { id: Fingerprint, api: Arc<Api>, stamp: Option<Stamp> },
}

impl Sources {
    /// Looks at the conversion's source once.
    pub(super) async fn look(
        &self,
        conversion: &Conversion,
        known: Option<Stamp>,
        compiled: Vec<(Fingerprint, Arc<Api>)>,
    ) -> Result<Seen, Failure> {
        let without_stamp = |fault| Failure { fault, stamp: None };
        let (stamp, files) = match &conversion.descriptors {
            None => {
                let asked = self.reflection.ask(conversion.service.as_str(), &conversion.grpc);
                (None, asked.await.map_err(without_stamp)?)
            }
            Some(name) => match self.folder.read(name, known).await? {
                None => return Ok(Seen::Unchanged),
                Some((stamp, files)) => (Some(stamp), files),
            },
        };
        let grpc = conversion.grpc.clone();
        let compile = move || compile(files, &grpc, &compiled);
        let done = tokio::task::spawn_blocking(compile).await;
        let (id, api) =
            done.unwrap_or(Err(Fault::Malformed)).map_err(|fault| Failure { fault, stamp })?;
        Ok(Seen::Version { id, api, stamp })
    }
}

fn compile(
    files: DescriptorFiles,
    grpc: &[String],
    compiled: &[(Fingerprint, Arc<Api>)],
) -> Result<(Fingerprint, Arc<Api>), Fault> {
    let needed = files.for_services(grpc)?;
    let id = needed.fingerprint();
    if let Some((_, api)) = compiled.iter().find(|(known, _)| *known == id) {
        return Ok((id, api.clone()));
    }
    let pool = needed.compile()?;
    Ok((id, Arc::new(Api::compile(&pool, grpc)?)))
}
