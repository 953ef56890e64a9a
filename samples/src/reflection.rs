//! Server reflection (`grpc.reflection.v1`) that tells options too.
//!
//! In: a descriptor set. Out: its files, as they were compiled. tonic-reflection decodes descriptors into types without
//! a place for custom options, so `google.api.http` would be lost with it.

use std::pin::Pin;

use prost_reflect::DescriptorPool;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::server_reflection_server::{
    ServerReflection, ServerReflectionServer,
};
use tonic_reflection::pb::v1::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};

/// Answers questions about the services of a pool.
#[derive(Debug, Clone)]
pub struct Reflection(DescriptorPool);

impl Reflection {
    /// The service for an encoded descriptor set.
    ///
    /// # Errors
    /// When the set cannot be read.
    pub fn server(
        descriptors: &[u8],
    ) -> Result<ServerReflectionServer<Self>, prost_reflect::DescriptorError> {
        Ok(ServerReflectionServer::new(Self(DescriptorPool::decode(descriptors)?)))
    }

    fn answer(&self, question: Option<MessageRequest>) -> MessageResponse {
        let file = match question {
            Some(MessageRequest::ListServices(_)) => {
                let service =
                    self.0.services().map(|s| ServiceResponse { name: s.full_name().to_owned() });
                let service = service.collect();
                return MessageResponse::ListServicesResponse(ListServiceResponse { service });
            }
            Some(MessageRequest::FileByFilename(name)) => self.0.get_file_by_name(&name),
            Some(MessageRequest::FileContainingSymbol(symbol)) => {
                let service = self.0.get_service_by_name(&symbol).map(|s| s.parent_file());
                let message = || self.0.get_message_by_name(&symbol).map(|m| m.parent_file());
                service.or_else(message)
            }
            Some(_) | None => None,
        };
        match file {
            Some(file) => MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto: vec![file.encode_to_vec()],
            }),
            None => MessageResponse::ErrorResponse(ErrorResponse {
                error_code: tonic::Code::NotFound.into(),
                error_message: "no such file or symbol".to_owned(),
            }),
        }
    }
}

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let reflection = self.clone();
        let answers = request.into_inner().map(move |question| {
            let question = question?;
            Ok(ServerReflectionResponse {
                valid_host: question.host.clone(),
                message_response: Some(reflection.answer(question.message_request.clone())),
                original_request: Some(question),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
