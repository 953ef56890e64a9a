//! How much room journald takes: `journald.conf`, its drop-ins, and the defaults of systemd 252.
//!
//! In: configuration files, the size of the file system. Out: [`Limits`] in bytes.
//!
//! **Invariant**: what cannot be read or understood is as if it were not written, as journald itself does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Folders of configuration, the first one wins.
const FOLDERS: [&str; 4] =
    ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"];

/// What one place's files may take; `None`: the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    max_use: Option<u64>,
    keep_free: Option<u64>,
    max_files: Option<u64>,
}

/// What journald's configuration says, for files that last and for those in `/run`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    system: Written,
    runtime: Written,
}

impl Settings {
    /// Reads the configuration of the host's journald, or of a namespace's.
    pub fn read(namespace: Option<&str>) -> Self {
        Self::read_below(Path::new("/"), namespace)
    }

    fn read_below(root: &Path, namespace: Option<&str>) -> Self {
        let name =
            namespace.map_or("journald.conf".to_owned(), |name| format!("journald@{name}.conf"));
        let folders = FOLDERS.map(|folder| root.join(folder));
        let main = folders.iter().map(|folder| folder.join(&name)).find(|file| file.exists());
        // A drop-in replaces those of the same name in later folders; all are read in the order of their names.
        let mut drop_ins: BTreeMap<String, PathBuf> = BTreeMap::new();
        for folder in folders.iter().map(|folder| folder.join(format!("{name}.d"))) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".conf") {
                    drop_ins.entry(name).or_insert_with(|| entry.path());
                }
            }
        }
        let mut settings = Self::default();
        for file in main.into_iter().chain(drop_ins.into_values()) {
            settings.apply(&fs::read_to_string(file).unwrap_or_default());
        }
        settings
    }

    fn apply(&mut self, text: &str) {
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim();
            match key.trim() {
                "SystemMaxUse" => self.system.max_use = bytes(value),
                "SystemKeepFree" => self.system.keep_free = bytes(value),
                "SystemMaxFiles" => self.system.max_files = value.parse().ok(),
                "RuntimeMaxUse" => self.runtime.max_use = bytes(value),
                "RuntimeKeepFree" => self.runtime.keep_free = bytes(value),
                "RuntimeMaxFiles" => self.runtime.max_files = value.parse().ok(),
                _ => {}
            }
        }
    }

    pub(super) fn of(&self, is_volatile: bool) -> Written {
        if is_volatile { self.runtime } else { self.system }
    }
}

/// A size with the suffixes of systemd: `K`, `M`, `G`, `T` to the base of 1024.
fn bytes(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match value.get(digits.len()..)? {
        "" | "B" => 1,
        "K" => 1024,
        "M" => MIB,
        "G" => GIB,
        "T" => 1024 * GIB,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(unit)
}

/// The size of a file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    pub(super) bytes: u64,
}

/// What journald keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) max_use: u64,
    pub(super) min_use: u64,
    pub(super) keep_free: u64,
    pub(super) max_files: u64,
}

impl Limits {
    /// `journal_reset_metrics` of systemd 252: a tenth of the disk but at most 4 GiB, 15 % of it free but at most 4 GiB.
    pub(super) fn of(written: Written, space: Space) -> Self {
        let max_use = written.max_use.unwrap_or((space.bytes / 10).clamp(MIB, 4 * GIB));
        Self {
            max_use,
            min_use: (space.bytes / 50).clamp(MIB, 16 * MIB).min(max_use),
            keep_free: written.keep_free.unwrap_or((space.bytes / 100 * 15).min(4 * GIB)),
            max_files: written.max_files.unwrap_or(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_read_after_the_file_and_by_their_names() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "etc/systemd/journald.conf",
            "[Journal]\nSystemMaxUse=1G\nRuntimeMaxFiles = 7\n#RuntimeMaxUse=1\n",
        );
        write("usr/lib/systemd/journald.conf", "[Journal]\nSystemKeepFree=1\n");
        write("usr/lib/systemd/journald.conf.d/20-b.conf", "[Journal]\nSystemMaxUse=3M\n");
        write(
            "run/systemd/journald.conf.d/10-a.conf",
            "[Journal]\nSystemMaxUse=2M\nSystemKeepFree=5K\n",
        );
        write("etc/systemd/journald.conf.d/20-b.conf", "[Journal]\nSystemMaxUse=4M\n");
        let system = Written { max_use: Some(4 * MIB), keep_free: Some(5 * 1024), max_files: None };
        let runtime = Written { max_files: Some(7), ..Written::default() };
        assert_eq!(Settings::read_below(root.path(), None), Settings { system, runtime });
        assert_eq!(Settings::read_below(root.path(), Some("x")), Settings::default());
    }

    #[test]
    fn defaults_follow_the_size_of_the_disk() {
        let limits = |bytes| Limits::of(Written::default(), Space { bytes });
        let large =
            Limits { max_use: 4 * GIB, min_use: 16 * MIB, keep_free: 4 * GIB, max_files: 100 };
        assert_eq!(limits(252 * GIB), large);
        assert_eq!(limits(GIB).max_use, GIB / 10);
        assert_eq!(limits(100 * MIB).min_use, 2 * MIB);
    }
}
