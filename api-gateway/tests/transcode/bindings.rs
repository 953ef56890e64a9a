//! Rules of a schema: what they compile to, and what is wrong with them.

use std::collections::BTreeSet;

use api_gateway::transcode::{Api, PathTemplate, Segment};
use http::Method;
use proptest::prelude::*;
use prost_reflect::DescriptorPool;

use crate::gateway::api;
use crate::schema;

/// A method with this rule.
fn rule(rule: &str) -> String {
    format!(
        "rpc M(echo.v1.Kinds) returns (echo.v1.Kinds) {{ option (google.api.http) = {{{rule}}}; }}"
    )
}

#[test]
fn mistakes_in_rules_are_named_with_method_template_and_what_to_fix() {
    let cases = [
        (r#"get: "v1""#, "t.T.M: `v1`: not a path template: a template begins with `/`"),
        (
            r#"get: "/v1/""#,
            "t.T.M: `/v1/`: not a path template: a segment is empty; remove the doubled or last `/`",
        ),
        (
            r#"get: "/{text""#,
            "t.T.M: `/{text`: not a path template: the braces do not match; a variable is a whole segment, such as `{name}` or `{name=shelves/*}`",
        ),
        (
            r#"get: "/a{text}""#,
            "t.T.M: `/a{text}`: not a path template: the braces do not match; a variable is a whole segment, such as `{name}` or `{name=shelves/*}`",
        ),
        (r#"get: "/**/a""#, "t.T.M: `/**/a`: not a path template: `**` must be the last segment"),
        (
            r#"get: "/a*""#,
            "t.T.M: `/a*`: not a path template: \"a*\" is no literal; `*` and `**` stand alone between slashes",
        ),
        (
            r#"get: "/a:""#,
            "t.T.M: `/a:`: not a path template: nothing follows the `:`; remove it, or write the verb",
        ),
        (
            r#"get: "/{text}/{text}""#,
            "t.T.M: `/{text}/{text}`: not a path template: the field `text` is captured twice",
        ),
        (
            r#"get: "/{a-b}""#,
            "t.T.M: `/{a-b}`: not a path template: \"a-b\" is no path of fields, such as `order.id`",
        ),
        (
            r#"get: "/{inner.none}""#,
            "t.T.M: `/{inner.none}`: `none` is no field of `echo.v1.Inner`; its fields are `text`, `number`, `inner`, `many`, `at`",
        ),
        (
            r#"get: "/{text.a}""#,
            "t.T.M: `/{text.a}`: `text.a`: nothing is inside the field before `a`",
        ),
        (
            r#"get: "/{texts}""#,
            "t.T.M: `/{texts}`: `texts` is repeated, and a path holds one value; capture another field",
        ),
        (
            r#"get: "/{inner}""#,
            "t.T.M: `/{inner}`: `inner` is the message `echo.v1.Inner`, which no path can hold; capture a field of it",
        ),
        (r#"post: "/a" body: "none""#, "`body: \"none\"` names no field of `echo.v1.Kinds`"),
        (
            r#"get: "/a" response_body: "none""#,
            "`response_body: \"none\"` names no field of `echo.v1.Kinds`",
        ),
        (
            r#"body: "*""#,
            "t.T.M: its google.api.http rule has no path; write one of get, put, post, delete, patch and custom",
        ),
        (
            r#"custom {kind: "A B" path: "/a"}"#,
            "t.T.M: `/a`: \"A B\" is no HTTP method; give `custom.kind` one, or `*` for all",
        ),
        (
            r#"get: "/a" additional_bindings {get: "/b" additional_bindings {get: "/c"}}"#,
            "has additional_bindings inside additional_bindings; write them side by side",
        ),
        (
            r#"get: "/{text}" additional_bindings {get: "/{data}"}"#,
            "t.T.M (`/{data}`) and t.T.M (`/{text}`) both want GET of the same paths; give one of them another path",
        ),
    ];
    for (text, expected) in cases {
        let error = schema::api_of(&rule(text)).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let pool = schema::pool();
    let error = Api::compile(&pool, &["echo.v1.Ecco".to_owned()]).unwrap_err().to_string();
    assert_eq!(error, "the schema has no gRPC service `echo.v1.Ecco`; it has `echo.v1.Echo`");
}

#[test]
fn rules_are_read_from_a_schema_that_lacks_the_file_of_the_option() {
    let texts = |api: &Api| format!("{api:?}");
    let without = schema::pool_without_annotations();
    assert!(without.get_file_by_name("google/api/annotations.proto").is_none());
    let api = Api::compile(&without, &["echo.v1.Echo".to_owned()]).unwrap();
    assert_eq!(texts(&api), texts(&self::api()));
    assert!(texts(&api).contains("PUT /v1/echo/{inner.text} Field(inner) -> echo.v1.Echo.Whole"));
    assert!(
        DescriptorPool::decode(schema::encoded())
            .unwrap()
            .get_file_by_name("google/api/annotations.proto")
            .is_some()
    );
}

#[test]
fn the_more_specific_of_several_bindings_wins() {
    let methods = [
        ("Rest", "/v1/{text=**}"),
        ("Any", "/v1/{text}"),
        ("Literal", "/v1/a"),
        ("Verb", "/v1/{text}:go"),
        ("Deep", "/v1/{text}/b/c"),
        ("DeepRest", "/v1/a/{text=**}"),
        ("RestVerb", "/v1/{text=**}:stop"),
        ("Root", "/"),
    ];
    let methods: String = methods.iter().map(|(name, path)| {
        format!("rpc {name}(echo.v1.Kinds) returns (echo.v1.Kinds) {{ option (google.api.http) = {{get: \"{path}\"}}; }}\n")
    }).collect();
    let api = schema::api_of(&methods).unwrap();
    let found = |path: &str| {
        let found = api.find(&Method::GET, path).ok()?;
        let captured: Vec<String> =
            found.captured.iter().map(|text| text.clone().into_owned()).collect();
        Some(format!("{} {}", found.binding.rpc.name(), captured.join("|")))
    };
    let cases = [
        ("/", "Root "),
        ("/v1", "Rest "),
        ("/v1/a", "Literal "),
        ("/v1/b", "Any b"),
        ("/v1/b:go", "Verb b"),
        ("/v1/b:run", "Any b:run"),
        ("/v1/b%3Ago", "Any b%3Ago"),
        ("/v1/a/b", "DeepRest b"),
        ("/v1/a/b/c", "DeepRest b/c"),
        ("/v1/x/b/c", "Deep x"),
        ("/v1/x/b", "Rest x/b"),
        ("/v1/x/y:stop", "RestVerb x/y"),
        ("/v1/", "Rest "),
        ("/v1/a/", "DeepRest "),
        ("/v1//", "Rest /"),
    ];
    for (path, expected) in cases {
        assert_eq!(found(path).as_deref(), Some(expected), "{path}");
    }
    assert_eq!((found("/v2"), found("/V1/a"), found("//v1/a")), (None, None, None));
}

fn a_template() -> impl Strategy<Value = (String, String)> {
    let segment = prop_oneof![
        "[a-z]{1,3}".prop_map(|text| (text.clone(), text)),
        "[a-z%]{0,2}[a-z]".prop_map(|text| ("*".to_owned(), text.replace('%', "%20"))),
    ];
    let rest = prop::option::of(prop::collection::vec("[a-z]{0,3}", 0..3));
    (prop::collection::vec(segment, 1..6), rest, prop::option::of("[a-z]{1,4}")).prop_map(
        |(segments, rest, verb)| {
            let mut template: Vec<String> =
                segments.iter().map(|(template, _)| template.clone()).collect();
            let mut path: Vec<String> = segments.into_iter().map(|(_, path)| path).collect();
            if let Some(rest) = rest {
                template.push("**".to_owned());
                path.extend(rest);
            }
            let verb = verb.map(|verb| format!(":{verb}")).unwrap_or_default();
            (format!("/{}{verb}", template.join("/")), format!("/{}{verb}", path.join("/")))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn a_path_made_from_a_template_is_found_by_it((template, path) in a_template()) {
        let rule = rule(&format!("get: \"{template}\""));
        let api = schema::api_of(&rule).unwrap();
        prop_assert!(api.find(&Method::GET, &path).is_ok(), "{} for {}", path, template);
        prop_assert!(api.find(&Method::POST, &path).is_err_and(|missing| missing.allow == ["GET"]));
    }

    #[test]
    fn any_text_is_a_template_or_an_error_and_a_template_s_shape_is_one(text in "[/a*{}=.:%]{0,12}") {
        if let Ok(template) = text.parse::<PathTemplate>() {
            prop_assert_eq!(template.to_string(), text);
            let shape: PathTemplate = template.shape().parse().unwrap();
            prop_assert_eq!(shape.segments(), template.segments());
            for variable in template.variables() {
                let captured = &template.segments()[variable.first..variable.first + variable.count];
                prop_assert_eq!(variable.multi, captured.len() > 1 || captured == [Segment::Rest]);
            }
        }
    }

    #[test]
    fn any_path_is_found_or_not_and_what_it_captures_is_part_of_it(path in "/[a-z0-9/:%*.]{0,30}") {
        let api = api();
        let methods = api.bindings().iter().map(|binding| binding.method.clone());
        for method in methods.map(|method| method.to_string()).collect::<BTreeSet<_>>() {
            if let Ok(found) = api.find(&Method::from_bytes(method.as_bytes()).unwrap(), &path) {
                prop_assert_eq!(found.captured.len(), found.binding.captures.len());
                prop_assert!(found.captured.iter().all(|captured| path.contains(&**captured)));
            }
        }
    }
}
