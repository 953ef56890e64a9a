//! Figures: what was measured, against what goal, beside which peer.
//!
//! In: [`Figure`]s from the scenarios. Out: a table for people, JSON for machines.
//!
//! **Invariants**: a figure is complete in itself: unit, goal and method stand with the value. Smaller is better, but where
//! the figure is a rate (`…/s`).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use comfy_table::{Table, presets};
use serde::Serialize;

/// One measured value.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// The value.
    pub value: f64,
    /// The value must be at most this, or at least, for a rate (`…/s`).
    pub goal: Option<f64>,
    /// Whether it is.
    pub met: Option<bool>,
    /// The same of others, and how many times ours that is.
    pub peer: BTreeMap<String, Peer>,
    /// How it was measured.
    pub how: String,
}

/// A peer's value.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Peer {
    /// In the figure's unit.
    pub value: f64,
    /// The peer's value divided by ours.
    pub ratio: f64,
}

impl Figure {
    /// A figure without goal.
    pub fn new(name: impl Into<String>, unit: &'static str, value: f64, how: &str) -> Self {
        Self {
            name: name.into(),
            unit,
            value: rounded(value),
            goal: None,
            met: None,
            peer: BTreeMap::new(),
            how: how.to_owned(),
        }
    }

    /// With the goal of at most `goal`.
    #[must_use]
    pub fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(rounded(goal));
        self.met = Some(self.value <= goal);
        self
    }

    /// With the goal of at least `goal`.
    #[must_use]
    pub fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(rounded(goal));
        self.met = Some(self.value >= goal);
        self
    }

    /// Puts a peer's value beside.
    pub fn beside(&mut self, peer: &str, value: f64) {
        let ratio = if self.value > 0.0 { rounded(value / self.value) } else { 0.0 };
        self.peer.insert(peer.to_owned(), Peer { value: rounded(value), ratio });
    }
}

fn rounded(value: f64) -> f64 {
    let digits = if value.abs() < 1.0 { 1e4 } else { 1e2 };
    (value * digits).round() / digits
}

/// The table for people.
pub fn table(figures: &[Figure]) -> String {
    let peers: std::collections::BTreeSet<&String> =
        figures.iter().flat_map(|figure| figure.peer.keys()).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec![
        "FIGURE".to_owned(),
        "VALUE".to_owned(),
        "UNIT".to_owned(),
        "GOAL".to_owned(),
        String::new(),
    ];
    header.extend(peers.iter().map(|peer| peer.to_uppercase()));
    table.set_header(header);
    for figure in figures {
        let mut row = vec![
            figure.name.clone(),
            figure.value.to_string(),
            figure.unit.to_owned(),
            figure.goal.map_or_else(String::new, |goal| match figure.unit.ends_with("/s") {
                true => format!(">= {goal}"),
                false => format!("<= {goal}"),
            }),
            match figure.met {
                Some(true) => "met".to_owned(),
                Some(false) => "MISSED".to_owned(),
                None => String::new(),
            },
        ];
        row.extend(peers.iter().map(|peer| {
            figure
                .peer
                .get(*peer)
                .map_or_else(String::new, |peer| format!("{} ({}x)", peer.value, peer.ratio))
        }));
        table.add_row(row);
    }
    table.to_string()
}

/// Writes the figures as JSON.
///
/// # Errors
/// The file cannot be written.
pub fn write(figures: &[Figure], file: &Path) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(figures).context("figures have no JSON form")?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

/// The value below which this share of the sorted values lies.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a position in a list that fits in memory"
    )]
    let index = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(index).or(sorted.last()).copied().unwrap_or_default()
}

/// Sorts values for [`percentile`].
pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = sorted((1..=100).rev().map(f64::from).collect());
        assert_eq!(percentile(&values, 0.5), 50.0);
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert_eq!(percentile(&values, 1.0), 100.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_peer_stands_beside_a_figure_with_its_ratio() {
        let mut figure = Figure::new("event p50", "ms", 20.0, "").goal(30.0);
        figure.beside("other", 300.0);
        assert_eq!((figure.met, figure.peer["other"].ratio), (Some(true), 15.0));
    }
}
