//! A change to documents in force: shown, agreed to, written.
//!
//! In: what is in force and what is to be. Out: a line difference, a question, writes with check-and-set.
//! Called by [`crate::apply`] and [`crate::history`].
//!
//! **Invariants**: what is written is what was shown: if somebody else writes in between, nothing is overwritten;
//! the version before is kept before it is replaced.

use std::fmt::Write;

use contract::name::SystemName;
use similar::{ChangeTag, TextDiff};

use crate::console::Console;
use crate::failure::Failure;
use crate::store::{Replaced, Store, Stored};

/// What is to happen to one document.
#[derive(Debug)]
pub struct Change {
    /// The System.
    pub name: SystemName,
    /// What is in force.
    pub before: Option<Stored>,
    /// What is to be; `None`: no document.
    pub after: Option<String>,
}

impl Change {
    /// Whether nothing would be different.
    pub fn is_empty(&self) -> bool {
        self.before.as_ref().map(|stored| &stored.text) == self.after.as_ref()
    }

    fn action(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "create",
            (Some(_), Some(_)) => "change",
            (Some(_), None) => "delete",
        }
    }

    /// The difference by lines, removed ones before added ones.
    fn show(&self, has_color: bool) -> String {
        let before = self.before.as_ref().map_or("", |stored| stored.text.as_str());
        let after = self.after.as_deref().unwrap_or_default();
        let (red, green, dim, reset) = if has_color {
            ("\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m")
        } else {
            ("", "", "", "")
        };
        let mut text = format!("{} {}\n", self.action(), self.name);
        let diff = TextDiff::from_lines(before, after);
        for (position, group) in diff.grouped_ops(3).iter().enumerate() {
            if position > 0 {
                text.push_str("  …\n");
            }
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let (color, sign) = match change.tag() {
                    ChangeTag::Delete => (red, '-'),
                    ChangeTag::Insert => (green, '+'),
                    ChangeTag::Equal => (dim, ' '),
                };
                let line = change.value().trim_end_matches(['\r', '\n']);
                // Writing to a String cannot fail.
                writeln!(text, "  {color}{sign} {line}{reset}").unwrap_or_default();
            }
        }
        text
    }
}

/// Shows the changes, asks unless `is_agreed`, and writes them one by one.
///
/// # Errors
/// When nobody agrees, Consul does not answer or refuses, or somebody else changed a document in between; changes that
/// were written before that stay.
pub async fn carry_out(
    changes: Vec<Change>,
    command: &str,
    is_agreed: bool,
    store: &Store,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut wanted = Vec::new();
    for change in changes {
        if change.is_empty() {
            console.print(&format!("unchanged {}\n", change.name))?;
        } else {
            console.print(&change.show(console.has_color))?;
            wanted.push(change);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    if !is_agreed {
        let question = match wanted.as_slice() {
            [one] => format!("{} {}?", one.action(), one.name),
            many => format!("Carry out {} changes?", many.len()),
        };
        console.confirm(&question)?;
    }
    for change in &wanted {
        write(change, command, store, console).await?;
    }
    Ok(())
}

async fn write(
    change: &Change,
    command: &str,
    store: &Store,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let name = &change.name;
    if let Some(Stored { text, version }) = &change.before {
        let replaced = Replaced {
            version: *version,
            replaced_at: console.unix_seconds(),
            replaced_by: command.to_owned(),
            text: text.clone(),
        };
        store.keep(name, &replaced).await?;
    }
    if !store.write(name, change.after.as_deref(), change.before.as_ref()).await? {
        return Err(Failure::Refused(format!(
            "{name} was changed by somebody else in the meantime and is left as it is: look at it and repeat the command"
        )));
    }
    let done = match change.action() {
        "create" => "created",
        "change" => "changed",
        _ => "deleted",
    };
    console.print(&format!("{done} {name}\n"))?;
    store.trim(name).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_by_lines_with_three_around_it() {
        let lines = |numbers: &[u32]| -> String {
            numbers.iter().map(|number| format!("{number}\n")).collect()
        };
        let change = Change {
            name: "trading".parse().unwrap(),
            before: Some(Stored { text: lines(&[1, 2, 3, 4, 5, 6]), version: 7 }),
            after: Some(lines(&[1, 2, 3, 4, 5, 7])),
        };
        assert!(!change.is_empty());
        assert_eq!(change.show(false), "change trading\n    3\n    4\n    5\n  - 6\n  + 7\n");
        assert!(change.show(true).contains("\x1b[31m- 6\x1b[0m\n"));
    }
}
