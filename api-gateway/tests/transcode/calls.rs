//! Unary calls: how path, query and body become a message, and what comes back.

use std::sync::Arc;

use api_gateway::transcode::{Api, JsonOptions, Options};
use http::{Method, Request, StatusCode};
use prost_reflect::DescriptorPool;
use serde_json::json;

use crate::gateway::{Gateway, api};
use crate::schema;

#[tokio::test]
async fn a_body_path_and_query_become_one_message() {
    let gateway = Gateway::start().await;
    let body = r#"{"text":"a","int64Value":"5","inner":{"number":1}}"#;
    let cases = [
        (Method::POST, "/v1/echo", body, serde_json::from_str(body).unwrap()),
        (Method::POST, "/v1/echo", "", json!({})),
        (Method::POST, "/echo.v1.Echo/Plain", body, serde_json::from_str(body).unwrap()),
        (Method::GET, "/v1/echo/a%2Fb%20c/7", "", json!({"text": "a/b c", "inner": {"number": 7}})),
        (
            Method::GET,
            "/v1/echo/a/7?inner.text=x&numbers=1&numbers=2&color=COLOR_BLUE&colors=1&bool_value=true&data=-_-_",
            "",
            json!({"text": "a", "inner": {"number": 7, "text": "x"}, "numbers": [1, 2], "color": "COLOR_BLUE",
                   "colors": ["COLOR_RED"], "boolValue": true, "data": "+/+/"}),
        ),
        (
            Method::GET,
            "/v1/echo?timestamp=2020-01-02T03:04:05Z&duration=1.5s&mask=a,bC&wrappedInt64=9&wrapped_bool=false\
             &inner.at=1970-01-01T00:00:00%2B00:00&text=a+b%2Bc&doubleValue=-Infinity",
            "",
            json!({"timestamp": "2020-01-02T03:04:05Z", "duration": "1.500s", "mask": "a,bC", "wrappedInt64": "9",
                   "wrappedBool": false, "inner": {"at": "1970-01-01T00:00:00Z"}, "text": "a b+c",
                   "doubleValue": "-Infinity"}),
        ),
        (
            Method::GET,
            "/v1/times/2020-01-02T03:04:05Z/2s/COLOR_RED/AQI/true",
            "",
            json!({"timestamp": "2020-01-02T03:04:05Z", "duration": "2s", "color": "COLOR_RED", "data": "AQI=",
                   "wrappedBool": true}),
        ),
        (
            Method::PUT,
            "/v1/echo/of%20path?text=q",
            r#"{"text":"of body","number":3}"#,
            json!({"text": "of path", "number": 3}),
        ),
        (Method::PUT, "/v1/texts?text=q", r#"["a","b"]"#, json!(["a", "b"])),
        (Method::PUT, "/v1/numbers/4", r#""12""#, json!("12")),
        (Method::from_bytes(b"REPORT").unwrap(), "/v1/report?text=a", "", json!({"text": "a"})),
        (Method::DELETE, "/v1/any?text=a", "", json!({"text": "a"})),
        (
            Method::GET,
            "/v1/shelves/s%2F1/books/b%20c%25",
            "",
            json!({"text": "shelves/s%2F1/books/b c%"}),
        ),
        (Method::GET, "/v1/shelves/s:read", "", json!({"text": "shelves/s"})),
        (Method::GET, "/v1/files/a/b%2Fc//d", "", json!({"text": "a/b%2Fc//d"})),
        (Method::GET, "/v1/files", "", json!({})),
    ];
    for (method, path, body, expected) in cases {
        let got = gateway.json(method.clone(), path, body).await;
        assert_eq!((got.status, got.json()), (StatusCode::OK, expected), "{method} {path}");
        assert_eq!(got.headers["content-type"], "application/json");
    }
}

/// Method, path, body, and what is wrong.
const WRONG: [(&str, &str, &str, &str); 19] = [
    (
        "GET",
        "/v1/echo/a/7?text=b",
        "",
        "field `text`: in the query: the path sets it; remove it from the query",
    ),
    (
        "GET",
        "/v1/echo/a/x",
        "",
        "field `inner.number`: in the path: \"x\" is not an integer of 32 bits",
    ),
    (
        "GET",
        "/v1/echo/%ff/1",
        "",
        "field `text`: in the path: its percent-encoded bytes are no UTF-8; encode the text as UTF-8",
    ),
    (
        "GET",
        "/v1/echo/%zz/1",
        "",
        "field `text`: in the path: `%zz` is no percent-encoding; write a percent sign as `%25`",
    ),
    (
        "POST",
        "/v1/echo?text=a",
        "",
        "field `text`: in the query: the body sets it; remove it from the query",
    ),
    (
        "PUT",
        "/v1/echo/a?inner.number=1",
        "{}",
        "field `inner.number`: in the query: the body sets it; remove it from the query",
    ),
    (
        "GET",
        "/v1/echo?text=a&text=b",
        "",
        "field `text`: in the query: is there twice, and is not repeated; give it once",
    ),
    (
        "GET",
        "/v1/echo?byText=a",
        "",
        "field `byText`: in the query: a map cannot be in a query; send it in a body",
    ),
    (
        "GET",
        "/v1/echo?inner=a",
        "",
        "field `inner`: in the query: is a `echo.v1.Inner`; give the fields inside it",
    ),
    (
        "GET",
        "/v1/echo?inners.text=a",
        "",
        "field `inners.text`: in the query: no field inside a repeated one can be in a query; send a body",
    ),
    (
        "GET",
        "/v1/echo?text.a=b",
        "",
        "field `text.a`: in the query: nothing is inside the field before `a`",
    ),
    (
        "GET",
        "/v1/echo?choiceText=a&choiceNumber=1",
        "",
        "field `choiceNumber`: in the query: is in a oneof with `choiceText`; give one of them",
    ),
    (
        "GET",
        "/v1/echo?boolValue=1",
        "",
        "field `boolValue`: in the query: \"1\" is neither `true` nor `false`",
    ),
    (
        "GET",
        "/v1/echo?inner.none=1",
        "",
        "field `inner.none`: in the query: `echo.v1.Inner` has no field `none`; its fields are `text`, `number`, `inner`, `many`, `at`",
    ),
    ("GET", "/v1/echo", "{}", "GET /v1/echo takes no body; send its fields in the query"),
    (
        "POST",
        "/v1/echo",
        "{\n \"inner\": {\"many\": [{}, {\"number\": \"x\"}]}}",
        "field `inner.many[1].number`: invalid digit found in string at line 2 column 38",
    ),
    (
        "POST",
        "/v1/echo",
        "{\"none\":1}",
        "body: unrecognized field name 'none' at line 1 column 7; it must be JSON of `echo.v1.Kinds`",
    ),
    (
        "POST",
        "/v1/echo",
        "{\"text\":\"a\"",
        "body: EOF while parsing an object at line 1 column 11; it must be JSON of `echo.v1.Kinds`",
    ),
    (
        "POST",
        "/v1/echo",
        "{\"inner\":{\"text\":\"a\",\"text\":\"b\"}}",
        "field `inner`: the name \"text\" is there twice; remove one at line 1 column 27",
    ),
];

#[tokio::test]
async fn a_request_that_binds_wrongly_is_refused_with_the_field_and_the_next_step() {
    let gateway = Gateway::start().await;
    for (method, path, body, expected) in WRONG {
        let got = gateway.json(method.parse().unwrap(), path, body).await;
        assert_eq!(
            (got.status, got.message().as_str()),
            (StatusCode::BAD_REQUEST, expected),
            "{method} {path}"
        );
        assert_eq!(got.json()["code"], 3);
    }
    let named = gateway.get("/v1/echo/a/7?text=b").await.json();
    assert_eq!(named["details"][0]["fieldViolations"][0]["field"], "text");
}

#[tokio::test]
async fn a_path_that_is_none_names_those_like_it_and_a_wrong_method_those_allowed() {
    let gateway = Gateway::start().await;
    let got = gateway.get("/v1/Echo/a").await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    assert!(got.message().contains("`GET /v1/echo/{text}/{inner.number}`"), "{}", got.message());
    let got = gateway.post("/echo.v1.Echo/Whole", "{}").await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    assert!(got.message().contains("`POST /v1/echo`"), "{}", got.message());
    let got = gateway.json(Method::DELETE, "/v1/echo", "").await;
    assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(got.headers["allow"], "GET, POST");
    assert_eq!(got.message(), "DELETE is not allowed on /v1/echo; use GET or POST");
    // Another spelling of a literal is another path: Envoy's rules did not see it as this one.
    assert_eq!(gateway.get("/v1/%65cho").await.status, StatusCode::NOT_FOUND);
    assert_eq!(gateway.get("/v1%2Fecho").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn client_streams_are_refused_with_the_reason() {
    let gateway = Gateway::start().await;
    for path in ["/v1/collect", "/echo.v1.Echo/Talk"] {
        let got = gateway.post(path, "{}").await;
        assert_eq!(
            (got.status, got.json()["code"].clone()),
            (StatusCode::NOT_IMPLEMENTED, json!(12))
        );
        assert!(
            got.message()
                .ends_with("reads a stream of messages, which has no JSON form; call it with gRPC")
        );
    }
}

#[tokio::test]
async fn bytes_of_http_body_pass_as_they_are_with_their_content_type() {
    let gateway = Gateway::start().await;
    let request = Request::post("/").header("content-type", "image/png");
    let got = gateway.send(request, "/v1/raw", "\u{1}not json").await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "\u{1}not json"));
    assert_eq!(got.headers["content-type"], "image/png");
}

#[tokio::test]
async fn only_json_is_read_and_a_form_is_told_what_to_send() {
    let gateway = Gateway::start().await;
    for content_type in
        ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]
    {
        let request = Request::post("/").header("content-type", content_type);
        assert_eq!(gateway.send(request, "/v1/echo", "{}").await.status, StatusCode::OK);
    }
    assert_eq!(gateway.send(Request::post("/"), "/v1/echo", "{}").await.status, StatusCode::OK);
    for content_type in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json; charset=latin1",
        "application/grpc",
    ] {
        let request = Request::post("/").header("content-type", content_type);
        let got = gateway.send(request, "/v1/echo", "{}").await;
        assert_eq!(got.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        assert!(got.message().contains("send JSON in UTF-8 with `content-type: application/json`"));
    }
    let request = Request::post("/")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    assert_eq!(
        gateway.send(request, "/v1/echo", "{}").await.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn json_is_written_as_the_options_say() {
    let json = JsonOptions { emit_defaults: true, enums_as_numbers: true, preserve_names: true };
    let gateway = Gateway::with(vec![api()], Options { json, ..Options::default() }).await;
    let got = gateway.post("/v1/echo", r#"{"color":"COLOR_BLUE"}"#).await.json();
    assert_eq!(got["color"], 2);
    assert_eq!(got["int64_value"], "0");
    assert_eq!(got["numbers"], json!([]));
    assert_eq!(got["by_text"], json!({}));
    assert_eq!(
        (got.get("inner"), got.get("maybe_number"), got.get("choice_text")),
        (None, None, None)
    );
}

#[tokio::test]
async fn while_a_service_is_updated_requests_of_both_schemas_are_understood() {
    let old = api();
    // Decoded so, files have no options that are extensions: the new schema has default paths only.
    let mut files = schema::files();
    let messages = files.file.iter_mut().flat_map(|file| &mut file.message_type);
    for message in messages.filter(|message| message.name() == "Inner") {
        for field in message.field.iter_mut().filter(|field| field.name() == "text") {
            field.name = Some("title".to_owned());
            field.json_name = Some("title".to_owned());
        }
    }
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    let new = Api::compile(&pool, &["echo.v1.Echo".to_owned()]).unwrap();
    let gateway = Gateway::with(vec![Arc::new(new), old], Options::default()).await;
    let got = gateway.post("/echo.v1.Echo/Plain", r#"{"inner":{"title":"new"}}"#).await;
    assert_eq!(got.json(), json!({"inner": {"title": "new"}}));
    let got = gateway.post("/echo.v1.Echo/Plain", r#"{"inner":{"text":"old"}}"#).await;
    assert_eq!(got.json(), json!({"inner": {"text": "old"}}));
    let got = gateway.post("/v1/echo", r#"{"inner":{"text":"old"}}"#).await;
    assert_eq!(got.json(), json!({"inner": {"text": "old"}}));
    // Neither understands it: the newest says why.
    let got = gateway.post("/echo.v1.Echo/Plain", r#"{"inner":{"title":1}}"#).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert!(got.message().starts_with("field `inner.title`: "), "{}", got.message());
}
