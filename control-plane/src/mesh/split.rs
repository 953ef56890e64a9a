//! One forward to a service → the rules that Envoy needs: by track, and by what is safe to try again.

use contract::gateway::Conversion;
use contract::name::ServiceName;
use contract::registration::{Protocol, Track};
use contract::system::RetryOn;

use crate::mesh::{
    Action, Admission, Forward, HeaderCondition, Origin, PathMatch, RetryPolicy, RouteRule,
    ServiceModel, Target,
};

/// Methods that may be sent twice (RFC 9110, section 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"];

/// What a route to a service asks for, before it is split.
#[derive(Debug, Clone)]
pub struct Destination<'a> {
    /// The service.
    pub service: &'a ServiceModel,
    /// Which paths.
    pub path: PathMatch,
    /// In place of the service's own.
    pub timeout: Option<Option<std::time::Duration>>,
    /// In place of the service's own.
    pub retries: Option<&'a RetryPolicy>,
    /// Where the route comes from.
    pub origin: Origin,
}

/// The rules of a destination, most specific first.
pub fn rules(destination: &Destination<'_>) -> Vec<RouteRule> {
    let service = destination.service;
    let share = |stable: u32| {
        let targets = [(Track::Stable, stable), (Track::Canary, 100 - stable)];
        targets
            .into_iter()
            .filter(|(_, share)| *share > 0)
            .map(|(track, share)| (service.target(track), share))
            .collect::<Vec<_>>()
    };
    let mut rules = Vec::new();
    if let Some(canary) = &service.canary {
        rules.extend(by_method(destination, share(0), vec![canary.header.clone()]));
    }
    let stable = service.canary.as_ref().map_or(100, |canary| 100 - canary.percent.min(100));
    rules.extend(by_method(destination, share(stable), vec![]));
    rules
}

/// The rule of a destination whose requests the gateway's application converts. It calls the service by name, through
/// the gateway's own table, which has the tracks and the retries: tried again here, a call could be made twice.
pub fn converted(
    destination: &Destination<'_>,
    conversion: &Conversion,
    app: &ServiceName,
) -> Vec<RouteRule> {
    vec![RouteRule {
        path: destination.path.clone(),
        headers: vec![],
        admission: Admission::Open,
        action: Action::Forward(Forward {
            targets: vec![(Target::App(app.clone()), 100)],
            timeout: destination.timeout.unwrap_or(destination.service.policy.timeout),
            is_grpc: false,
            retries: None,
            rewrite: None,
            stripped: None,
            conversion: Some(conversion.clone()),
        }),
        origin: destination.origin.clone(),
    }]
}

/// One rule for methods that may be sent twice, one for the rest, where their retries differ.
fn by_method(
    destination: &Destination<'_>,
    targets: Vec<(Target, u32)>,
    headers: Vec<HeaderCondition>,
) -> Vec<RouteRule> {
    let service = destination.service;
    let retries = destination.retries.unwrap_or(&service.policy.retries);
    let rule = |retries: Option<RetryPolicy>, headers: Vec<HeaderCondition>| RouteRule {
        path: destination.path.clone(),
        headers,
        admission: Admission::Open,
        action: Action::Forward(Forward {
            targets: targets.clone(),
            timeout: destination.timeout.unwrap_or(service.policy.timeout),
            is_grpc: service.protocol == Protocol::Grpc,
            retries,
            rewrite: None,
            stripped: None,
            conversion: None,
        }),
        origin: destination.origin.clone(),
    };
    by_safety(retries, headers, service.protocol != Protocol::Grpc, rule)
}

/// Splits a rule in two where its retries are safe only for some methods.
///
/// A request that its instance may have seen (`5xx`, `gateway-error`, `reset`) is tried again only when its method
/// may be sent twice: nobody's order is placed twice. gRPC is all POST, so it never has the first rule.
pub fn by_safety(
    retries: &RetryPolicy,
    headers: Vec<HeaderCondition>,
    has_idempotent_methods: bool,
    rule: impl Fn(Option<RetryPolicy>, Vec<HeaderCondition>) -> RouteRule,
) -> Vec<RouteRule> {
    let safe: Vec<RetryOn> = retries.on.iter().copied().filter(|on| is_always_safe(*on)).collect();
    let narrowed = |on: &[RetryOn]| {
        (!on.is_empty()).then(|| RetryPolicy { on: on.to_vec(), attempts: retries.attempts })
    };
    let mut rules = Vec::new();
    if has_idempotent_methods && safe.len() < retries.on.len() {
        let methods = IDEMPOTENT.iter().map(|method| (*method).to_owned()).collect();
        let mut headers = headers.clone();
        headers.push(HeaderCondition::OneOf(":method", methods));
        rules.push(rule(narrowed(&retries.on), headers));
    }
    rules.push(rule(narrowed(&safe), headers));
    rules
}

/// Whether the failure proves that no instance saw the request.
const fn is_always_safe(on: RetryOn) -> bool {
    match on {
        RetryOn::ConnectFailure | RetryOn::RefusedStream | RetryOn::ResetBeforeRequest => true,
        RetryOn::FiveXx | RetryOn::GatewayError | RetryOn::Reset => false,
    }
}
