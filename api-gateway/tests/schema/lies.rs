//! Servers whose reflection breaks or lies.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api_gateway::schema::Limits;
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::server_reflection_server::{
    ServerReflection, ServerReflectionServer,
};
use tonic_reflection::pb::v1::{
    ErrorResponse, FileDescriptorResponse, ServerReflectionRequest, ServerReflectionResponse,
};

use crate::harness::{
    Gateway, QUOTES, Service, bindings, one, patient, quotes, restless, soon, with_v1,
};

type Reply = Arc<dyn Fn(MessageRequest) -> Option<MessageResponse> + Send + Sync>;

/// Answers as it is told; `None`: never.
struct Liar(Reply);

#[tonic::async_trait]
impl ServerReflection for Liar {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        requests: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let reply = self.0.clone();
        let answers = requests.into_inner().then(move |request| {
            let reply = reply.clone();
            async move {
                let asked = request?.message_request.ok_or_else(|| Status::internal("nothing"))?;
                let Some(response) = reply(asked) else { return std::future::pending().await };
                Ok(ServerReflectionResponse {
                    message_response: Some(response),
                    ..ServerReflectionResponse::default()
                })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn liar(
    reply: impl Fn(MessageRequest) -> Option<MessageResponse> + Send + Sync + 'static,
) -> Routes {
    Routes::new(ServerReflectionServer::new(Liar(Arc::new(reply))))
}

fn files(files: Vec<Vec<u8>>) -> Option<MessageResponse> {
    let response = FileDescriptorResponse { file_descriptor_proto: files };
    Some(MessageResponse::FileDescriptorResponse(response))
}

/// A file with the service, whose method takes and gives a message named `of`.
fn quotes_of(of: &str, imports: Vec<String>) -> FileDescriptorProto {
    let method = MethodDescriptorProto {
        name: Some("Get".to_owned()),
        input_type: Some(of.to_owned()),
        output_type: Some(of.to_owned()),
        ..MethodDescriptorProto::default()
    };
    FileDescriptorProto {
        name: Some("quotes.proto".to_owned()),
        package: Some("quotes.v1".to_owned()),
        syntax: Some("proto3".to_owned()),
        dependency: imports,
        service: vec![ServiceDescriptorProto {
            name: Some("Quotes".to_owned()),
            method: vec![method],
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    }
}

/// What a request to a service that answers so gets, without the words that all errors begin with.
async fn refusal(
    reply: impl Fn(MessageRequest) -> Option<MessageResponse> + Send + Sync + 'static,
) -> String {
    let service = Service::start(vec![liar(reply)]).await;
    let limits = Limits { files: 50, ..Limits::default() };
    let deadline = Duration::from_millis(800);
    let gateway = Gateway::with_limits(service.egress.clone(), patient(), limits, deadline);
    let refusal = gateway.refusal(QUOTES).await;
    refusal.strip_prefix("the schema of service quotes cannot be learnt: ").unwrap().to_owned()
}

#[tokio::test]
async fn answers_that_are_no_descriptors_are_named() {
    assert_eq!(
        refusal(|_| files(vec![vec![0xff; 64]])).await,
        "quotes.v1.Quotes holds bytes that are no file descriptor; build it anew"
    );
    assert_eq!(
        refusal(|_| files(Vec::new())).await,
        "reflection answered quotes.v1.Quotes with files that do not declare it; correct the service's reflection, or \
         name a descriptor file"
    );
    let error = ErrorResponse { error_code: 13, error_message: "out of order".to_owned() };
    assert_eq!(
        refusal(move |_| Some(MessageResponse::ErrorResponse(error.clone()))).await,
        "reflection failed at the file of quotes.v1.Quotes: Internal: out of order"
    );
}

#[tokio::test]
async fn files_that_contradict_each_other_are_named() {
    let twice = |_| {
        let other = FileDescriptorProto {
            package: Some("other".to_owned()),
            ..quotes_of(".quotes.v1.Quote", Vec::new())
        };
        let first = quotes_of(".quotes.v1.Quote", Vec::new());
        files(vec![first.encode_to_vec(), other.encode_to_vec()])
    };
    assert_eq!(
        refusal(twice).await,
        "quotes.proto came twice with different content; correct what registers it"
    );
    let dangling = |_| files(vec![quotes_of(".quotes.v1.Nowhere", Vec::new()).encode_to_vec()]);
    let text = refusal(dangling).await;
    let expected = "its files do not fit together; build its descriptors anew with protoc: ";
    assert!(text.starts_with(expected) && text.contains("quotes.v1.Nowhere"), "{text}");
}

#[tokio::test]
async fn imports_without_end_end_at_the_limit_of_files() {
    let endless = |asked| match asked {
        MessageRequest::FileByFilename(name) => {
            let next = format!("{name}.more");
            let file = FileDescriptorProto {
                name: Some(name),
                dependency: vec![next],
                ..Default::default()
            };
            files(vec![file.encode_to_vec()])
        }
        _ => files(vec![quotes_of(".quotes.v1.Quote", vec!["a".to_owned()]).encode_to_vec()]),
    };
    assert_eq!(
        refusal(endless).await,
        "more than 50 files, which is all that is read; name fewer gRPC services in `convert.grpc`, or leave \
         out of the descriptor file what they do not need"
    );
}

#[tokio::test]
async fn a_service_that_never_answers_costs_its_requests_the_deadline() {
    assert_eq!(refusal(|_| None).await, "no answer within 800ms");
}

#[tokio::test]
async fn a_message_that_no_compiler_makes_harms_only_its_own_schema() {
    let field = FieldDescriptorProto {
        name: Some("f".to_owned()),
        number: Some(1),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        oneof_index: Some(7),
        ..FieldDescriptorProto::default()
    };
    let message = DescriptorProto {
        name: Some("Quote".to_owned()),
        field: vec![field],
        ..DescriptorProto::default()
    };
    let file = FileDescriptorProto {
        message_type: vec![message],
        ..quotes_of(".quotes.v1.Quote", Vec::new())
    };
    let text = refusal(move |_| files(vec![file.encode_to_vec()])).await;
    assert!(text.starts_with("its files "), "{text}");
}

#[tokio::test]
async fn a_schema_that_was_good_outlives_reflection_that_breaks() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let gateway = Gateway::start(service.egress.clone(), restless());
    soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();
    service.replace(vec![liar(|_| files(vec![vec![0xff; 64]]))]);
    let broken = gateway.until("the error", QUOTES, |entry| entry.error.is_some()).await;
    assert_eq!(broken.counts().failing, 1);
    let apis = gateway.schemas.apis(QUOTES).await.unwrap();
    assert_eq!(bindings(&apis), [one()]);
}
