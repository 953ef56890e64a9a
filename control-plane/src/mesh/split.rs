//! One forward to services → the rules that Envoy needs: by track, and by what is safe to try again.

use contract::conversion::Conversion;
use contract::name::ServiceName;
use contract::registration::{Protocol, Track};
use contract::system::RetryOn;

use crate::mesh::requests::METHOD;
use crate::mesh::{
    Action, Admission, Forward, HeaderCondition, Origin, Requests, RetryPolicy, Rewrite, RouteRule,
    ServiceModel, Target, Treatment,
};

/// Methods that may be sent twice (RFC 9110, section 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"];

/// What a route to services asks for, before it is split.
#[derive(Debug, Clone)]
pub struct Destination<'a> {
    /// The service that gets most, whose policy holds.
    pub service: &'a ServiceModel,
    /// Every other with its share of 100; the rest is the first one's.
    pub others: Vec<(&'a ServiceModel, u32)>,
    /// Which requests.
    pub requests: Requests,
    /// In place of the service's own.
    pub timeout: Option<Option<std::time::Duration>>,
    /// In place of the service's own.
    pub retries: Option<&'a RetryPolicy>,
    /// What becomes of the path.
    pub rewrite: Option<Rewrite>,
    /// Who gets a copy, and of how many in a hundred.
    pub mirror: Option<(Target, u32)>,
    /// What else happens on the way.
    pub treatment: Treatment,
    /// Where the route comes from.
    pub origin: Origin,
}

impl<'a> Destination<'a> {
    /// Every request to a service, as its own policy says.
    pub fn of(service: &'a ServiceModel) -> Self {
        Self {
            service,
            others: Vec::new(),
            requests: Requests::all(),
            timeout: None,
            retries: None,
            rewrite: None,
            mirror: None,
            treatment: Treatment::default(),
            origin: service.origin.clone(),
        }
    }

    fn shares(&self) -> impl Iterator<Item = (&'a ServiceModel, u32)> {
        let others: u32 = self.others.iter().map(|(_, share)| share).sum();
        let first = (self.service, 100_u32.saturating_sub(others));
        std::iter::once(first).chain(self.others.iter().copied())
    }

    /// Every track's target with its weight, where so many in a hundred of a service's requests go to its canary.
    fn targets(&self, canary: impl Fn(&ServiceModel) -> u32) -> Vec<(Target, u32)> {
        let mut targets: Vec<(Target, u32)> = self
            .shares()
            .flat_map(|(service, share)| {
                let percent = canary(service).min(100);
                [(Track::Stable, 100 - percent), (Track::Canary, percent)]
                    .map(|(track, part)| (service.target(track), share * part))
            })
            .filter(|(_, weight)| *weight > 0)
            .collect();
        if targets.iter().all(|(_, weight)| weight.is_multiple_of(100)) {
            targets.iter_mut().for_each(|(_, weight)| *weight /= 100);
        }
        targets
    }

    fn rule(&self, requests: Requests, forward: Forward) -> RouteRule {
        RouteRule {
            requests,
            admission: Admission::Open,
            action: Action::Forward(Forward { rewrite: self.rewrite.clone(), ..forward }),
            treatment: self.treatment.clone(),
            origin: self.origin.clone(),
        }
    }
}

/// The rules of a destination, most specific first.
pub fn rules(destination: &Destination<'_>) -> Vec<RouteRule> {
    let mut rules = Vec::new();
    let share = |service: &ServiceModel| service.canary.as_ref().map_or(0, |canary| canary.percent);
    let mut headers: Vec<&HeaderCondition> = Vec::new();
    for header in destination.shares().filter_map(|(one, _)| Some(&one.canary.as_ref()?.header)) {
        if headers.contains(&header) {
            continue;
        }
        headers.push(header);
        // Who asks for one service's canary takes the share that others give theirs.
        let is_asked = |service: &ServiceModel| {
            service.canary.as_ref().is_some_and(|canary| canary.header == *header)
        };
        let targets = destination.targets(|one| if is_asked(one) { 100 } else { share(one) });
        let requests = destination.requests.clone().with(header.clone());
        rules.extend(by_method(destination, &targets, &requests));
    }
    let targets = destination.targets(share);
    rules.extend(by_method(destination, &targets, &destination.requests));
    rules
}

/// The rule of a destination whose requests the gateway's application converts. It calls the service by name, through
/// the gateway's own table, which has the tracks and the retries: tried again here, a call could be made twice.
pub fn converted(
    destination: &Destination<'_>,
    conversion: &Conversion,
    app: &ServiceName,
) -> Vec<RouteRule> {
    let forward = Forward {
        timeout: destination.timeout.unwrap_or(destination.service.policy.timeout),
        mirror: destination.mirror.clone(),
        conversion: Some(conversion.clone()),
        ..Forward::to(Target::App(app.clone()))
    };
    vec![destination.rule(destination.requests.clone(), forward)]
}

/// One rule for methods that may be sent twice, one for the rest, where their retries differ.
fn by_method(
    destination: &Destination<'_>,
    targets: &[(Target, u32)],
    requests: &Requests,
) -> Vec<RouteRule> {
    let policy = &destination.service.policy;
    let retries = destination.retries.unwrap_or(&policy.retries);
    let mut protocols = destination.shares().map(|(service, _)| service.protocol);
    let is_grpc = protocols.all(|protocol| protocol == Protocol::Grpc);
    let rule = |retries: Option<RetryPolicy>, requests: Requests| {
        let forward = Forward {
            targets: targets.to_vec(),
            timeout: destination.timeout.unwrap_or(policy.timeout),
            is_grpc,
            retries,
            rewrite: None,
            stripped: None,
            mirror: destination.mirror.clone(),
            conversion: None,
        };
        destination.rule(requests, forward)
    };
    by_safety(retries, requests, !is_grpc, rule)
}

/// Splits a rule in two where its retries are safe only for some methods.
///
/// A request that its instance may have seen (`5xx`, `gateway-error`, `reset`) is tried again only when its method
/// may be sent twice: nobody's order is placed twice. gRPC is all POST, so it never has the first rule.
pub fn by_safety(
    retries: &RetryPolicy,
    requests: &Requests,
    has_idempotent_methods: bool,
    rule: impl Fn(Option<RetryPolicy>, Requests) -> RouteRule,
) -> Vec<RouteRule> {
    let safe: Vec<RetryOn> = retries.on.iter().copied().filter(|on| is_always_safe(*on)).collect();
    let narrowed = |on: &[RetryOn]| {
        (!on.is_empty()).then(|| RetryPolicy { on: on.to_vec(), attempts: retries.attempts })
    };
    let is_split = has_idempotent_methods && safe.len() < retries.on.len();
    let (twice, once) =
        if is_split { by_idempotency(requests) } else { (None, Some(requests.clone())) };
    let twice = twice.map(|requests| rule(narrowed(&retries.on), requests));
    let once = once.map(|requests| rule(narrowed(&safe), requests));
    twice.into_iter().chain(once).collect()
}

/// Requests that may be sent twice, and the others; the former stand before the latter.
fn by_idempotency(requests: &Requests) -> (Option<Requests>, Option<Requests>) {
    let is_methods =
        |condition: &HeaderCondition| matches!(condition, HeaderCondition::OneOf(METHOD, _));
    let mut others = requests.clone();
    let position = others.headers.iter().position(is_methods);
    let Some(HeaderCondition::OneOf(_, methods)) =
        position.map(|position| others.headers.remove(position))
    else {
        let idempotent = IDEMPOTENT.map(str::to_owned).to_vec();
        let twice = requests.clone().with(HeaderCondition::OneOf(METHOD, idempotent));
        return (Some(twice), Some(requests.clone()));
    };
    let (twice, once): (Vec<String>, Vec<String>) =
        methods.into_iter().partition(|method| IDEMPOTENT.contains(&method.as_str()));
    let of = |methods: Vec<String>| {
        (!methods.is_empty()).then(|| others.clone().with(HeaderCondition::OneOf(METHOD, methods)))
    };
    (of(twice), of(once))
}

/// Whether the failure proves that no instance saw the request.
const fn is_always_safe(on: RetryOn) -> bool {
    match on {
        RetryOn::ConnectFailure | RetryOn::RefusedStream | RetryOn::ResetBeforeRequest => true,
        RetryOn::FiveXx | RetryOn::GatewayError | RetryOn::Reset => false,
    }
}
