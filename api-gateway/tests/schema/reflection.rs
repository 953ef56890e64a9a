//! Servers that answer reflection in v1, in v1alpha, partly or not at all.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use api_gateway::schema::{Fault, Limits};
use lab::parts::real_part_or_skip;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::harness::{
    Gateway, QUOTES, Service, bindings, one, patient, quotes, soon, with_v1, with_v1alpha, without,
    without_reflection,
};

const V1: &str = "quotes/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "quotes/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

#[tokio::test]
async fn a_service_tells_its_schema_by_reflection_v1_in_one_stream_to_its_name() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    let apis = soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();
    assert_eq!(bindings(&apis), [one()]);
    assert_eq!(service.seen(), [V1]);
}

#[tokio::test]
async fn a_service_with_v1alpha_only_is_asked_in_v1alpha() {
    let service = Service::start(vec![with_v1alpha(&quotes("one"))]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    let apis = soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();
    assert_eq!(bindings(&apis), [one()]);
    assert_eq!(service.seen(), [V1, V1ALPHA]);
}

#[tokio::test]
async fn a_service_without_reflection_is_named_with_what_to_do() {
    let service = Service::start(vec![without_reflection()]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    assert_eq!(
        gateway.refusal(QUOTES).await,
        "the schema of service quotes cannot be learnt: it answers no gRPC reflection (Unimplemented); register \
         grpc.reflection.v1.ServerReflection in it, or name a descriptor file in `convert.descriptors`"
    );
}

#[tokio::test]
async fn a_grpc_service_that_is_not_there_is_named_with_those_that_are() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    assert_eq!(
        gateway.refusal("quotes quotes.v2.Quotes").await,
        "the schema of service quotes cannot be learnt: it has no gRPC service quotes.v2.Quotes (it has \
         quotes.v1.Quotes, grpc.reflection.v1.ServerReflection); correct `convert.grpc`, or deploy the version that has it"
    );
}

#[tokio::test]
async fn files_that_everyone_knows_are_completed_when_the_service_leaves_them_out() {
    let known = [
        "google/api/annotations.proto",
        "google/api/http.proto",
        "google/protobuf/descriptor.proto",
        "google/protobuf/timestamp.proto",
    ];
    let service = Service::start(vec![with_v1(&without(&quotes("one"), &known))]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    let apis = soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();
    assert_eq!(bindings(&apis), [one()]);
}

#[tokio::test]
async fn a_file_of_its_own_that_the_service_leaves_out_is_named() {
    let partial = without(&quotes("one"), &["quotes/v1/money.proto"]);
    let service = Service::start(vec![with_v1(&partial)]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    assert_eq!(
        gateway.refusal(QUOTES).await,
        "the schema of service quotes cannot be learnt: quotes/v1/quotes.proto imports quotes/v1/money.proto, which is \
         missing; register that file with reflection too, or name a descriptor file made with `protoc --include_imports`"
    );
}

#[tokio::test]
async fn a_service_without_instances_is_told_from_one_without_reflection() {
    let service = Service::start(Vec::new()).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    let refusal = gateway.refusal(QUOTES).await;
    let expected = "the schema of service quotes cannot be learnt: reflection failed at the file of quotes.v1.Quotes: \
                    Unavailable";
    assert!(refusal.starts_with(expected), "{refusal}");
}

#[tokio::test]
async fn an_envoy_that_is_not_there_is_named_with_its_address() {
    let gateway = Gateway::start("http://127.0.0.1:9".parse().unwrap(), patient());
    let refusal = gateway.refusal(QUOTES).await;
    let expected = "the schema of service quotes cannot be learnt: the gateway's Envoy at http://127.0.0.1:9/ cannot be \
                    reached: ";
    assert!(refusal.starts_with(expected), "{refusal}");
}

#[tokio::test]
async fn a_schema_beyond_the_limits_is_refused_with_the_limit() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let begin = |limits| {
        let deadline = Duration::from_secs(3);
        Gateway::with_limits(service.egress.clone(), patient(), limits, deadline)
    };
    let few = begin(Limits { files: 1, ..Limits::default() });
    assert_eq!(
        few.refusal(QUOTES).await,
        "the schema of service quotes cannot be learnt: more than 1 files, which is all that is read; name fewer \
         gRPC services in `convert.grpc`, or leave out of the descriptor file what they do not need"
    );
    let small = begin(Limits { bytes: 1100, ..Limits::default() });
    let refused = soon("an answer", small.schemas.apis(QUOTES)).await.unwrap_err();
    assert!(matches!(refused.fault, Fault::TooLarge(1100) | Fault::Refused { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_text_that_is_no_conversion_asks_nobody() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    assert_eq!(
        gateway.refusal("Quotes!").await,
        "the schema of Quotes! cannot be learnt: x-mesh-convert: \"Quotes!\" is not `SERVICE GRPC,GRPC[ DESCRIPTORS]`"
    );
    assert_eq!(service.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_service_on_another_grpc_library_tells_its_schema() {
    let Some(python) =
        real_part_or_skip("a_service_on_another_grpc_library_tells_its_schema", "grpcio")
    else {
        return;
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/judges/grpc/reflection.py");
    let mut server = tokio::process::Command::new(python);
    let mut server = server.arg(program).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = soon("the port", lines.next_line()).await.unwrap().unwrap();
    let egress = format!("http://127.0.0.1:{port}").parse().unwrap();
    let gateway = Gateway::start(egress, patient());
    let apis = soon("the schema", gateway.schemas.apis("health grpc.health.v1.Health")).await;
    let methods = ["Check", "List", "Watch"];
    let expected = methods.map(|method| format!("POST /grpc.health.v1.Health/{method}"));
    assert_eq!(bindings(&apis.unwrap()), [expected]);
    assert_eq!(
        gateway.refusal("health grpc.health.v2.Health").await,
        "the schema of service health cannot be learnt: it has no gRPC service grpc.health.v2.Health (it has \
         grpc.health.v1.Health, grpc.reflection.v1alpha.ServerReflection); correct `convert.grpc`, or deploy the \
         version that has it"
    );
}
