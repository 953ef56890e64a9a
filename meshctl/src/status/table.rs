//! The state of a job as tables for people.
//!
//! In: a [`StatusView`], the time, the width of the terminal. Out: text. Pure.

use std::fmt::Write as _;

use super::{DeploymentView, InstanceView, StatusView};
use crate::console::age;
use crate::deploy::record::State;
use crate::deploy::view::short;
use crate::show::Rows;

/// Everything that is known of a job, for people.
pub(super) fn text(view: &StatusView, now: u64, width: Option<u16>) -> String {
    let ago = |seconds: u64| match seconds {
        0 => "-".to_owned(),
        at => age(now.saturating_sub(at)),
    };
    let StatusView { job, kind, status, version, .. } = view;
    let mut text = format!("{job}: {kind}, {status}, version {version}\n");
    // Writing to a String cannot fail.
    if let Some(record) = &view.deploy {
        let owner = &record.owner.name;
        let works = if view.locked { "works on it" } else { "worked on it" };
        writeln!(
            text,
            "{}: {}, {} ago; {owner} {works}",
            record.state.name().replace('_', " "),
            record.what,
            ago(record.started)
        )
        .unwrap_or_default();
        if !view.locked {
            let promote = match record.state {
                State::AwaitingPromotion { .. } | State::Promoting { .. } => {
                    format!("meshctl promote {job} promotes it; ")
                }
                _ => String::new(),
            };
            writeln!(
                text,
                "half-way: the same command goes on; {promote}meshctl rollback {job} ends it"
            )
            .unwrap_or_default();
        }
    }
    if let Some(own) = &view.deployment {
        let DeploymentView { id, healthy, wanted, status, description, .. } = own;
        write!(text, "deployment {}: {status}, {healthy} of {wanted} healthy", short(id))
            .unwrap_or_default();
        if own.needs_promotion {
            let (healthy, wanted) = (own.canaries_healthy, own.canaries_wanted);
            write!(text, ", {healthy} of {wanted} canaries healthy, waits for promotion")
                .unwrap_or_default();
        }
        if !description.is_empty() {
            write!(text, " ({description})").unwrap_or_default();
        }
        text.push('\n');
    }
    let mut rows = Rows::new(&["VERSION", "SUBMITTED", "DEPLOYMENT", "STABLE", "WHY"], width);
    for own in &view.versions {
        rows.row(vec![
            if own.in_force { format!("{} *", own.version) } else { own.version.to_string() },
            ago(own.submitted),
            own.deployment.clone().unwrap_or_else(|| "-".to_owned()),
            if own.stable { "yes" } else { "no" }.to_owned(),
            own.description.clone(),
        ]);
    }
    write!(text, "\n{}\n", rows.finish()).unwrap_or_default();
    if view.instances.is_empty() {
        text.push_str("\nNo instances.\n");
    } else {
        let head = [
            "INSTANCE",
            "VERSION",
            "TRACK",
            "HEALTH",
            "NODE",
            "AGE",
            "REGISTERED",
            "PROXY",
            "TASKS",
        ];
        let mut rows = Rows::new(&head, width);
        for InstanceView { instance: own, registered, proxy } in &view.instances {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            rows.row(vec![
                short(&own.id).to_owned(),
                own.version.to_string(),
                own.track.to_owned(),
                own.health.to_owned(),
                own.node.clone(),
                ago(own.since),
                or_dash(registered),
                or_dash(proxy),
                own.tasks.clone(),
            ]);
        }
        write!(text, "\n{}\n", rows.finish()).unwrap_or_default();
    }
    for who in &view.unknown {
        writeln!(text, "\nno answer from {who}").unwrap_or_default();
    }
    text.trim_end().to_owned()
}
