//! What counts as healthy.

use super::{Case, Found, found};
use crate::lint::job::{Check, Service};
use jobspec::Read;

/// Whether a check goes to the port that the service registers; one without a port does.
fn is_on_port(check: &Check, service: &Service) -> bool {
    match (&check.port, &service.port) {
        (Read::Known(own, _), Read::Known(registered, _)) => own == registered,
        _ => true,
    }
}

fn word(value: &Read<String>) -> &str {
    value.known().map_or("", String::as_str)
}

pub(super) fn present(case: &Case<'_>) -> Vec<Found> {
    let unchecked = case
        .mesh_services()
        .filter(|(_, service)| !service.checks.iter().any(|check| is_on_port(check, service)));
    unchecked
        .map(|(_, service)| {
            let rest = if service.checks.is_empty() {
                "has no check"
            } else {
                "has no check on its own port"
            };
            found(service.line, format!("service {:?} {rest}", service.called()))
        })
        .collect()
}

/// Findings about single checks of the mesh's services.
fn of_checks(
    case: &Case<'_>,
    judge: impl Fn(&Service, &Check) -> Option<(usize, String)>,
) -> Vec<Found> {
    let checks = case
        .mesh_services()
        .flat_map(|(_, service)| service.checks.iter().map(move |check| (service, check)));
    checks
        .filter_map(|(service, check)| judge(service, check))
        .map(|(line, message)| found(line, message))
        .collect()
}

pub(super) fn kind(case: &Case<'_>) -> Vec<Found> {
    of_checks(case, |service, check| {
        let kind = word(&check.kind);
        let is_good = matches!(kind, "http" | "grpc" | "tcp");
        (!is_good && !matches!(check.kind, Read::Unknown(..))).then(|| {
            let line = check.kind.line(check.line);
            (line, format!("a check of service {:?} has the type {kind:?}", service.called()))
        })
    })
}

pub(super) fn tcp(case: &Case<'_>) -> Vec<Found> {
    of_checks(case, |service, check| {
        let says = |key: &str, value: &str| {
            service.meta.keys.get(key).and_then(Read::known).is_some_and(|own| own == value)
        };
        // What a gateway answers is its System's affair.
        let is_of_bytes = says("mesh_protocol", "tcp") || says("mesh_role", "gateway");
        let has_other = service.checks.iter().any(|other| {
            is_on_port(other, service) && matches!(word(&other.kind), "http" | "grpc")
        });
        (word(&check.kind) == "tcp" && is_on_port(check, service) && !is_of_bytes && !has_other)
            .then(|| {
                let message =
                    format!("service {:?} is checked by a connection alone", service.called());
                (check.kind.line(check.line), message)
            })
    })
}

pub(super) fn on_update(case: &Case<'_>) -> Vec<Found> {
    of_checks(case, |service, check| {
        let says = word(&check.on_update);
        matches!(says, "ignore" | "ignore_warnings").then(|| {
            let message = format!("a check of service {:?} says {says:?}", service.called());
            (check.on_update.line(check.line), message)
        })
    })
}
