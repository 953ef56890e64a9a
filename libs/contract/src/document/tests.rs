//! Documents that operators might write, and what they are told.

use super::*;

mod rules;

const FULL: &str = "\
kind: System
name: trading
hosts: [trading.example.com, '*.trading.example.com']
callers: [portfolio]
auth:
  customers: {jwt: {issuer: https://id.example.com, audiences: [trading], jwks: {url: https://id.example.com/keys}}}
  partners:  {api_key: {header: x-api-key, keys: mesh/keys/trading}}
  staff:     {jwt: {issuer: me, jwks: {inline: '{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}'}}}
default_auth: customers
routes:
- {match: {path: /orders/health}, to: orders, auth: none}
- {match: {prefix: /orders}, to: orders, timeout: 2s, retries: {on: [5xx, connect-failure], attempts: 2}}
- {match: {prefix: /v1}, to: quotes, convert: {grpc: [quotes.v1.Quotes]}, auth: [partners, staff]}
tracks: {canary: {percent: 10, header: x-canary}}
external: [ledger-db]
services:
  quotes: {timeout: 500ms, limits: {connections: 100}, outlier: {consecutive_failures: 5}}
";

/// The problems of a document that is `FULL` up to its name, and then `text`.
fn problems(text: &str) -> Vec<String> {
    let text = format!("kind: System\nname: trading\n{text}");
    let problems = parse(&text, Some("trading")).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(problems(text), expected, "{text}");
}

#[test]
fn a_document_that_uses_every_key_is_read() {
    let document = parse(FULL, Some("trading")).unwrap();
    assert_eq!(document.routes.len(), 3);
    assert_eq!(parse("{kind: System, name: a}", None).unwrap().callers, None);
    let closed = parse("{kind: System, name: a, callers: []}", None).unwrap();
    assert_eq!(closed.callers, Some(vec![]));
}

#[test]
fn what_serde_writes_of_a_document_is_read_back() {
    let document = parse(FULL, None).unwrap();
    let text = serde_saphyr::to_string(&document).unwrap();
    assert_eq!(parse(&text, None).unwrap(), document, "{text}");
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    check("route: []\n", &["3: route: unknown key; did you mean routes?"]);
    check(
        "routes:\n- match: {prefix: /a}\n  to: orders\n  timeuot: 2s\n",
        &["6: routes[0].timeuot: unknown key; did you mean timeout?"],
    );
    check(
        "tracks: {canary: {colour: x}}\n",
        &["3: tracks.canary.colour: unknown key; known here: header, percent"],
    );
    check(
        "services: {Orders: {}}\n",
        &[
            "3: services.Orders: \"Orders\" is not a name: use 1 to 63 of a-z, 0-9, '-' and '_', beginning and ending with a letter or digit",
        ],
    );
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    check("hosts: a.example.com\n", &["3: hosts: expected a list, found \"a.example.com\""]);
    check("hosts: [7]\n", &["3: hosts[0]: expected text, found the number 7"]);
    check("default_auth: 7\n", &["3: default_auth: expected text or a list, found the number 7"]);
    check(
        "callers:\n",
        &["3: callers: expected a list, found nothing: write a value or take the key out"],
    );
    check(
        "tracks: {canary: {percent: 101}}\n",
        &["3: tracks.canary.percent: expected 100 or less, found 101"],
    );
    check(
        "services: {orders: {canary: {percent: 101}}}\n",
        &["3: services.orders.canary.percent: expected 100 or less, found 101"],
    );
    check(
        "tracks: {canary: {percent: ten}}\n",
        &["3: tracks.canary.percent: expected a whole number, found \"ten\""],
    );
    check(
        "hosts: [A.example.com]\n",
        &[
            "3: hosts[0]: \"A.example.com\" is not a host name: lower case, no port; *. may stand before it",
        ],
    );
    check(
        "services: {orders: {timeout: 2}}\n",
        &["3: services.orders.timeout: expected text, found the number 2"],
    );
    check(
        "services: {orders: {timeout: 2 s}}\n",
        &[
            "3: services.orders.timeout: \"2 s\" is not a duration: write a whole number and ms, s, m or h, such as 250ms or 2s",
        ],
    );
}

#[test]
fn a_choice_that_fits_no_alternative_says_which_there_are() {
    check(
        "routes:\n- {match: {prefx: /a}, to: orders}\n",
        &["4: routes[0].match.prefx: unknown key; did you mean prefix?"],
    );
    check(
        "routes:\n- {match: {prefix: /a, path: /b}, to: orders}\n",
        &["4: routes[0].match: expected exactly one of the keys path, prefix, regex, template"],
    );
    check(
        "routes:\n- {match: {}, to: orders}\n",
        &["4: routes[0].match: expected exactly one of the keys path, prefix, regex, template"],
    );
    check(
        "routes:\n- {match: {prefix: 7}, to: orders}\n",
        &["4: routes[0].match.prefix: expected text, found the number 7"],
    );
    check(
        "routes:\n- {match: {prefix: /a}, to: orders, retries: {on: [4xx], attempts: 0}}\n",
        &[
            "4: routes[0].retries.attempts: expected 1 or more, found 0",
            "4: routes[0].retries.on[0]: expected one of 5xx, gateway-error, connect-failure, refused-stream, reset, reset-before-request, found \"4xx\"; did you mean 5xx?",
        ],
    );
}

#[test]
fn missing_keys_and_other_kinds_are_named() {
    let shown = |text: &str, name| -> Vec<String> {
        parse(text, name).unwrap_err().iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown("hosts: []\n", None), ["1: kind: is missing", "1: name: is missing"]);
    assert_eq!(
        shown("kind: Service\nname: a\n", None),
        ["1: kind: expected System, found \"Service\""]
    );
    assert_eq!(
        shown("kind: System\nname: a\n", Some("b")),
        ["2: name: expected b, the name under which the document is kept"]
    );
    assert_eq!(shown("", None).len(), 1);
    assert_eq!(shown("- a\n", None), ["1: expected keys, found a list"]);
}

#[test]
fn one_wrong_part_hides_no_problem_of_another() {
    check(
        "colour: red\nroutes:\n- {match: {prefix: a}, to: b}\n- {to: b}\ncallers: [trading, 7]\n",
        &[
            "3: colour: unknown key; known here: auth, callers, compress, cors, default_auth, external, hosts, kind, limits, maintenance, name, routes, services, tracing, tracks",
            "5: routes[0].match.prefix: a path begins with /",
            "6: routes[1].match: is missing",
            "7: callers[0]: the System itself needs no leave: its services call each other",
            "7: callers[1]: expected text, found the number 7",
        ],
    );
}

#[test]
fn repeated_keys_are_all_named_with_their_lines() {
    check(
        "hosts: []\nhosts: []\nservices:\n  a: {}\n  a: {}\n",
        &[
            "4: hosts: written twice, first in line 3",
            "7: services.a: written twice, first in line 6",
        ],
    );
}

#[test]
fn text_that_is_no_usable_yaml_is_a_problem_and_never_a_panic() {
    let bomb = format!(
        "a: &a [{x},{x}]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\n",
        x = vec!["x"; 50].join(",")
    );
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let wide = format!("hosts: [{}]", "a,".repeat(100_000));
    let big = format!("name: {}", "a".repeat(1_000_000));
    for (text, line) in [
        ("kind: System\n\tname: a\n", Some(2)),
        ("kind: System\nname: [a\n", None),
        ("kind: System\nname: 'a\n", None),
        ("a: 1\n---\nb: 2\n", None),
        ("kind: !x System\n", Some(1)),
        ("<<: {a: b}\n", Some(1)),
        ("? [a]\n: b\n", None),
        (bomb.as_str(), None),
        (deep.as_str(), Some(1)),
        (wide.as_str(), Some(1)),
        (big.as_str(), Some(1)),
        ("\u{0}", None),
        ("percent: .nan", None),
    ] {
        let problems = parse(text, None).unwrap_err();
        assert!(line.is_none_or(|line| problems[0].line == line), "{problems:?}");
    }
    let problems = parse_bytes(b"kind: System\nname: \xff\n", None).unwrap_err();
    assert_eq!(problems[0].to_string(), "2: not UTF-8 text: save the file as UTF-8");
}

#[test]
fn no_damage_to_a_document_makes_it_panic() {
    for at in (0..FULL.len()).step_by(11) {
        for damage in ["", ":", "{", "\n", "'", "&a ", "*a", "\u{0}", "\u{df}", "- "] {
            let mut text = FULL.to_owned();
            text.replace_range(at..=at, damage);
            // Whether it is refused depends on where the damage is; what counts is that every refusal has a line.
            let problems = parse(&text, Some("trading")).err().unwrap_or_default();
            let lines = text.lines().count();
            assert!(problems.iter().all(|p| (1..=lines.max(1)).contains(&p.line)), "{problems:?}");
        }
    }
}
