//! Who is let in through the Router.
//!
//! In: what a document's `auth`, `default_auth`, `limits` and a route say. Out: the [`Admission`] of each route, the
//! [`Checkpoint`] of a gateway's listener for the Router, and the rules of routes that let nobody in.
//!
//! **Invariants**: what is not said lets nobody in; what this gateway cannot check lets nobody in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use contract::conversion::CONVERT_HEADER;
use contract::gateway::{AUTH_HEADER, CONSUMER_HEADER, Proof, RouteAdmission, Way};
use contract::name::{ServiceName, SystemName};
use contract::system::{
    AuthChoice, AuthMethod, Jwt, RateLimits, Requirement, Route, SystemDocument,
};

use crate::mesh::egress::answer;
use crate::mesh::{
    CALLER_SERVICE, CALLER_SYSTEM, ExposedRoute, MeshModel, RouteRule, SystemModel, Target,
};

/// The header that carries a token unless the document names another.
const TOKEN_HEADER: &str = "authorization";
/// The claim that names a token's consumer unless the document names another.
pub const CONSUMER_CLAIM: &str = "sub";

/// What callers must show for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Nothing, as often as they like: `none` is written, or the listener faces the mesh.
    Open,
    /// What the guard says.
    Guarded(Arc<Guard>),
    /// Neither the route nor `default_auth` says: nobody is let in.
    Unstated,
}

/// What stands before a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The System.
    pub system: SystemName,
    /// Which route, for people.
    pub route: String,
    /// Of these one must succeed; none at all: everybody passes.
    pub ways: BTreeMap<String, AuthMethod>,
    /// Their order in the document: the first that succeeds says who calls.
    pub order: Vec<String>,
    /// What a proven caller must have besides.
    pub require: Requirement,
    /// How often callers may come to this route.
    pub limits: RateLimits,
}

/// Which tokens a route takes; its text names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRequirement {
    /// Ways, of which one must succeed.
    pub ways: Vec<String>,
    /// Whether a request without a good token goes on: the application decides.
    pub may_fail: bool,
}

impl fmt::Display for TokenRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let else_application = if self.may_fail { " or else" } else { "" };
        write!(f, "{}{else_application}", self.ways.join(" or "))
    }
}

/// What a gateway's listener for the Router checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The System.
    pub system: SystemName,
    /// Ways by token.
    pub tokens: BTreeMap<String, Jwt>,
    /// What routes ask of tokens.
    pub requirements: BTreeSet<TokenRequirement>,
    /// How often all routes together may be called.
    pub limits: RateLimits,
    /// Headers that the gateway alone writes.
    pub identity_headers: BTreeSet<String>,
    /// The application that decides where Envoy cannot.
    pub app: Option<ServiceName>,
}

/// What a route asks for: its own choice, else the System's. `route` is `None` for a `mesh_path`.
pub fn of_route(
    document: Option<&SystemDocument>,
    route: Option<&Route>,
    label: String,
) -> Admission {
    let Some(document) = document else { return Admission::Unstated };
    let choice = route.and_then(|route| route.auth.as_ref()).or(document.default_auth.as_ref());
    let order = match choice {
        None => return Admission::Unstated,
        Some(AuthChoice::One(name)) if name == "none" => Vec::new(),
        Some(AuthChoice::One(name)) => vec![name.clone()],
        Some(AuthChoice::AnyOf(names)) if names.is_empty() => return Admission::Unstated,
        Some(AuthChoice::AnyOf(names)) => names.clone(),
    };
    let declared = |name: &String| Some((name.clone(), document.auth.get(name)?.clone()));
    let Some(ways) = order.iter().map(declared).collect::<Option<BTreeMap<_, _>>>() else {
        return Admission::Unstated;
    };
    let limits = route.and_then(|route| route.limits.clone()).unwrap_or_default();
    if ways.is_empty() && limits == RateLimits::default() {
        return Admission::Open;
    }
    Admission::Guarded(Arc::new(Guard {
        system: document.name.clone(),
        route: label,
        ways,
        order,
        require: route.and_then(|route| route.require.clone()).unwrap_or_default(),
        limits,
    }))
}

/// The rules of a route for the Router's clients, each behind what its `auth` asks for.
pub fn guard(
    system: &SystemModel,
    route: &ExposedRoute,
    rules: Vec<RouteRule>,
    app: Option<&ServiceName>,
) -> Vec<RouteRule> {
    let refuse = |status, body: String| {
        let refusal = |rule: &RouteRule| RouteRule {
            action: answer(status, body.clone(), rule.origin.clone()).action,
            ..rule.clone()
        };
        rules.iter().map(refusal).collect()
    };
    match &route.admission {
        Admission::Open => rules,
        Admission::Unstated => refuse(403, closed(&system.name)),
        Admission::Guarded(guard) if guard.asks_application() && app.is_none() => refuse(
            503,
            format!(
                "this route of System {} asks for auth {}, and no api-gateway application stands behind this gateway to check it, so nobody passes: start one, and render the bootstrap with its port",
                system.name,
                guard.order.join(" or ")
            ),
        ),
        Admission::Guarded(_) => {
            let guarded = |rule| RouteRule { admission: route.admission.clone(), ..rule };
            rules.into_iter().map(guarded).collect()
        }
    }
}

/// Why the Router lets nothing in, naming the missing line.
pub fn closed(system: &SystemName) -> String {
    format!(
        "System {system} is closed to the Router: its document has no `default_auth` line (`default_auth: none` lets everyone in)"
    )
}

/// What the listener for the Router checks.
pub fn checkpoint(
    model: &MeshModel,
    name: &SystemName,
    app: Option<&ServiceName>,
) -> Option<Checkpoint> {
    let system = model.systems.get(name)?;
    let document = system.document.as_deref();
    let auth = document.into_iter().flat_map(|document| &document.auth);
    let tokens: BTreeMap<String, Jwt> = auth
        .filter_map(|(name, method)| match method {
            AuthMethod::Jwt(jwt) => Some((name.clone(), jwt.clone())),
            AuthMethod::ApiKey(_) => None,
        })
        .collect();
    let fixed = [CALLER_SYSTEM, CALLER_SERVICE, CONSUMER_HEADER, AUTH_HEADER, CONVERT_HEADER];
    let claims = tokens.values().flat_map(|jwt| jwt.claims.values().cloned());
    Some(Checkpoint {
        system: name.clone(),
        requirements: system
            .routes
            .iter()
            .filter_map(|route| route.admission.token_requirement())
            .collect(),
        limits: document.and_then(|document| document.limits.clone()).unwrap_or_default(),
        identity_headers: fixed.into_iter().map(str::to_owned).chain(claims).collect(),
        app: app.cloned(),
        tokens,
    })
}

/// The clusters that public keys are fetched from.
pub fn issuers(model: &MeshModel, name: &SystemName) -> BTreeSet<Target> {
    let system = model.systems.get(name).and_then(|system| system.document.as_deref());
    let auth = system.into_iter().flat_map(|document| &document.auth);
    auth.filter(|(_, method)| matches!(method, AuthMethod::Jwt(jwt) if jwt.jwks.url.is_some()))
        .map(|(way, _)| Target::Issuer(name.clone(), way.clone()))
        .collect()
}

impl Admission {
    /// Whether both ask callers for the same, wherever that is written.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.proofs() == other.proofs()
    }

    /// What must be proven; `None`: nobody is let in.
    fn proofs(&self) -> Option<(BTreeMap<&String, &AuthMethod>, Requirement)> {
        match self {
            Self::Open => Some(Default::default()),
            Self::Guarded(guard) => Some((guard.ways.iter().collect(), guard.require.clone())),
            Self::Unstated => None,
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Self::Open => "none".to_owned(),
            Self::Guarded(guard) if guard.ways.is_empty() => "none".to_owned(),
            Self::Guarded(guard) => guard.order.join(" or "),
            Self::Unstated => "not stated: closed to the Router".to_owned(),
        }
    }

    /// What Envoy checks of tokens; `None`: nothing.
    pub fn token_requirement(&self) -> Option<TokenRequirement> {
        match self {
            Self::Guarded(guard) => guard.token_requirement(),
            Self::Open | Self::Unstated => None,
        }
    }
}

impl Guard {
    /// Whether Envoy cannot decide alone.
    pub fn asks_application(&self) -> bool {
        self.ways.values().any(|method| matches!(method, AuthMethod::ApiKey(_)))
    }

    /// The ways by token, in their order.
    pub fn tokens(&self) -> impl Iterator<Item = (&String, &Jwt)> {
        self.order.iter().filter_map(|name| match self.ways.get(name) {
            Some(AuthMethod::Jwt(jwt)) => Some((name, jwt)),
            Some(AuthMethod::ApiKey(_)) | None => None,
        })
    }

    /// What Envoy checks of tokens before anything else; `None`: nothing.
    pub fn token_requirement(&self) -> Option<TokenRequirement> {
        let ways: Vec<String> = self.tokens().map(|(name, _)| name.clone()).collect();
        (!ways.is_empty()).then(|| TokenRequirement { ways, may_fail: self.asks_application() })
    }

    /// What the application is told to decide by.
    pub fn for_application(&self) -> RouteAdmission {
        let ways = self.order.iter().filter_map(|name| {
            let proof = match self.ways.get(name)? {
                AuthMethod::Jwt(jwt) => Proof::Token {
                    header: token_header(jwt).to_owned(),
                    consumer: consumer_claim(jwt).to_owned(),
                    claims: jwt.claims.clone(),
                },
                AuthMethod::ApiKey(key) => {
                    Proof::Key { header: key.header.clone(), folder: key.keys.clone() }
                }
            };
            Some(Way { name: name.clone(), proof })
        });
        RouteAdmission {
            system: self.system.clone(),
            route: self.route.clone(),
            ways: ways.collect(),
            require: self.require.clone(),
        }
    }

    /// Headers that carry proofs.
    pub fn proof_headers(&self) -> BTreeSet<&str> {
        let mut headers = BTreeSet::new();
        for method in self.ways.values() {
            headers.insert(match method {
                AuthMethod::Jwt(jwt) => token_header(jwt),
                AuthMethod::ApiKey(key) => &key.header,
            });
        }
        headers
    }

    /// What a proven caller must have, for those who lack it.
    pub fn describe_requirement(&self) -> String {
        let scopes = self.require.scopes.iter().map(|scope| format!("scope {scope}"));
        let claims = self.require.claims.iter();
        let claims =
            claims.map(|(claim, values)| format!("claim {claim} = {}", values.join(" or ")));
        let consumers: BTreeSet<&str> = self.tokens().map(|(_, jwt)| consumer_claim(jwt)).collect();
        let consumers: Vec<&str> = consumers.into_iter().collect();
        let consumer = format!("claim {}", consumers.join(" or "));
        let all: Vec<String> = std::iter::once(consumer).chain(scopes).chain(claims).collect();
        format!("System {}, {}: requires a token with {}", self.system, self.route, all.join(", "))
    }
}

/// The header that carries a way's token.
pub fn token_header(jwt: &Jwt) -> &str {
    jwt.header.as_deref().unwrap_or(TOKEN_HEADER)
}

/// The claim that names a token's consumer.
pub fn consumer_claim(jwt: &Jwt) -> &str {
    jwt.consumer.as_deref().unwrap_or(CONSUMER_CLAIM)
}
