//! File descriptors as they came: collected, completed, hashed, compiled.
//!
//! In: encoded `FileDescriptorProto`s from reflection or a descriptor set. Out: what is missing, a
//! [`Fingerprint`], a [`DescriptorPool`]. Called by the sources of schemas.
//!
//! **Invariants**: bytes stay as they came, because options that this program does not know (`google.api.http` among
//! them) are lost by decoding; only what the named services need counts; equal files have equal fingerprints, in
//! whatever order they came.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use xxhash_rust::xxh3::Xxh3;

use super::error::Fault;
use super::known::{is_known, known_file};

/// A `FileDescriptorSet` whose files are left encoded.
#[derive(Clone, PartialEq, prost::Message)]
struct EncodedSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

/// How much of a schema is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files of one schema.
    pub files: usize,
    /// Bytes of all its files.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 2_000, bytes: 16 << 20 }
    }
}

/// Names one version of a schema: the hash of the files that its services need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub(super) u128);

impl fmt::Display for Fingerprint {
    /// The first twelve digits, which people compare.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0 >> 80)
    }
}

/// One file: what is asked of it before it is compiled.
#[derive(Debug)]
struct File {
    bytes: Bytes,
    imports: Vec<String>,
    services: Vec<String>,
}

/// Files by name.
#[derive(Debug)]
pub(crate) struct DescriptorFiles {
    files: BTreeMap<String, File>,
    bytes: usize,
    limits: Limits,
}

impl DescriptorFiles {
    /// None yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { files: BTreeMap::new(), bytes: 0, limits }
    }

    /// The files of an encoded `FileDescriptorSet`; `name` is what errors call it.
    pub(crate) fn of_set(name: &str, bytes: Bytes, limits: Limits) -> Result<Self, Fault> {
        let set = EncodedSet::decode(bytes).map_err(|_| Fault::Garbled(name.to_owned()))?;
        let mut files = Self::new(limits);
        set.file.into_iter().try_for_each(|file| files.add(name, file))?;
        Ok(files)
    }

    /// Adds an encoded `FileDescriptorProto`; `from` is what errors call its source.
    pub(crate) fn add(&mut self, from: &str, bytes: Bytes) -> Result<(), Fault> {
        let garbled = || Fault::Garbled(from.to_owned());
        let proto = FileDescriptorProto::decode(bytes.clone()).map_err(|_| garbled())?;
        let name = proto.name.filter(|name| !name.is_empty()).ok_or_else(garbled)?;
        if let Some(known) = self.files.get(&name) {
            return if known.bytes == bytes { Ok(()) } else { Err(Fault::Contradiction(name)) };
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > self.limits.bytes {
            return Err(Fault::TooLarge(self.limits.bytes));
        }
        if self.files.len() == self.limits.files {
            return Err(Fault::TooManyFiles(self.limits.files));
        }
        let package = proto.package.filter(|package| !package.is_empty());
        let full_name = |service: String| match &package {
            Some(package) => format!("{package}.{service}"),
            None => service,
        };
        let services =
            proto.service.into_iter().map(|one| full_name(one.name.unwrap_or_default())).collect();
        self.files.insert(name, File { bytes, imports: proto.dependency, services });
        Ok(())
    }

    /// Whether a file is here.
    pub(crate) fn contains(&self, file: &str) -> bool {
        self.files.contains_key(file)
    }

    /// Whether a file here declares this gRPC service.
    pub(crate) fn declares(&self, grpc: &str) -> bool {
        self.files.values().any(|file| file.services.iter().any(|one| one == grpc))
    }

    /// An imported file that is neither here nor known to this program, and who imports it.
    pub(crate) fn next_missing(&self) -> Option<(&str, &str)> {
        self.files.iter().find_map(|(name, file)| {
            let missing = |import: &&String| !self.contains(import) && !is_known(import);
            file.imports.iter().find(missing).map(|import| (import.as_str(), name.as_str()))
        })
    }

    /// What these gRPC services need, and nothing else.
    pub(crate) fn for_services(mut self, grpc: &[String]) -> Result<Needed, Fault> {
        if let Some(missing) = grpc.iter().find(|name| !self.declares(name)) {
            let offered = self.files.values().flat_map(|file| file.services.clone()).collect();
            return Err(Fault::MissingService { grpc: missing.clone(), offered });
        }
        let declaring = self.files.iter().filter(|(_, file)| {
            file.services.iter().any(|service| grpc.iter().any(|one| one == service))
        });
        let mut open: Vec<(String, String)> =
            declaring.map(|(name, _)| (name.clone(), String::new())).collect();
        let mut needed = BTreeMap::new();
        let mut seen = BTreeSet::new();
        while let Some((name, needed_by)) = open.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let (bytes, imports) = match self.files.remove(&name) {
                Some(file) => (file.bytes, file.imports),
                None => known_file(&name)
                    .ok_or_else(|| Fault::MissingFile { file: name.clone(), needed_by })?,
            };
            open.extend(imports.into_iter().map(|import| (import, name.clone())));
            needed.insert(name, bytes);
        }
        Ok(Needed(needed))
    }
}

/// The files of some gRPC services, complete.
#[derive(Debug)]
pub(crate) struct Needed(BTreeMap<String, Bytes>);

impl Needed {
    /// The hash of all files in the order of their names.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Xxh3::new();
        for (name, bytes) in &self.0 {
            hash.update(&(name.len() as u64).to_le_bytes());
            hash.update(name.as_bytes());
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        Fingerprint(hash.digest128())
    }

    /// The compiled files; may take milliseconds for each megabyte.
    pub(crate) fn compile(self) -> Result<DescriptorPool, Fault> {
        let set = EncodedSet { file: self.0.into_values().collect() };
        DescriptorPool::decode(set.encode_to_vec().as_slice()).map_err(Fault::Broken)
    }
}
