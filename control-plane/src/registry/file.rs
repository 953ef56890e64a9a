//! A directory of YAML files as a registry: runs a mesh with nothing else.
//!
//! In: every `*.yaml` of the directory. `kind: System` is a System document, named as its file; `kind: Service` lists
//! registrations of one name. Out: the same events as Consul's.
//!
//! Beside another registry it is the source of documents alone ([`Holds::Documents`]): a `kind: Service` file is then a
//! named mistake.
//!
//! The directory is read every [`FileRegistry::interval`] and compared by content: that also works on network mounts
//! and through replaced symbolic links, where change notices do not.
//!
//! **Invariants**: a file that cannot be read or parsed keeps what it last said; replace files by rename, then nobody
//! sees half of one. The directory is the truth: nothing needs confirming here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::registry::{CheckStatus, RegisteredInstance, Registry, RegistryError, RegistryEvent};

#[cfg(test)]
mod tests;

/// Largest file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// The registry of a directory.
#[derive(Debug, Clone)]
pub struct FileRegistry {
    /// The directory.
    pub directory: PathBuf,
    /// How often it is read.
    pub interval: Duration,
    /// What is read from it.
    pub holds: Holds,
}

/// What a directory is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Registrations and documents: the only registry.
    Everything,
    /// System documents; registrations come from elsewhere.
    Documents,
}

/// What the files say, by file name.
#[derive(Debug)]
struct Files {
    holds: Holds,
    read: BTreeMap<String, File>,
    held: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    text: String,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Document,
    Service { name: String, instances: Vec<RegisteredInstance> },
}

#[derive(Deserialize)]
struct KindOnly {
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFile {
    #[serde(rename = "kind")]
    _kind: String,
    name: String,
    instances: Vec<FileInstance>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileInstance {
    id: String,
    #[serde(default = "this_host")]
    node: String,
    address: String,
    port: u16,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    meta: BTreeMap<String, String>,
    #[serde(default)]
    status: CheckStatus,
    #[serde(default = "one")]
    weight: u32,
}

fn this_host() -> String {
    "file".to_owned()
}

const fn one() -> u32 {
    1
}

impl Registry for FileRegistry {
    async fn run(
        self,
        events: mpsc::Sender<RegistryEvent>,
        shutdown: CancellationToken,
    ) -> Result<(), RegistryError> {
        let mut files = Files::new(self.holds);
        let mut before: Option<Observed> = None;
        let mut ticks = tokio::time::interval(self.interval);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let directory = self.directory.clone();
            let read = tokio::task::spawn_blocking(move || read_directory(&directory)).await;
            let mut outgoing = match read {
                Ok(Ok(texts)) => {
                    let mut outgoing = files.take(texts);
                    let observed = files.observed();
                    outgoing.extend(observed.changes_since(before.as_ref(), self.holds));
                    before = Some(observed);
                    outgoing.push(RegistryEvent::Source { name: "file", error: None });
                    outgoing
                }
                Ok(Err(error)) => vec![failing(format!("{}: {error}", self.directory.display()))],
                Err(error) => vec![failing(error.to_string())],
            };
            for event in outgoing.drain(..) {
                if events.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

const fn failing(error: String) -> RegistryEvent {
    RegistryEvent::Source { name: "file", error: Some(error) }
}

/// Every YAML file's name and text, or why it cannot be read.
type Texts = BTreeMap<String, Result<String, String>>;

fn read_directory(directory: &Path) -> io::Result<Texts> {
    let mut texts = Texts::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !Path::new(name).extension().is_some_and(|e| e == "yaml" || e == "yml") {
            continue;
        }
        texts.insert(name.to_owned(), read_file(&path).map_err(|error| error.to_string()));
    }
    Ok(texts)
}

fn read_file(path: &Path) -> io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_BYTES {
        return Err(io::Error::other(format!("{size} bytes are more than {MAX_BYTES}")));
    }
    std::fs::read_to_string(path)
}

impl Files {
    const fn new(holds: Holds) -> Self {
        Self { holds, read: BTreeMap::new(), held: BTreeSet::new() }
    }

    /// Takes in what the directory holds; answers what is held back, and no longer.
    fn take(&mut self, texts: Texts) -> Vec<RegistryEvent> {
        let mut events = Vec::new();
        self.read.retain(|name, _| texts.contains_key(name));
        let mut held = BTreeSet::new();
        for (name, text) in texts {
            let known = self.read.get(&name);
            if let (Some(known), Ok(text)) = (known, &text)
                && known.text == *text
            {
                continue;
            }
            match text
                .and_then(|text| parse(&text, self.holds).map(|content| File { text, content }))
            {
                Ok(file) => {
                    self.read.insert(name, file);
                }
                Err(reason) => {
                    let instead = if known.is_some() {
                        "what it said before stays in force"
                    } else {
                        "it is ignored"
                    };
                    let reason = Some(format!("{reason}; {instead}"));
                    events.push(RegistryEvent::Held { subject: format!("file {name}"), reason });
                    held.insert(name);
                }
            }
        }
        for name in self.held.difference(&held) {
            events.push(RegistryEvent::Held { subject: format!("file {name}"), reason: None });
        }
        self.held = held;
        events
    }

    fn observed(&self) -> Observed {
        let mut observed = Observed::default();
        for (file, File { text, content }) in &self.read {
            match content {
                Content::Document => {
                    let name = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
                    observed.documents.insert(name.to_owned(), text.clone());
                }
                Content::Service { name, instances } => {
                    let known = observed.services.entry(name.as_str().into()).or_default();
                    known.extend(instances.iter().cloned());
                }
            }
        }
        observed
    }
}

fn parse(text: &str, holds: Holds) -> Result<Content, String> {
    let kind: KindOnly = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    match kind.kind.as_str() {
        "System" => Ok(Content::Document),
        "Service" if holds == Holds::Documents => {
            Err("kind Service is not read here: registrations come from the other registry".into())
        }
        "Service" => {
            let file: ServiceFile =
                serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
            let instances = file.instances.into_iter().map(Into::into).collect();
            Ok(Content::Service { name: file.name, instances })
        }
        other => Err(format!("kind {other:?} is neither System nor Service")),
    }
}

impl From<FileInstance> for RegisteredInstance {
    fn from(instance: FileInstance) -> Self {
        let mut tags = instance.tags;
        tags.sort();
        Self {
            id: instance.id,
            node: instance.node,
            address: instance.address,
            port: instance.port,
            tags,
            meta: instance.meta,
            status: instance.status,
            weight_passing: instance.weight,
            weight_warning: instance.weight,
        }
    }
}

/// Everything that the directory says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Observed {
    services: BTreeMap<Arc<str>, Vec<RegisteredInstance>>,
    documents: BTreeMap<String, String>,
}

impl Observed {
    /// The events that lead here; all of them when there is no before.
    fn changes_since(&self, before: Option<&Self>, holds: Holds) -> Vec<RegistryEvent> {
        let mut events = Vec::new();
        if holds == Holds::Everything {
            self.registrations_since(before, &mut events);
        }
        if before.map(|before| &before.documents) != Some(&self.documents) {
            events.push(RegistryEvent::Documents(self.documents.clone()));
        }
        events
    }

    fn registrations_since(&self, before: Option<&Self>, events: &mut Vec<RegistryEvent>) {
        for (name, instances) in &self.services {
            if before.and_then(|before| before.services.get(name)) != Some(instances) {
                events.push(RegistryEvent::Service {
                    name: name.clone(),
                    instances: instances.clone(),
                });
            }
        }
        let names = |observed: &Self| observed.services.keys().cloned().collect::<BTreeSet<_>>();
        if before.map(names) != Some(names(self)) {
            events.push(RegistryEvent::Listing(names(self)));
        }
    }
}
