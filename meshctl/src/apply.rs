//! `meshctl apply`: System documents from files → Consul, once they are right.
//!
//! In: files, folders or standard input. Out: problems as `FILE:LINE: key.path: message`, or a [`Change`] for each
//! document. Called by [`crate::cli`].
//!
//! **Invariants**: all documents are checked before the first one is written; the text is written as it is, comments
//! and all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use contract::document::{self, DocumentProblem};
use contract::name::SystemName;
use contract::system::SystemDocument;

use crate::change::{self, Change};
use crate::console::Console;
use crate::failure::Failure;
use crate::store::{ConsulArgs, Store};

/// Write System documents to Consul.
///
/// Each document is checked first and every mistake is shown with its file, line and key. Then the difference to what is
/// in force is shown and confirmed. The version before is kept: see `meshctl undo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshctl apply -f trading.yaml
  meshctl apply -f systems/ --yes --consul https://consul.example.com:8501
  generate | meshctl apply -f - --yes")]
pub struct ApplyArgs {
    /// A file, a folder of .yaml files, or - for standard input (repeatable).
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    agreement: Agreement,
    #[command(flatten)]
    consul: ConsulArgs,
}

/// What is waived.
#[derive(Debug, Clone, Copy, Args)]
pub struct Agreement {
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Pass services that are not registered (yet).
    #[arg(long)]
    pub allow_unknown: bool,
}

/// A document and where it came from.
struct Source {
    label: String,
    text: String,
    document: SystemDocument,
}

/// Applies the documents.
///
/// # Errors
/// When a document cannot be read or is wrong, nobody agrees, or Consul does not take it.
pub async fn run(args: ApplyArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let sources = read_all(&args.files, console)?;
    for Source { label, text, document } in &sources {
        for doubt in lines(label, &document::check_doubts(text, document)) {
            console.remark(&format!("{doubt} (a warning)"))?;
        }
    }
    let store = Store::new(&args.consul)?;
    if !args.agreement.allow_unknown {
        let mut problems = Vec::new();
        for Source { label, text, document } in &sources {
            problems.extend(unknown_services(label, text, document, &store).await?);
        }
        let advice = "register them first, or pass --allow-unknown";
        refuse(&problems, advice, console)?;
    }
    let mut changes = Vec::new();
    for Source { text, document, .. } in sources {
        let before = store.document(&document.name).await?;
        changes.push(Change { name: document.name, before, after: Some(text) });
    }
    change::carry_out(changes, "apply", args.agreement.yes, &store, console).await
}

/// Lines that name the services which the document names and nobody registered.
pub(crate) async fn unknown_services(
    label: &str,
    text: &str,
    document: &SystemDocument,
    store: &Store,
) -> Result<Vec<String>, Failure> {
    let known = store.registered(document).await?;
    Ok(lines(label, &document::check_services(text, document, &known)))
}

/// Shows problems, if there are any, and refuses to go on.
pub(crate) fn refuse(
    problems: &[String],
    advice: &str,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    for problem in problems {
        console.remark(problem)?;
    }
    match problems.len() {
        0 => Ok(()),
        1 => Err(Failure::Refused(format!("1 problem, nothing was changed: {advice}"))),
        many => Err(Failure::Refused(format!("{many} problems, nothing was changed: {advice}"))),
    }
}

pub(crate) fn lines(label: &str, problems: &[DocumentProblem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{label}:{problem}")).collect()
}

fn read_all(files: &[PathBuf], console: &mut Console<'_>) -> Result<Vec<Source>, Failure> {
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    let mut labels: BTreeMap<SystemName, String> = BTreeMap::new();
    for (label, bytes) in contents(files, console)? {
        let document = match document::parse_bytes(&bytes, None) {
            Ok(document) => document,
            Err(found) => {
                problems.extend(lines(&label, &found));
                continue;
            }
        };
        if let Some(first) = labels.insert(document.name.clone(), label.clone()) {
            problems.push(format!("{label}: System {} is already in {first}", document.name));
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        sources.push(Source { label, text, document });
    }
    refuse(&problems, "mend the documents and repeat the command", console)?;
    Ok(sources)
}

/// Every file with its name, folders in the order of their files' names.
fn contents(
    files: &[PathBuf],
    console: &mut Console<'_>,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let cannot_read = |path: &Path, error: std::io::Error| {
        Failure::Refused(format!("cannot read {}: {error}", path.display()))
    };
    let mut contents = Vec::new();
    for path in files {
        if path.as_os_str() == "-" {
            contents.push(("standard input".to_owned(), console.read_input()?));
            continue;
        }
        let mut found = vec![path.clone()];
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|error| cannot_read(path, error))?;
            found = entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()
                .map_err(|error| cannot_read(path, error))?;
            found.retain(|file| {
                file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
            });
            found.sort();
            if found.is_empty() {
                return Err(Failure::Refused(format!("{} has no .yaml file", path.display())));
            }
        }
        for file in found {
            let bytes = std::fs::read(&file).map_err(|error| cannot_read(&file, error))?;
            contents.push((file.display().to_string(), bytes));
        }
    }
    Ok(contents)
}
