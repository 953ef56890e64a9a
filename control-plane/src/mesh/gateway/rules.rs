//! What an exposed route becomes: forwards to services, redirects, answers.
//!
//! In: routes of a System, and at which of the gateway's listeners they stand. Out: rules, without what guards them.

use contract::name::ServiceName;
use contract::registration::Track;
use contract::system::{Redirect, RouteMatch, ValueMatch};

use crate::mesh::split::{self, Destination};
use crate::mesh::{
    Action, Admission, ExposedRoute, FORWARDED_PREFIX, Forwarding, HeaderCondition, Rewrite,
    RouteRule, RouteTo, ServiceModel, SystemModel, Treatment, requests,
};

/// How the routes of a System become rules at one listener.
pub(super) struct RouteRules<'a> {
    pub(super) system: &'a SystemModel,
    /// The application behind the gateway.
    pub(super) app: Option<&'a ServiceName>,
    /// Whether clients come through the Router; other Systems otherwise.
    pub(super) faces_router: bool,
}

impl RouteRules<'_> {
    /// The rules of a route, whoever calls; `only`: asked for by the name of this service.
    pub(super) fn rules(&self, route: &ExposedRoute, only: Option<&ServiceName>) -> Vec<RouteRule> {
        match &route.to {
            RouteTo::Services(forwarding) => self.forward(route, forwarding, only),
            RouteTo::Redirect(redirect) => self.redirect(route, redirect),
            RouteTo::Answer(answer) => {
                let plain = || "text/plain; charset=utf-8".to_owned();
                let action = Action::Page {
                    status: answer.status,
                    body: answer.body.clone(),
                    content_type: answer.content_type.clone().unwrap_or_else(plain),
                };
                vec![self.rule(route, action)]
            }
        }
    }

    fn forward(
        &self,
        route: &ExposedRoute,
        forwarding: &Forwarding,
        only: Option<&ServiceName>,
    ) -> Vec<RouteRule> {
        let refuse = |body: String| vec![self.rule(route, Action::Answer { status: 503, body })];
        let services = &self.system.services;
        let shares =
            forwarding.shares.iter().filter(|(name, _)| only.is_none_or(|only| only == name));
        let mut others: Vec<(&ServiceModel, u32)> =
            shares.filter_map(|(name, share)| Some((services.get(name)?, *share))).collect();
        // The largest share's; of equal ones the first by name.
        let first = (0..others.len()).rev().max_by_key(|index| others.get(*index).map(|o| o.1));
        let Some((service, _)) = first.map(|index| others.remove(index)) else {
            let asked = route.services().filter(|name| only.is_none_or(|only| only == *name));
            let missing: Vec<String> = asked.map(ToString::to_string).collect();
            return refuse(format!(
                "service {} of System {} has no instance registered",
                missing.join(", "),
                self.system.name
            ));
        };
        let mirror = forwarding.mirror.as_ref();
        let destination = Destination {
            others,
            requests: requests::of(&route.matches),
            timeout: route.timeout,
            retries: route.retries.as_ref(),
            rewrite: forwarding.rewrite.as_ref().map(|to| rewrite(&route.matches, to)),
            mirror: mirror.and_then(|(name, percent)| {
                Some((services.get(name)?.target(Track::Stable), *percent))
            }),
            treatment: self.treatment(route),
            origin: route.origin.clone(),
            ..Destination::of(service)
        };
        match (&route.conversion, self.app) {
            (None, _) => split::rules(&destination),
            (Some(conversion), Some(app)) => split::converted(&destination, conversion, app),
            (Some(_), None) => refuse(format!(
                "this route of System {} asks for REST to gRPC conversion, and no api-gateway application stands behind this gateway: start one, and render the bootstrap with its port",
                self.system.name
            )),
        }
    }

    /// A client that came below the System's name is sent to a path below it, unless it is sent to another host.
    fn redirect(&self, route: &ExposedRoute, redirect: &Redirect) -> Vec<RouteRule> {
        let path = |below: &str| {
            let whole = redirect.path.as_ref().map(|path| Rewrite::Whole(format!("{below}{path}")));
            let prefix = redirect.prefix.as_ref();
            whole.or_else(|| prefix.map(|to| rewrite(&route.matches, &format!("{below}{to}"))))
        };
        let action = |below: &str| Action::Redirect {
            status: redirect.status.unwrap_or(308),
            host: redirect.host.as_ref().map(|host| host.0.clone()),
            path: path(below),
        };
        let below = format!("/{}", self.system.name);
        let stripped = (self.faces_router && redirect.host.is_none()).then(|| {
            let rule = self.rule(route, action(&below));
            let told =
                HeaderCondition::Is(FORWARDED_PREFIX.to_owned(), ValueMatch::Exact(below.clone()));
            RouteRule { requests: rule.requests.clone().with(told), ..rule }
        });
        stripped.into_iter().chain([self.rule(route, action(""))]).collect()
    }

    fn rule(&self, route: &ExposedRoute, action: Action) -> RouteRule {
        RouteRule {
            requests: requests::of(&route.matches),
            admission: Admission::Open,
            action,
            treatment: self.treatment(route),
            origin: route.origin.clone(),
        }
    }

    /// What only browsers and clients far away need is for the Router's clients.
    fn treatment(&self, route: &ExposedRoute) -> Treatment {
        match self.faces_router {
            true => route.treatment.clone(),
            false => Treatment { headers: route.treatment.headers.clone(), ..Treatment::default() },
        }
    }
}

/// What a matched path becomes, in whole segments: `/orders` as `/` is `/7` for `/orders/7`, not `//7`.
fn rewrite(matches: &RouteMatch, to: &str) -> Rewrite {
    if matches.template.is_some() {
        return Rewrite::Template(to.to_owned());
    }
    let Some(prefix) = &matches.prefix else { return Rewrite::Matched(to.to_owned()) };
    match (prefix.ends_with('/'), to.ends_with('/')) {
        (true, true) | (false, false) => Rewrite::Matched(to.to_owned()),
        (true, false) => Rewrite::Matched(format!("{to}/")),
        (false, true) => Rewrite::Stem { prefix: prefix.clone(), becomes: to.to_owned() },
    }
}
