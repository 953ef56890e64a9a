//! `meshctl undo`, `meshctl delete system` and `meshctl get history`: back to a version before, and which there are.
//!
//! In: a System's name. Out: a [`Change`], carried out like any other, or a list. Called by [`crate::cli`].
//!
//! **Invariants**: an undo is itself kept and can be undone; an old document is checked like a new one.

use clap::Args;
use contract::document;
use contract::name::SystemName;

use crate::apply::{Agreement, lines, refuse, unknown_services};
use crate::change::{self, Change};
use crate::console::{Console, age};
use crate::failure::Failure;
use crate::show::{OutputArgs, print, print_history};
use crate::store::{ConsulArgs, History, Replaced, Store};

/// Bring an earlier version of a System's document back.
///
/// What is in force is kept in turn, so that undoing twice changes nothing; --to goes further back.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The System.
    name: SystemName,
    /// A version from `meshctl get history`; without it the last one that was replaced.
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
    #[command(flatten)]
    agreement: Agreement,
    #[command(flatten)]
    consul: ConsulArgs,
}

/// Delete a System's document; its services stay registered.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The System.
    name: SystemName,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    consul: ConsulArgs,
}

/// List the kept versions of a System's document.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The System.
    name: SystemName,
    /// Print this version's text in place of the list.
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
    #[command(flatten)]
    consul: ConsulArgs,
}

/// Brings a version back.
///
/// # Errors
/// When there is none, it is wrong by today's rules, nobody agrees, or Consul does not take it.
pub async fn undo(args: UndoArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = Store::new(&args.consul)?;
    let before = store.document(&args.name).await?;
    let replaced = pick(&args.name, args.to, &store).await?;
    let label = format!("version {} of {}", replaced.version, args.name);
    match document::parse(&replaced.text, Some(args.name.as_str())) {
        Err(problems) => {
            let advice = "the rules have changed since: print it with get history --version, mend and apply it";
            refuse(&lines(&label, &problems), advice, console)?;
        }
        Ok(document) if !args.agreement.allow_unknown => {
            let problems = unknown_services(&label, &replaced.text, &document, &store).await?;
            refuse(&problems, "register them first, or pass --allow-unknown", console)?;
        }
        Ok(_) => {}
    }
    let change = Change { name: args.name, before, after: Some(replaced.text) };
    change::carry_out(vec![change], "undo", args.agreement.yes, &store, console).await
}

/// Deletes a document.
///
/// # Errors
/// When there is none, nobody agrees, or Consul does not take it.
pub async fn delete(args: DeleteArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = Store::new(&args.consul)?;
    let before = store.document(&args.name).await?;
    if before.is_none() {
        return Err(Failure::Refused(format!("System {} has no document", args.name)));
    }
    let change = Change { name: args.name, before, after: None };
    change::carry_out(vec![change], "delete", args.yes, &store, console).await
}

/// Lists versions, or prints one.
///
/// # Errors
/// When there is none, or Consul does not answer.
pub async fn show(
    args: HistoryArgs,
    output: OutputArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let store = Store::new(&args.consul)?;
    if args.version.is_some() {
        let replaced = pick(&args.name, args.version, &store).await?;
        return match output.is_json() {
            true => print(&replaced, output, console, String::new),
            false => console.print(&replaced.text),
        };
    }
    let History { versions, broken } = store.history(&args.name).await?;
    for broken in broken {
        console.remark(&broken)?;
    }
    let now = console.unix_seconds();
    let ages = |replaced: &Replaced| age(now.saturating_sub(replaced.replaced_at));
    print_history(&args.name, &versions, ages, output, console)
}

async fn pick(name: &SystemName, version: Option<u64>, store: &Store) -> Result<Replaced, Failure> {
    let history = store.history(name).await?;
    let mut kept = history.versions.into_iter();
    let found = kept.find(|replaced| version.is_none_or(|version| replaced.version == version));
    found.ok_or_else(|| {
        Failure::Refused(match version {
            None => format!("no earlier version of {name} is kept"),
            Some(version) => {
                format!("version {version} of {name} is not kept: see meshctl get history {name}")
            }
        })
    })
}
