//! Questions as Envoy asks them, and what they are answered.

use std::convert::Infallible;

use contract::gateway::{Proof, RouteAdmission, Way};
use contract::keys::{Key, KeyRecord};
use contract::system::Requirement;
use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};

use super::*;

const FOLDER: &str = "mesh/keys/trading";

fn key(byte: u8) -> Key {
    let fill = |bytes: &mut [u8]| {
        bytes.fill(byte);
        Ok::<_, Infallible>(())
    };
    Key::generate(fill).unwrap()
}

fn table() -> KeyTable {
    let record = |key: &Key| KeyRecord::new(key, [9; 16], "acme".to_owned(), 100);
    let records = [
        (key(1), KeyRecord { scopes: vec!["orders:read".to_owned()], ..record(&key(1)) }),
        (key(2), KeyRecord { revoked: Some(150), ..record(&key(2)) }),
        (key(3), KeyRecord { expires: Some(150), ..record(&key(3)) }),
    ];
    let entries = records.map(|(key, record)| consul::KeyValue {
        key: format!("{FOLDER}/{}", key.id()),
        value: serde_json::to_vec(&record).unwrap(),
        modify_index: 1,
        session: None,
    });
    KeyTable::read(&entries)
}

fn token_way() -> Way {
    let claims = [("team".to_owned(), "x-team".to_owned())].into();
    let (header, consumer) = ("authorization".to_owned(), "sub".to_owned());
    Way { name: "customers".to_owned(), proof: Proof::Token { header, consumer, claims } }
}

fn key_way() -> Way {
    let (header, folder) = ("x-api-key".to_owned(), FOLDER.parse().unwrap());
    Way { name: "partners".to_owned(), proof: Proof::Key { header, folder } }
}

fn asks(ways: Vec<Way>, require: Requirement) -> RouteAdmission {
    RouteAdmission {
        system: "trading".parse().unwrap(),
        route: "routes[0]".to_owned(),
        ways,
        require,
    }
}

fn question(
    admission: &RouteAdmission,
    path: &str,
    headers: &[(&str, &str)],
    tokens: Struct,
) -> CheckRequest {
    let context = serde_json::to_string(admission).unwrap();
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let http = HttpRequest { path: path.to_owned(), headers, ..Default::default() };
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request { http: Some(http), ..Default::default() }),
            context_extensions: [(RouteAdmission::CONTEXT.to_owned(), context)].into(),
            metadata_context: Some(Metadata {
                filter_metadata: [("envoy.filters.http.jwt_authn".to_owned(), tokens)].into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
    }
}

fn structure(fields: &[(&str, Kind)]) -> Struct {
    let value = |kind: &Kind| Value { kind: Some(kind.clone()) };
    Struct { fields: fields.iter().map(|(key, kind)| ((*key).into(), value(kind))).collect() }
}

fn text(value: &str) -> Kind {
    Kind::StringValue(value.to_owned())
}

fn refused(why: &str) -> Struct {
    structure(&[(
        "refused:customers",
        Kind::StructValue(structure(&[("code", Kind::NumberValue(2.0)), ("message", text(why))])),
    )])
}

fn verified() -> Struct {
    let list = ListValue { values: vec![Value { kind: Some(text("ops")) }] };
    let claims = structure(&[
        ("sub", text("carol")),
        ("scope", text("orders:read orders:write")),
        ("groups", Kind::ListValue(list)),
        ("realm", Kind::StructValue(structure(&[("level", Kind::NumberValue(3.0))]))),
    ]);
    structure(&[("customers", Kind::StructValue(claims))])
}

/// Status with body, or the headers that are set and removed.
fn judged(keys: KeyTable, request: CheckRequest) -> String {
    let (_sender, keys) = watch::channel(Arc::new(keys));
    let authz = Authz { keys, metrics: AuthzMetrics::default(), clock: || 200 };
    let response = authz.judge(request);
    let code = response.status.unwrap().code;
    let headers = |headers: Vec<envoy_types::pb::envoy::config::core::v3::HeaderValueOption>| {
        let text = headers.into_iter().filter_map(|option| option.header);
        text.map(|header| format!("{}: {}", header.key, header.value)).collect::<Vec<_>>()
    };
    match response.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => {
            assert_eq!(code, 0);
            format!("{} - {}", headers(ok.headers).join(", "), ok.headers_to_remove.join(", "))
        }
        HttpResponse::DeniedResponse(denied) => {
            assert_ne!(code, 0, "a refusal must not look like a pass");
            let headers = headers(denied.headers).join(" | ");
            format!("{} {} [{headers}]", denied.status.unwrap().code, denied.body)
        }
        HttpResponse::ErrorResponse(error) => format!("{error:?}"),
    }
}

fn by_key(value: &str) -> String {
    let admission = asks(vec![key_way()], Requirement::default());
    judged(table(), question(&admission, "/orders", &[("x-api-key", value)], Struct::default()))
}

#[test]
fn a_key_tells_the_service_who_calls_and_is_not_handed_on() {
    assert_eq!(
        by_key(&key(1).reveal()),
        "x-mesh-consumer: acme, x-mesh-auth: partners - x-api-key"
    );
}

#[test]
fn each_key_that_is_no_good_has_its_own_reason() {
    let why = "401 System trading does not accept the proof of who calls: partners: ";
    let challenge = "[www-authenticate: ApiKey realm=\"trading\", header=\"x-api-key\"]";
    let twice = format!("{0},{0}", key(1).reveal());
    for (value, reason) in [
        (key(2).reveal().as_str(), "API key 2222222222 is revoked"),
        (&key(3).reveal(), "API key 3333333333 is expired"),
        (&key(4).reveal(), "API key 4444444444 is unknown"),
        (&key(1).reveal().replace("_1111", "_1112"), "the API key is mistyped or cut off"),
        (&twice, "the API key is mistyped or cut off"),
        ("hunter2", "not an API key of this mesh"),
    ] {
        assert_eq!(by_key(value), format!("{why}{reason} {challenge}"));
    }
    assert_eq!(
        by_key(""),
        format!(
            "401 System trading asks who calls: send an API key in the header x-api-key (partners) {challenge}"
        )
    );
}

#[test]
fn a_key_in_the_query_or_in_another_header_is_refused_even_beside_the_right_one() {
    let admission = asks(vec![key_way()], Requirement::default());
    let good = key(1).reveal();
    let right = ("x-api-key", good.as_str());
    let bearer = format!("Bearer {good}");
    let encoded = format!("/orders?key={}", good.replace('_', "%5F"));
    for (path, headers, place) in [
        (format!("/orders?key={good}"), vec![right], "the path or query"),
        (encoded, vec![], "the path or query"),
        ("/orders".to_owned(), vec![right, ("authorization", &bearer)], "the header authorization"),
    ] {
        let answer = judged(table(), question(&admission, &path, &headers, Struct::default()));
        let expected = format!("401 an API key stands in {place}, where logs keep it: revoke it");
        assert!(answer.starts_with(&expected), "{answer}");
        assert!(answer.contains("send the new one in the header x-api-key"), "{answer}");
        assert!(!answer.contains(&good), "an answer never holds a key");
    }
}

#[test]
fn before_keys_were_read_a_key_is_neither_good_nor_bad() {
    let admission = asks(vec![key_way()], Requirement::default());
    let good = key(1).reveal();
    let request = question(&admission, "/orders", &[("x-api-key", &good)], Struct::default());
    assert_eq!(
        judged(KeyTable::default(), request),
        "503 System trading cannot check who calls, so nobody passes: partners: mesh/keys/trading was never read from Consul []"
    );
}

#[test]
fn of_several_ways_one_is_enough_and_the_first_that_succeeds_names_the_caller() {
    let admission = asks(vec![token_way(), key_way()], Requirement::default());
    let good = key(1).reveal();
    let by_key = [("x-api-key", good.as_str())];
    let cases = [
        (verified(), &[][..], "x-mesh-consumer: carol, x-mesh-auth: customers - x-api-key"),
        (verified(), &by_key, "x-mesh-consumer: carol, x-mesh-auth: customers - x-api-key"),
        (
            Struct::default(),
            &by_key,
            "x-mesh-consumer: acme, x-mesh-auth: partners - x-api-key, x-team",
        ),
        (
            refused("Jwt is expired"),
            &by_key,
            "x-mesh-consumer: acme, x-mesh-auth: partners - x-api-key, x-team",
        ),
    ];
    for (tokens, headers, expected) in cases {
        assert_eq!(judged(table(), question(&admission, "/", headers, tokens)), expected);
    }
    let both = "www-authenticate: ApiKey realm=\"trading\", header=\"x-api-key\" | www-authenticate: Bearer realm=\"trading\"";
    assert_eq!(
        judged(table(), question(&admission, "/", &[], refused("Jwt is missing"))),
        format!(
            "401 System trading asks who calls: send a token as `authorization: Bearer …` (customers) or an API key in the header x-api-key (partners) [{both}]"
        )
    );
    let revoked = key(2).reveal();
    assert_eq!(
        judged(
            table(),
            question(&admission, "/", &[("x-api-key", &revoked)], refused("Jwt is expired"))
        ),
        format!(
            "401 System trading does not accept the proof of who calls: customers: Jwt is expired; partners: API key 2222222222 is revoked [{both}, error=\"invalid_token\"]"
        )
    );
    assert_eq!(
        judged(table(), question(&admission, "/", &[], refused("Jwks remote fetch is failed"))),
        "503 System trading cannot check who calls, so nobody passes: customers: the issuer's keys cannot be fetched []"
    );
}

#[test]
fn what_a_route_requires_is_named_to_those_who_lack_it() {
    let require = |scopes: &[&str], claims: &[(&str, &str)]| Requirement {
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        claims: claims
            .iter()
            .map(|(claim, value)| ((*claim).into(), vec![(*value).into()]))
            .collect(),
    };
    let judge = |require: Requirement, by_key: bool| {
        let admission = asks(vec![token_way(), key_way()], require);
        let good = key(1).reveal();
        let headers: &[(&str, &str)] = if by_key { &[("x-api-key", &good)] } else { &[] };
        let tokens = if by_key { Struct::default() } else { verified() };
        judged(table(), question(&admission, "/", headers, tokens))
    };
    for (require, by_key) in [
        (require(&["orders:read"], &[]), true),
        (require(&["orders:read", "orders:write"], &[("groups", "ops")]), false),
        (require(&[], &[("realm.level", "3")]), false),
    ] {
        assert!(judge(require, by_key).starts_with("x-mesh-consumer"));
    }
    assert_eq!(
        judge(require(&["orders:write"], &[]), true),
        "403 System trading, routes[0]: requires scope orders:write, which acme, proven by partners, lacks []"
    );
    assert_eq!(
        judge(require(&["admin"], &[("groups", "dev"), ("realm.level.x", "3")]), false),
        "403 System trading, routes[0]: requires scope admin and claim groups = dev and claim realm.level.x = 3, which carol, proven by customers, lacks []"
    );
}

#[test]
fn a_token_that_names_nobody_is_refused() {
    let way = token_way();
    for subject in [text(""), text("carol\r\nx-mesh-auth: partners"), Kind::BoolValue(true)] {
        let claims =
            structure(&[("customers", Kind::StructValue(structure(&[("sub", subject.clone())])))]);
        let admission = asks(vec![way.clone()], Requirement::default());
        let answer = judged(table(), question(&admission, "/", &[], claims));
        match subject {
            Kind::BoolValue(_) => assert!(answer.starts_with("x-mesh-consumer: true"), "{answer}"),
            _ => assert!(answer.contains("the token has no claim sub"), "{answer}"),
        }
    }
}

#[test]
fn a_question_that_cannot_be_read_lets_nobody_through() {
    let admission = asks(vec![key_way()], Requirement::default());
    let whole = question(&admission, "/", &[], Struct::default());
    let mut without_context = whole.clone();
    without_context.attributes.as_mut().unwrap().context_extensions.clear();
    let mut garbled = whole.clone();
    garbled.attributes.as_mut().unwrap().context_extensions.insert("mesh".into(), "{}".into());
    let mut without_request = whole;
    without_request.attributes.as_mut().unwrap().request = None;
    for request in [CheckRequest::default(), without_context, garbled, without_request] {
        let answer = judged(table(), request);
        assert!(answer.starts_with("503 this gateway's application does not understand its Envoy"));
    }
    let nobody = asks(vec![], Requirement::default());
    let answer = judged(table(), question(&nobody, "/", &[], Struct::default()));
    assert!(answer.starts_with("401 "), "no way at all is no way in: {answer}");
}
