//! Stage 3: which destinations get a record, and under which tag.
//!
//! Pure. Every pipeline evaluates all routes the same way and keeps only what is its own destination's, so that no pipeline
//! needs to know of another.
//!
//! **Invariants**: a destination gets a record at most once, under the tag of the first route that names it; a tag holds only
//! `A-Z a-z 0-9 _ -` and the dots of its template.

mod tag;

use serde::{Deserialize, Serialize};
use service::config::Problems;

use crate::logs::record::Record;
use crate::logs::shape::rules::{Conditions, RawWhen, Scope};
use tag::Template;

/// An index into the configured destinations, in the order in which [`Routes::resolve`] got them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DestinationId(pub u16);

/// One of `[[logs.routes]]`, tried in order. Without any, all records go to all destinations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRoute {
    /// All of these must hold.
    pub when: RawWhen,
    /// The route does not apply where all of these hold.
    pub unless: RawWhen,
    /// The destinations; none: the record goes nowhere.
    pub to: Vec<String>,
    /// The tag's template; absent: `mesh.{system}.{service|task|container|unit|identifier}`.
    pub tag: Option<String>,
    /// Whether the routes below are tried too; otherwise the first that applies is the last.
    pub go_on: bool,
}

/// All routes, compiled; immutable.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    when: Conditions,
    unless: Conditions,
    to: Vec<DestinationId>,
    tag: Template,
    go_on: bool,
}

impl Routes {
    /// Reads `[[logs.routes]]` for these destinations; every problem is noted with its key.
    pub fn resolve(routes: &[RawRoute], destinations: &[&str], problems: &mut Problems) -> Self {
        if routes.is_empty() {
            let to = (0..).map(DestinationId).take(destinations.len()).collect();
            let (when, unless) = (Conditions::default(), Conditions::default());
            let tag = Template::default();
            return Self { routes: vec![Route { when, unless, to, tag, go_on: false }] };
        }
        let routes = routes.iter().enumerate().map(|(index, raw)| {
            Route::resolve(raw, &format!("logs.routes.{index}"), destinations, problems)
        });
        Self { routes: routes.collect() }
    }

    /// Whether the record is for this destination; if so, its tag is written to `tag`, which is emptied before.
    pub fn decide(&self, record: &Record, destination: DestinationId, tag: &mut String) -> bool {
        tag.clear();
        for route in &self.routes {
            let is_ours = route.to.contains(&destination);
            if (is_ours || !route.go_on) && route.applies(record) {
                if is_ours {
                    route.tag.write(record, tag);
                }
                if is_ours || !route.go_on {
                    return is_ours;
                }
            }
        }
        false
    }

    /// All destinations of a record with their tags, in the order of the routes: for those who try rules.
    pub fn all(&self, record: &Record) -> Vec<(DestinationId, String)> {
        let mut all: Vec<(DestinationId, String)> = Vec::new();
        for route in self.routes.iter().filter(|route| route.applies(record)) {
            for destination in &route.to {
                if !all.iter().any(|(known, _)| known == destination) {
                    let mut tag = String::new();
                    route.tag.write(record, &mut tag);
                    all.push((*destination, tag));
                }
            }
            if !route.go_on {
                break;
            }
        }
        all
    }
}

impl Route {
    fn resolve(raw: &RawRoute, key: &str, destinations: &[&str], problems: &mut Problems) -> Self {
        let scope = Scope::Route;
        let mut to = Vec::new();
        for name in &raw.to {
            match (0..).zip(destinations).find(|(_, known)| *known == name) {
                Some((index, _)) => to.push(DestinationId(index)),
                None => {
                    let known = destinations.join(", ");
                    let message = format!("no destination is called {name:?}; known: {known}");
                    problems.add(format!("{key}.to"), message);
                }
            }
        }
        let tag = match &raw.tag {
            None => Template::default(),
            Some(text) => problems.take(&format!("{key}.tag"), text.parse()).unwrap_or_default(),
        };
        Self {
            when: Conditions::resolve(&raw.when, &format!("{key}.when"), scope, problems),
            unless: Conditions::resolve(&raw.unless, &format!("{key}.unless"), scope, problems),
            to,
            tag,
            go_on: raw.go_on,
        }
    }

    fn applies(&self, record: &Record) -> bool {
        self.when.hold(record, None) && (self.unless.is_empty() || !self.unless.hold(record, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::entry::{RecordId, SourceId};
    use crate::logs::record::Origin;

    fn record(origins: &[(Origin, &str)]) -> Record {
        let mut record = Record::default();
        record.begin(RecordId { sequence: 1, number: 1 }, SourceId(0), 0);
        for (origin, value) in origins {
            record.set_origin(*origin, value);
        }
        record
    }

    fn routes(text: &str) -> Routes {
        #[derive(Deserialize)]
        struct All {
            routes: Vec<RawRoute>,
        }
        let all: All = toml::from_str(text).unwrap();
        let mut problems = Problems::default();
        let routes = Routes::resolve(&all.routes, &["archive", "central"], &mut problems);
        problems.finish(None, Some(routes)).unwrap()
    }

    #[test]
    fn without_routes_every_record_goes_everywhere() {
        let routes = Routes::resolve(&[], &["archive", "central"], &mut Problems::default());
        let record = record(&[(Origin::System, "trading"), (Origin::Unit, "a b.service")]);
        let tag = "mesh.trading.a_b_service".to_owned();
        assert_eq!(routes.all(&record), [(DestinationId(0), tag.clone()), (DestinationId(1), tag)]);
    }

    #[test]
    fn each_destination_decides_as_all_of_them_would() {
        let routes = routes(
            r#"
            [[routes]]
            when = { unit = "*" }
            to = ["archive"]
            tag = "host.{unit}"
            go_on = true
            [[routes]]
            when = { system = ["trading", "portfolio"] }
            to = ["central", "archive"]
            [[routes]]
            unless = { system = "*" }
            to = []
            [[routes]]
            to = ["central"]
            tag = "rest"
            "#,
        );
        for (origins, expected) in [
            (&[(Origin::Unit, "ssh")][..], &[(0, "host.ssh")][..]),
            (
                &[(Origin::System, "trading"), (Origin::Unit, "x")],
                &[(0, "host.x"), (1, "mesh.trading.x")],
            ),
            (&[(Origin::System, "other")], &[(1, "rest")]),
            (&[], &[]),
        ] {
            let record = record(origins);
            let all = routes.all(&record);
            let all: Vec<(u16, &str)> = all.iter().map(|(id, tag)| (id.0, tag.as_str())).collect();
            assert_eq!(all, expected);
            for id in 0..2 {
                let mut tag = String::from("old");
                let is_for = routes.decide(&record, DestinationId(id), &mut tag);
                let own = all.iter().find(|(other, _)| *other == id);
                assert_eq!(is_for.then_some((id, tag.as_str())).as_ref(), own);
            }
        }
    }
}
