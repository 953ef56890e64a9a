//! Whether a request may pass: pure, over the question, the keys and the time.

use std::collections::BTreeSet;

use contract::gateway::{Proof, Way};
use contract::keys::{Key, KeyError, KeyFolder};
use contract::system::Requirement;

use super::claims::Claims;
use super::question::{Question, Token};
use crate::keys::{KeyRefusal, KeyTable};

/// Envoy's words for "the issuer's keys could not be fetched".
const NO_ISSUER: &str = "Jwks remote fetch is failed";

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    Pass(Pass),
    /// It may not.
    Refuse(Refusal),
}

/// Who calls, and what the service must not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    /// The way that succeeded.
    pub(super) way: String,
    /// Whom it names.
    pub(super) consumer: String,
    /// Keys, and claims of other tokens than the one that counts.
    pub(super) removed: Vec<String>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// HTTP status.
    pub(super) status: u16,
    /// One sentence.
    pub(super) body: String,
    /// Values of `WWW-Authenticate`.
    pub(super) challenges: Vec<String>,
}

/// What one way makes of the request.
enum Outcome<'a> {
    Proven(Caller<'a>),
    Absent,
    Failed { is_unavailable: bool, reason: String },
}

impl Outcome<'_> {
    const fn refused(reason: String) -> Self {
        Self::Failed { is_unavailable: false, reason }
    }

    const fn unavailable(reason: String) -> Self {
        Self::Failed { is_unavailable: true, reason }
    }
}

/// Somebody who proved who they are.
struct Caller<'a> {
    consumer: String,
    scopes: BTreeSet<String>,
    claims: Option<&'a Claims>,
}

/// Judges a request.
pub(super) fn decide(question: &Question, keys: &KeyTable, now: u64) -> Verdict {
    let admission = &question.admission;
    let system = &admission.system;
    if let Some(place) = question.misplaced_key() {
        let body = format!(
            "an API key stands in {place}, where logs keep it: revoke it (meshctl keys revoke), and send the new one in {}",
            key_headers(&admission.ways).unwrap_or("no request to this route".to_owned())
        );
        return refuse(401, body, question);
    }
    let outcomes: Vec<(&Way, Outcome<'_>)> =
        admission.ways.iter().map(|way| (way, attempt(way, question, keys, now))).collect();
    let proven = || {
        outcomes.iter().filter_map(|(way, outcome)| match outcome {
            Outcome::Proven(caller) => Some((*way, caller)),
            _ => None,
        })
    };
    if let Some((way, caller)) =
        proven().find(|(_, caller)| lacks(caller, &admission.require).is_none())
    {
        let consumer = caller.consumer.clone();
        let removed = removed(&admission.ways, way);
        return Verdict::Pass(Pass { way: way.name.clone(), consumer, removed });
    }
    if let Some((way, caller)) = proven().next() {
        let lacks = lacks(caller, &admission.require).unwrap_or_default();
        let who = format!("{}, proven by {}", caller.consumer, way.name);
        let body = format!("System {system}, {}: {lacks}, which {who}, lacks", admission.route);
        return refuse(403, body, question);
    }
    if let Some(reasons) = reasons(&outcomes, true) {
        let body = format!("System {system} cannot check who calls, so nobody passes: {reasons}");
        return refuse(503, body, question);
    }
    let body = match reasons(&outcomes, false) {
        Some(reasons) => {
            format!("System {system} does not accept the proof of who calls: {reasons}")
        }
        None => format!("System {system} asks who calls: send {}", wanted(&admission.ways)),
    };
    refuse(401, body, question)
}

/// The verdict on a question that cannot be read.
pub(super) fn unreadable(reason: &str) -> Verdict {
    let body = format!(
        "this gateway's application does not understand its Envoy ({reason}): run both in the versions of the control plane"
    );
    Verdict::Refuse(Refusal { status: 503, body, challenges: vec![] })
}

fn attempt<'a>(way: &Way, question: &'a Question, keys: &KeyTable, now: u64) -> Outcome<'a> {
    match &way.proof {
        Proof::Token { consumer, .. } => match question.token(&way.name) {
            None => Outcome::Absent,
            Some(Token::Refused(why)) if why == NO_ISSUER => {
                Outcome::unavailable("the issuer's keys cannot be fetched".to_owned())
            }
            Some(Token::Refused(why)) => Outcome::refused(why.clone()),
            Some(Token::Verified(claims)) => match claims.header_value(consumer) {
                None => Outcome::refused(format!("the token has no claim {consumer}")),
                Some(consumer) => Outcome::Proven(Caller {
                    consumer,
                    scopes: claims.scopes(),
                    claims: Some(claims),
                }),
            },
        },
        Proof::Key { header, folder } => match question.header(header) {
            None => Outcome::Absent,
            Some(text) => by_key(text, folder, keys, now),
        },
    }
}

fn by_key<'a>(text: &str, folder: &KeyFolder, keys: &KeyTable, now: u64) -> Outcome<'a> {
    let key: Key = match text.parse() {
        Ok(key) => key,
        Err(KeyError::Foreign) => {
            return Outcome::refused("not an API key of this mesh".to_owned());
        }
        Err(KeyError::Mistyped) => {
            return Outcome::refused("the API key is mistyped or cut off".to_owned());
        }
    };
    let refused = |what: &str| Outcome::refused(format!("API key {} {what}", key.id()));
    match keys.find(folder, &key, now) {
        Ok(record) => Outcome::Proven(Caller {
            consumer: record.consumer.clone(),
            scopes: record.scopes.iter().cloned().collect(),
            claims: None,
        }),
        Err(KeyRefusal::Unknown) => refused("is unknown"),
        Err(KeyRefusal::Expired) => refused("is expired"),
        Err(KeyRefusal::Revoked) => refused("is revoked"),
        Err(KeyRefusal::Unread) => {
            Outcome::unavailable(format!("{folder} was never read from Consul"))
        }
    }
}

/// Why the ways failed that did: those that cannot be checked now, or those that were checked.
fn reasons(outcomes: &[(&Way, Outcome<'_>)], unavailable: bool) -> Option<String> {
    let named = |(way, outcome): &(&Way, Outcome<'_>)| match outcome {
        Outcome::Failed { is_unavailable, reason } if *is_unavailable == unavailable => {
            Some(format!("{}: {reason}", way.name))
        }
        _ => None,
    };
    let reasons: Vec<String> = outcomes.iter().filter_map(named).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// What the route asks for and the caller does not have.
fn lacks(caller: &Caller<'_>, require: &Requirement) -> Option<String> {
    let mut missing = Vec::new();
    for scope in require.scopes.iter().filter(|scope| !caller.scopes.contains(*scope)) {
        missing.push(format!("scope {scope}"));
    }
    for (claim, accepted) in &require.claims {
        let values = caller.claims.map(|claims| claims.values(claim)).unwrap_or_default();
        if !values.iter().any(|value| accepted.contains(value)) {
            missing.push(format!("claim {claim} = {}", accepted.join(" or ")));
        }
    }
    (!missing.is_empty()).then(|| format!("requires {}", missing.join(" and ")))
}

/// Headers with keys, and headers that other ways' tokens may have filled.
fn removed(ways: &[Way], chosen: &Way) -> Vec<String> {
    let own: BTreeSet<&String> = match &chosen.proof {
        Proof::Token { claims, .. } => claims.values().collect(),
        Proof::Key { .. } => BTreeSet::new(),
    };
    let mut removed = BTreeSet::new();
    for way in ways {
        match &way.proof {
            Proof::Token { claims, .. } => {
                removed.extend(claims.values().filter(|header| !own.contains(header)).cloned());
            }
            Proof::Key { header, .. } => {
                removed.insert(header.clone());
            }
        }
    }
    removed.into_iter().collect()
}

/// What a caller may send.
fn wanted(ways: &[Way]) -> String {
    let wanted = ways.iter().map(|way| match &way.proof {
        Proof::Token { header, .. } if header == "authorization" => {
            format!("a token as `authorization: Bearer …` ({})", way.name)
        }
        Proof::Token { header, .. } => format!("a token in the header {header} ({})", way.name),
        Proof::Key { header, .. } => format!("an API key in the header {header} ({})", way.name),
    });
    wanted.collect::<Vec<_>>().join(" or ")
}

fn key_headers(ways: &[Way]) -> Option<String> {
    let headers = ways.iter().filter_map(|way| match &way.proof {
        Proof::Key { header, .. } => Some(format!("the header {header}")),
        Proof::Token { .. } => None,
    });
    Some(headers.collect::<Vec<_>>().join(" or ")).filter(|text| !text.is_empty())
}

fn refuse(status: u16, body: String, question: &Question) -> Verdict {
    let realm = &question.admission.system;
    let challenge = |way: &Way| match &way.proof {
        Proof::Token { .. } => match question.token(&way.name) {
            Some(Token::Refused(_)) => format!("Bearer realm=\"{realm}\", error=\"invalid_token\""),
            _ => format!("Bearer realm=\"{realm}\""),
        },
        Proof::Key { header, .. } => format!("ApiKey realm=\"{realm}\", header=\"{header}\""),
    };
    let challenges: BTreeSet<String> = if status == 401 {
        question.admission.ways.iter().map(challenge).collect()
    } else {
        BTreeSet::new()
    };
    Verdict::Refuse(Refusal { status, body, challenges: challenges.into_iter().collect() })
}
