//! A stream's responses as an HTTP response.
//!
//! In: a [`Connection`], or why there is none. Out: gRPC messages as frames of the body, the status as trailers.
//!
//! **Invariants**: each message is a frame with an allocation of its own, freed once it is written: a stream at rest
//! holds no buffer, however much it was sent before. No message is compressed.

use std::convert::Infallible;

use futures::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response, header};
use tonic::metadata::GRPC_CONTENT_TYPE;

use crate::xds::wire::DiscoveryRequest;

use super::connection::Connection;

/// The response that carries a stream until its end.
pub(super) fn streaming<R: DiscoveryRequest>(connection: Box<Connection<R>>) -> Response<Body> {
    let frames = stream::unfold(Some(connection), async |connection| {
        let mut connection = connection?;
        Some(match connection.next().await {
            Some(Ok(message)) => (Ok::<_, Infallible>(Frame::data(message)), Some(connection)),
            Some(Err(status)) => (Ok(Frame::trailers(trailers(&status))), None),
            None => (Ok(Frame::trailers(trailers(&Status::ok("")))), None),
        })
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}

fn trailers(status: &Status) -> HeaderMap<HeaderValue> {
    let mut map = HeaderMap::with_capacity(2);
    // Only a message can fail to be a header: the code alone cannot.
    if status.add_header(&mut map).is_err() {
        return trailers(&Status::new(status.code(), ""));
    }
    map
}
