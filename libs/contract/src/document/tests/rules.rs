//! What documents say that is well formed and cannot be meant.

use super::*;

#[test]
fn authentication_must_be_declared_and_none_stands_alone() {
    check(
        "default_auth: customers\nroutes:\n- {match: {prefix: /a}, to: b, auth: [none, x]}\n- {match: {prefix: /c}, to: b, auth: []}\n",
        &[
            "3: default_auth: \"customers\" is not declared under auth; without authentication: none",
            "5: routes[0].auth[0]: none stands alone: it would make the other ways moot",
            "5: routes[0].auth[1]: \"x\" is not declared under auth; without authentication: none",
            "6: routes[1].auth: the list is empty: name a way, or write none",
        ],
    );
    check(
        "auth:\n  none: {api_key: {header: X-Key, keys: mesh/keys/a}}\n  a: {jwt: {issuer: i, jwks: {inline: '{}'}}}\n  b: {jwt: {issuer: i, jwks: {url: 'id.example.com'}}}\n",
        &[
            "4: auth.none: the word none means no authentication: choose another name",
            "4: auth.none.api_key.header: \"X-Key\" is not a header name: lower-case letters, digits and '-'",
            "5: auth.a.jwt.jwks.inline: expected a JSON object with a list keys that is not empty",
            "6: auth.b.jwt.jwks.url: expected an http:// or https:// address",
        ],
    );
    check(
        "auth: {partners: {api_key: {header: x-key, keys: mesh/systems}}}\n",
        &[
            "3: auth.partners.api_key.keys: \"mesh/systems\" is not a folder for keys: write one below mesh/keys/, such as mesh/keys/trading, in lower case and without a slash at the end",
        ],
    );
}

#[test]
fn a_token_s_rules_are_checked_one_by_one() {
    let jwt = |keys: &str| format!("auth:\n  a:\n    jwt:\n      issuer: i\n{keys}");
    let inline = "      jwks: {inline: '{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}'}\n";
    check(&jwt(inline), &[]);
    check(
        &jwt("      jwks: {url: 'https://id/keys', inline: '{}'}\n"),
        &["7: auth.a.jwt.jwks: expected exactly one of the keys inline, url"],
    );
    check(
        &jwt("      jwks: {url: 'https://u:p@id/keys', ca_file: ca.pem}\n"),
        &[
            "7: auth.a.jwt.jwks.ca_file: expected a path from the root, such as /etc/…",
            "7: auth.a.jwt.jwks.url: expected a port from 1 to 65535 after the host",
        ],
    );
    check(
        &jwt(&format!(
            "{inline}      header: x-mesh-token\n      consumer: a..b\n      claims: {{team: x-team, unit: x-team, b: X}}\n      leeway: 1500ms\n"
        )),
        &[
            "8: auth.a.jwt.header: x-mesh- begins the mesh's own headers: choose another",
            "9: auth.a.jwt.consumer: \"a..b\" is not a claim: dots stand between names, a.b is b in a",
            "10: auth.a.jwt.claims.b: \"X\" is not a header name: lower-case letters, digits and '-'",
            "10: auth.a.jwt.claims.unit: x-team is already the header of claim team",
            "11: auth.a.jwt.leeway: expected whole seconds, at least 1s",
        ],
    );
    check(
        "auth: {'a b': {api_key: {header: x-key, keys: mesh/keys/a}}}\n",
        &[
            "3: auth[\"a b\"]: \"a b\" is not a name: use 1 to 63 of a-z, 0-9, '-' and '_', beginning and ending with a letter or digit",
        ],
    );
}

#[test]
fn what_a_route_asks_of_callers_must_be_something_they_can_prove() {
    check(
        "auth: {p: {api_key: {header: x-key, keys: mesh/keys/a}}}\ndefault_auth: none\nlimits: {all: {requests: 1, per: 49ms}}\nroutes:\n- {match: {prefix: /a}, to: b, require: {scopes: [x]}, limits: {consumer: {requests: 1, per: 1s}}}\n- {match: {prefix: /c}, to: b, auth: p, require: {scopes: ['a b'], claims: {team: []}}, limits: {consumer: {requests: 1, per: 1s}}}\n",
        &[
            "5: limits.all.per: expected 50ms or more",
            "7: routes[0].limits.consumer: auth none knows no consumers: use all",
            "7: routes[0].require: auth none proves nothing that could be required of callers",
            "8: routes[1].require.claims.team: the list is empty: name the values, or take the claim out",
            "8: routes[1].require.scopes[0]: \"a b\" is not a scope: one word of plain letters",
        ],
    );
}

#[test]
fn a_route_that_nothing_can_reach_is_named() {
    check(
        "routes:\n- {match: {prefix: /a}, to: b}\n- {match: {prefix: /a}, to: c}\n- {match: {path: /a/b}, to: c}\n- {match: {prefix: /ab}, to: c}\n- {match: {path: c}, to: c}\n",
        &[
            "5: routes[1].match.prefix: never reached: routes[0] takes these requests",
            "6: routes[2].match.path: never reached: routes[0] takes these requests",
            "8: routes[4].match.path: a path begins with /",
        ],
    );
}

#[test]
fn lists_hold_each_name_once_and_callers_are_others() {
    check(
        "hosts: [a.b, a.b]\ncallers: [trading]\n",
        &[
            "3: hosts[1]: a.b is already hosts[0]",
            "4: callers[0]: the System itself needs no leave: its services call each other",
        ],
    );
}

#[test]
fn services_that_are_not_registered_are_named_with_their_lines() {
    let document = parse(FULL, None).unwrap();
    let known = BTreeSet::from(["orders".parse().unwrap()]);
    let problems = check_services(FULL, &document, &known);
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "13: routes[2].to: no service quotes is registered",
            "15: external[0]: no service ledger-db is registered",
            "17: services.quotes: no service quotes is registered",
        ]
    );
}

#[test]
fn a_match_names_one_path_and_conditions_that_can_hold() {
    let route = |matches: &str, hosts: &str| {
        problems(&format!("hosts: [{hosts}]\nroutes:\n- match: {{{matches}}}\n  to: orders\n"))
    };
    for (matches, problem) in [
        ("methods: [GET]", "match: expected exactly one of the keys"),
        ("prefix: /a, path: /b", "match: expected exactly one of the keys"),
        ("prefix: '/a;b'", "match.prefix: a path cannot hold ';'"),
        ("regex: 'orders/.*'", "match.regex: the whole path must fit"),
        ("regex: '/('", "match.regex: not a regular expression (RE2)"),
        ("regex: '/[a-z]{120}'", "match.regex: the expression is too large"),
        ("template: '/a/{b'", "match.template: \"{b\": a name in braces"),
        ("prefix: /a, hosts: [x.org]", "match.hosts[0]: the Router sends x.org elsewhere"),
        ("prefix: /a, methods: [GET, GET]", "match.methods[1]: is there twice"),
        ("prefix: /a, headers: {host: x}", "match.headers.host: host has a meaning"),
        ("prefix: /a, headers: {x: {prefix: ''}}", "match.headers.x: an empty prefix"),
        ("prefix: /a, query: {q: 'a b'}", "match.query.q: a query is compared as it is sent"),
    ] {
        let found = route(matches, "a.example.com");
        assert!(found.iter().any(|found| found.contains(problem)), "{matches}: {found:?}");
    }
    for right in [
        "regex: '/v[0-9]+/.*', methods: [GET, HEAD]",
        "template: '/files/{rest=**}', hosts: [b.example.com]",
        "path: /a, headers: {x: true, y: {regex: 'a|b'}}, query: {q: {prefix: a%20}, debug: false}",
    ] {
        assert_eq!(route(right, "'*.example.com'"), <[String; 0]>::default(), "{right}");
    }
}

#[test]
fn a_route_has_one_outcome_and_only_what_fits_it() {
    let cases = [
        (
            "to: orders, answer: {status: 200}",
            "expected exactly one of the keys to, redirect, answer",
        ),
        ("to: {orders: 60, audit: 30}", "to: the shares sum to 90, not to 100"),
        ("to: {orders: 100, audit: 0}", "to.audit: no share: take the service out"),
        ("to: {a: 50, b: 50}, convert: {grpc: [a.A]}", "to: convert needs one service"),
        ("answer: {status: 200}, timeout: 1s", "timeout: only for a route with the key to"),
        ("answer: {status: 204, body: x}", "answer.body: 204 has no body"),
        ("redirect: {}", "redirect: expected at least one of the keys host, path, prefix"),
        ("redirect: {path: /b, prefix: /c}", "redirect: expected at most one of the keys"),
        ("redirect: {path: /a/b}", "redirect: the client would be sent to this same route again"),
        ("redirect: {path: /b, status: 200}", "redirect.status: expected 301"),
        ("to: orders, rewrite: b", "rewrite: a path begins with /"),
        (
            "to: orders, headers: {request: {set: {x-mesh-consumer: me}}}",
            "set.x-mesh-consumer: x-mesh-consumer: what begins with x-mesh-",
        ),
        ("to: orders, headers: {request: {remove: [te]}}", "remove[0]: te is the connection's own"),
        ("to: orders, headers: {response: {set: {':status': '200'}}}", "is not a header name"),
        (
            "to: orders, headers: {response: {set: {x: a}, add: {x: b}}}",
            "one header is changed in one way",
        ),
        (
            "to: orders, cors: {origins: ['*'], credentials: true}",
            "cors.origins[0]: credentials go to",
        ),
        (
            "to: orders, cors: {origins: ['https://a.org/']}",
            "cors.origins[0]: \"https://a.org/\" is not an origin",
        ),
    ];
    for (outcome, problem) in cases {
        let found = problems(&format!("routes:\n- {{match: {{prefix: /a}}, {outcome}}}\n"));
        assert!(found.iter().any(|found| found.contains(problem)), "{outcome}: {found:?}");
    }
    check(
        "routes:\n- {match: {regex: '/a.*'}, to: orders, rewrite: /b}\n",
        &["4: routes[0].rewrite: what a regex matches is not rewritten: match a template"],
    );
    check(
        "routes:\n- {match: {template: '/a/{id}'}, to: orders, rewrite: '/b/{name}'}\n",
        &["4: routes[0].rewrite: the matched template has no {name}"],
    );
}

#[test]
fn a_route_that_an_earlier_one_leaves_nothing_is_refused_and_a_doubtful_one_told() {
    check(
        "routes:\n- {match: {prefix: /a}, to: orders}\n- {match: {template: '/a/{id}', methods: [GET]}, to: orders}\n",
        &["5: routes[1].match.template: never reached: routes[0] takes these requests"],
    );
    check(
        "routes:\n- {match: {prefix: /a, methods: [GET]}, to: orders}\n- {match: {prefix: /a}, to: orders}\n",
        &[],
    );
    let text = "kind: System\nname: trading\nroutes:\n- {match: {regex: '/a(/.*)?'}, to: orders}\n- {match: {prefix: /a}, to: orders}\n";
    let document = parse(text, None).unwrap();
    let doubts: Vec<String> =
        check_doubts(text, &document).iter().map(ToString::to_string).collect();
    assert_eq!(
        doubts,
        [
            "5: routes[1].match.prefix: perhaps never reached: routes[0] may take these requests, an expression cannot be compared"
        ]
    );
}

#[test]
fn a_closed_system_says_something_short() {
    let of = |message: &str| problems(&format!("maintenance: {{message: {message}}}\n"));
    assert_eq!(of("Back at 10:00"), <[String; 0]>::default());
    assert_eq!(of(&"x".repeat(2048)), <[String; 0]>::default());
    for (message, problem) in [
        ("' '", "maintenance.message: say what clients shall read"),
        (&"ä".repeat(1025), "maintenance.message: 2050 bytes: at most 2048"),
        (r#""a\eb""#, "maintenance.message: a message is text"),
    ] {
        let found = of(message);
        assert!(found.iter().any(|found| found.contains(problem)), "{message}: {found:?}");
    }
}
