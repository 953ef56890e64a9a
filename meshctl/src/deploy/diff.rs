//! What a deploy would change, as a coloured tree.
//!
//! In: Nomad's plan. Out: text. Pure.
//!
//! **Invariants**: only what changes is shown, each with its old and new value; texts of several lines as a difference of
//! lines. Same plan, same text.

use std::fmt::Write as _;

use nomad::{Diff, FieldDiff, GroupDiff, ObjectDiff, Plan, TaskDiff, UpdateCounts};
use similar::{ChangeTag, TextDiff};

/// The colours of a terminal, or none.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    /// What is new, and what went well.
    pub green: &'static str,
    /// What goes, and what went wrong.
    pub red: &'static str,
    /// What changes, and what is waited for.
    pub yellow: &'static str,
    /// What matters.
    pub bold: &'static str,
    /// What is beside the point.
    pub dim: &'static str,
    /// Back to normal.
    pub plain: &'static str,
}

impl Palette {
    /// With colours, or without.
    pub const fn new(has_color: bool) -> Self {
        if has_color {
            Self {
                green: "\x1b[32m",
                red: "\x1b[31m",
                yellow: "\x1b[33m",
                bold: "\x1b[1m",
                dim: "\x1b[2m",
                plain: "\x1b[0m",
            }
        } else {
            Self { green: "", red: "", yellow: "", bold: "", dim: "", plain: "" }
        }
    }
}

/// The tree; each line ends.
pub fn tree(job: &str, plan: &Plan, has_color: bool) -> String {
    let mut tree = Tree { text: String::new(), colors: Palette::new(has_color) };
    let Diff { kind, fields, objects, task_groups } = &plan.diff;
    tree.line(0, kind, &format!("job {job}"), "");
    tree.fields(1, fields);
    tree.objects(1, objects);
    for group in task_groups {
        tree.group(1, group);
    }
    tree.text
}

/// What would happen to a group's instances, in words: `1 canary, 2 replaced`.
pub fn counts(counts: &UpdateCounts) -> String {
    let parts = [
        (counts.canary, "new beside the old"),
        (counts.place, "new"),
        (counts.destructive_update, "replaced"),
        (counts.in_place_update, "changed in place"),
        (counts.migrate, "moved"),
        (counts.stop, "stopped"),
        (counts.ignore, "untouched"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if parts.is_empty() { "no instances".to_owned() } else { parts.join(", ") }
}

struct Tree {
    text: String,
    colors: Palette,
}

impl Tree {
    fn group(&mut self, depth: usize, group: &GroupDiff) {
        let GroupDiff { kind, name, fields, objects, tasks, updates } = group;
        let updates: Vec<String> =
            updates.iter().map(|(what, count)| format!("{count} {what}")).collect();
        self.line(depth, kind, &format!("group {name}"), &updates.join(", "));
        self.fields(depth + 1, fields);
        self.objects(depth + 1, objects);
        for TaskDiff { kind, name, fields, objects, annotations } in tasks {
            if is_same(kind) {
                continue;
            }
            self.line(depth + 1, kind, &format!("task {name}"), &annotations.join(", "));
            self.fields(depth + 2, fields);
            self.objects(depth + 2, objects);
        }
    }

    fn objects(&mut self, depth: usize, objects: &[ObjectDiff]) {
        for ObjectDiff { kind, name, fields, objects } in objects {
            if is_same(kind) {
                continue;
            }
            self.line(depth, kind, name, "");
            self.fields(depth + 1, fields);
            self.objects(depth + 1, objects);
        }
    }

    fn fields(&mut self, depth: usize, fields: &[FieldDiff]) {
        for field in fields.iter().filter(|field| !is_same(&field.kind)) {
            let FieldDiff { kind, name, old, new, annotations } = field;
            let notes = annotations.join(", ");
            if old.contains('\n') || new.contains('\n') {
                self.line(depth, kind, name, &notes);
                self.lines(depth + 1, old, new);
                continue;
            }
            let Palette { green, red, dim, plain, .. } = self.colors;
            let what = match kind.as_str() {
                "Added" => format!("{name} {green}{new:?}{plain}"),
                "Deleted" => format!("{name} {red}{old:?}{plain}"),
                _ => format!("{name} {red}{old:?}{plain} {dim}→{plain} {green}{new:?}{plain}"),
            };
            self.line(depth, kind, &what, &notes);
        }
    }

    /// A text of several lines: what changes, with two lines around it.
    fn lines(&mut self, depth: usize, old: &str, new: &str) {
        let Palette { green, red, dim, plain, .. } = self.colors;
        let diff = TextDiff::from_lines(old, new);
        for group in diff.grouped_ops(2) {
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let (color, sign) = match change.tag() {
                    ChangeTag::Delete => (red, '-'),
                    ChangeTag::Insert => (green, '+'),
                    ChangeTag::Equal => (dim, ' '),
                };
                let line = change.value().trim_end_matches(['\r', '\n']);
                let indent = "  ".repeat(depth);
                // Writing to a String cannot fail.
                writeln!(self.text, "{indent}  {color}{sign} {line}{plain}").unwrap_or_default();
            }
        }
    }

    fn line(&mut self, depth: usize, kind: &str, what: &str, notes: &str) {
        let Palette { green, red, yellow, dim, plain, .. } = self.colors;
        let (color, sign) = match kind {
            "Added" => (green, "+"),
            "Deleted" => (red, "-"),
            "Edited" => (yellow, "~"),
            _ => (dim, " "),
        };
        let indent = "  ".repeat(depth);
        let notes =
            if notes.is_empty() { String::new() } else { format!("  {dim}({notes}){plain}") };
        writeln!(self.text, "{indent}{color}{sign}{plain} {what}{notes}").unwrap_or_default();
    }
}

fn is_same(kind: &str) -> bool {
    matches!(kind, "None" | "")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_a_tree_of_what_changes() {
        let field = |kind: &str, name: &str, old: &str, new: &str| json!({"Type": kind, "Name": name, "Old": old, "New": new});
        let plan: Plan = serde_json::from_value(json!({"Diff": {
            "Type": "Edited",
            "Fields": [field("None", "Region", "global", "global")],
            "TaskGroups": [{
                "Type": "Edited", "Name": "web",
                "Updates": {"canary": 1, "ignore": 3},
                "Fields": [field("Edited", "Count", "3", "4")],
                "Objects": [{"Type": "Added", "Name": "Network", "Fields": [field("Added", "Mode", "", "bridge")]}],
                "Tasks": [
                    {"Type": "Edited", "Name": "app", "Annotations": ["forces create/destroy update"],
                     "Objects": [{"Type": "Edited", "Name": "Config", "Fields": [field("Edited", "image", "app:1", "app:2")]},
                                 {"Type": "Edited", "Name": "Template", "Fields": [field("Edited", "EmbeddedTmpl", "a\nb\nc\n", "a\nB\nc\n")]}]},
                    {"Type": "None", "Name": "envoy"}],
            }],
        }}))
        .unwrap();
        assert_eq!(
            tree("web", &plan, false),
            "~ job web
  ~ group web  (1 canary, 3 ignore)
    ~ Count \"3\" → \"4\"
    + Network
      + Mode \"bridge\"
    ~ task app  (forces create/destroy update)
      ~ Config
        ~ image \"app:1\" → \"app:2\"
      ~ Template
        ~ EmbeddedTmpl
              a
            - b
            + B
              c
"
        );
        assert!(tree("web", &plan, true).contains("\x1b[33m~\x1b[0m job web"));
    }

    #[test]
    fn counts_are_said_in_words() {
        let some = UpdateCounts { canary: 1, ignore: 3, ..UpdateCounts::default() };
        assert_eq!(counts(&some), "1 new beside the old, 3 untouched");
        assert_eq!(counts(&UpdateCounts::default()), "no instances");
    }
}
