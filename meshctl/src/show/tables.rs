//! Tables for people: aligned columns, no lines, as wide as the terminal.
//!
//! In: joined views. Out: text without a final line end. Called by [`super`].
//!
//! **Invariants**: same views, same text; an empty list says what its absence means.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use contract::api::{Explanation, Outcome, Problem, ProxyView, ServiceView, SystemView, TypeView};
use contract::gateway::GatewayRoutes;
use contract::name::SystemName;

use crate::console::age;
use crate::show::ReplicaStatus;
use crate::store::Replaced;

/// What `callers` can promise while proxies have no certificates.
const CALLERS_NOTE: &str =
    "CALLERS guards against mistakes, not against attackers: proxies show no certificates yet.";

/// A table under way.
pub(crate) struct Rows(Table);

impl Rows {
    pub(crate) fn new(head: &[&str], width: Option<u16>) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(head.to_vec());
        match width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        Self(table)
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.0.add_row(cells);
    }

    /// The text without the padding that only cells need.
    pub(crate) fn finish(self) -> String {
        let lines = self.0.to_string();
        let lines = lines.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
        lines.collect::<Vec<_>>().join("\n")
    }
}

pub(crate) fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn join<T: ToString>(items: &[T]) -> String {
    or_dash(items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

pub(super) fn systems(systems: &[SystemView], width: Option<u16>) -> String {
    if systems.is_empty() {
        return "No Systems: no registration has mesh_system, and no document is kept.".to_owned();
    }
    let head = ["SYSTEM", "SERVICES", "GATEWAY", "DOCUMENT", "HOSTS", "CALLERS", "ROUTES"];
    let mut rows = Rows::new(&head, width);
    for system in systems {
        let routes: Vec<String> = system
            .routes
            .iter()
            .map(|route| format!("{} → {} ({})", route.matches, route.to, route.auth))
            .collect();
        rows.row(vec![
            system.name.to_string(),
            join(&system.services),
            yes_or_no(system.has_gateway),
            yes_or_no(system.has_document),
            join(&system.hosts),
            callers(system.callers.as_deref()),
            or_dash(routes.join("\n")),
        ]);
    }
    format!("{}\n\n{CALLERS_NOTE}", rows.finish())
}

pub(super) fn routes(systems: &[GatewayRoutes], width: Option<u16>) -> String {
    if systems.iter().all(|system| system.routes.is_empty()) {
        return "No routes: a System's document, or a service's mesh_path, exposes something."
            .to_owned();
    }
    let head = ["SYSTEM", "REQUESTS", "HOSTS", "GO TO", "TIMEOUT", "CLIENTS", "CALLERS", "FROM"];
    let mut rows = Rows::new(&head, width);
    for GatewayRoutes { system, routes, .. } in systems {
        for route in routes {
            let conversion = route.conversion.as_ref();
            let conversion = conversion
                .map_or(String::new(), |what| format!(" as gRPC {}", what.grpc.join(", ")));
            let is_forwarded = matches!(route.to, Outcome::Services(_));
            let timeout = route.timeout.map(|timeout| timeout.to_string());
            rows.row(vec![
                system.to_string(),
                route.matches.clone(),
                if route.hosts.is_empty() { "all".to_owned() } else { join(&route.hosts) },
                format!("{}{conversion}", route.to),
                match is_forwarded {
                    true => timeout.unwrap_or_else(|| "none".to_owned()),
                    false => "-".to_owned(),
                },
                route.auth.clone(),
                callers(route.callers.as_deref()),
                route.origin.clone(),
            ]);
        }
    }
    format!("{}\n\n{CALLERS_NOTE}", rows.finish())
}

fn callers(callers: Option<&[SystemName]>) -> String {
    match callers {
        None => "all".to_owned(),
        Some([]) => "none".to_owned(),
        Some(callers) => join(callers),
    }
}

pub(super) fn status(states: &[ReplicaStatus], width: Option<u16>) -> String {
    let head = ["CONTROL PLANE", "VERSION", "READY", "GENERATION", "PROXIES", "SOURCES"];
    let mut rows = Rows::new(&head, width);
    for ReplicaStatus { replica, status } in states {
        let sources: Vec<String> = status
            .sources
            .iter()
            .map(|source| match (source.stale_seconds, &source.error) {
                (None, _) => format!("{} answers", source.name),
                (Some(seconds), error) => format!(
                    "{} has not answered for {}: {}",
                    source.name,
                    age(seconds),
                    error.as_deref().unwrap_or("no reason given")
                ),
            })
            .collect();
        let ready = match &status.reason {
            None => yes_or_no(status.ready),
            Some(reason) => format!("{}: {reason}", yes_or_no(status.ready)),
        };
        rows.row(vec![
            replica.clone(),
            status.version.clone(),
            ready,
            status.generation.to_string(),
            status.proxies.to_string(),
            or_dash(sources.join("\n")),
        ]);
    }
    rows.finish()
}

pub(super) fn services(services: &[ServiceView], width: Option<u16>) -> String {
    if services.is_empty() {
        return "No services: no registration has mesh_system.".to_owned();
    }
    let head = ["SERVICE", "ROLE", "PROTOCOL", "HEALTHY", "CANARY", "PATH", "CALLS"];
    let mut rows = Rows::new(&head, width);
    for service in services {
        let healthy = service.instances.iter().filter(|i| i.health == "healthy").count();
        let canary = service.instances.iter().filter(|i| i.track.as_str() == "canary").count();
        rows.row(vec![
            service.key.to_string(),
            service.role.to_string(),
            service.protocol.to_string(),
            format!("{healthy}/{}", service.instances.len()),
            canary.to_string(),
            service.path.clone().unwrap_or_else(|| "-".to_owned()),
            service.upstreams.clone().unwrap_or_else(|| "its System".to_owned()),
        ]);
    }
    rows.finish()
}

pub(super) fn instances(services: &[ServiceView], width: Option<u16>) -> String {
    let head = ["SERVICE", "ADDRESS", "HEALTH", "WEIGHT", "TRACK", "NODE", "INSTANCE", "ID"];
    let mut rows = Rows::new(&head, width);
    for service in services {
        for instance in &service.instances {
            rows.row(vec![
                service.key.to_string(),
                instance.address.clone(),
                instance.health.clone(),
                instance.weight.to_string(),
                instance.track.to_string(),
                instance.node.clone(),
                instance.instance.clone().unwrap_or_else(|| "-".to_owned()),
                instance.id.clone(),
            ]);
        }
    }
    rows.finish()
}

pub(super) fn proxies(proxies: &[ProxyView], width: Option<u16>) -> String {
    if proxies.is_empty() {
        return "No proxies are connected.".to_owned();
    }
    let head = ["PROXY", "SYSTEM", "ROLE", "SERVICES", "ENVOY", "MODE", "CONNECTED", "STATE"];
    let mut rows = Rows::new(&head, width);
    for proxy in proxies {
        rows.row(vec![
            proxy.id.clone(),
            proxy.system.as_ref().map_or("-".to_owned(), ToString::to_string),
            proxy.role.to_string(),
            join(&proxy.services),
            proxy.agent.clone(),
            proxy.mode.clone(),
            age(proxy.connected_seconds),
            state(&proxy.types),
        ]);
    }
    let refused: Vec<String> = proxies
        .iter()
        .flat_map(|proxy| proxy.types.iter().map(move |kind| (proxy, kind)))
        .flat_map(|(proxy, kind)| kind.nacked.iter().map(move |nack| (proxy, kind, nack)))
        .map(|(proxy, kind, nack)| {
            format!("\n{} refuses {} {}: {}", proxy.id, kind.name, nack.resource, nack.message)
        })
        .collect();
    let gap = if refused.is_empty() { "" } else { "\n" };
    format!("{}{gap}{}", rows.finish(), refused.concat())
}

/// In a word, whether a proxy has what it is to have.
fn state(types: &[TypeView]) -> String {
    let pending: usize = types.iter().map(|kind| kind.pending).sum();
    let refused: usize = types.iter().map(|kind| kind.nacked.len()).sum();
    match (pending, refused) {
        // A stream that is stalled, or has asked for nothing yet, tells of no type.
        (0, 0) if types.is_empty() => "silent".to_owned(),
        (0, 0) => "current".to_owned(),
        (_, 0) => format!("{pending} pending"),
        (0, _) => format!("{refused} refused"),
        (_, _) => format!("{pending} pending, {refused} refused"),
    }
}

pub(super) fn problems(problems: &[Problem], width: Option<u16>) -> String {
    if problems.is_empty() {
        return "No problems: everything registered and written is in force.".to_owned();
    }
    let mut rows = Rows::new(&["SUBJECT", "REASON"], width);
    for problem in problems {
        rows.row(vec![problem.subject.clone(), problem.reason.clone()]);
    }
    rows.finish()
}

pub(super) fn history(
    name: &SystemName,
    history: &[Replaced],
    ages: impl Fn(&Replaced) -> String,
    width: Option<u16>,
) -> String {
    if history.is_empty() {
        return format!("No earlier version of {name} is kept.");
    }
    let mut rows = Rows::new(&["VERSION", "REPLACED", "BY", "LINES"], width);
    for replaced in history {
        rows.row(vec![
            replaced.version.to_string(),
            format!("{} ago", ages(replaced)),
            replaced.replaced_by.clone(),
            replaced.text.lines().count().to_string(),
        ]);
    }
    rows.finish()
}

pub(super) fn explanation(explanation: &Explanation, width: Option<u16>) -> String {
    let system = match &explanation.system {
        Some(system) => format!(" of System {system}"),
        None => String::new(),
    };
    let mut rows = Rows::new(&["KIND", "NAME", "WHAT", "BECAUSE"], width);
    for item in &explanation.items {
        rows.row(vec![
            item.kind.clone(),
            item.name.clone(),
            item.what.clone(),
            item.because.clone(),
        ]);
    }
    let left_out = match explanation.problems.as_slice() {
        [] => String::new(),
        left_out => format!("\n\nLeft out:\n{}", problems(left_out, width)),
    };
    let who = format!("{}, {}{system}", explanation.id, explanation.role);
    format!("{who}\n\n{}{left_out}", rows.finish())
}
