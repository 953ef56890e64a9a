//! What a request of a load is: its protocol, how it is built, and when its answer counts.
//!
//! In: a [`Call`], where it goes. Out: a request, then the instance that answered or why the answer does not count.
//! **Invariant**: a stream counts only when it is whole: every piece, and the end that its protocol has.

use bytes::Bytes;
use http::{Method, Request, request};
use http_body_util::Full;

use crate::http::{Answer, BoxError, grpc_request};

/// How much of a refusal's text goes into the reason.
const WORDS: usize = 160;

/// A kind of request.
#[derive(Debug, Clone)]
pub enum Call {
    /// HTTP/1.1 `GET`: proxies may try it again.
    Get,
    /// HTTP/1.1 `POST`: once sent, no proxy may try it again.
    Post,
    /// HTTP/1.1 `GET` whose answer comes little by little, in so many lines.
    Stream(usize),
    /// `GET` over HTTP/2 without TLS.
    Http2Get,
    /// `POST` over HTTP/2 without TLS.
    Http2Post,
    /// As [`Call::Stream`], over HTTP/2 without TLS.
    Http2Stream(usize),
    /// A gRPC unary call with this message.
    Grpc(Bytes),
    /// A gRPC call with this message whose answer is so many messages.
    GrpcStream(Bytes, usize),
}

impl Call {
    pub(super) fn is_http2(&self) -> bool {
        !matches!(self, Self::Get | Self::Post | Self::Stream(_))
    }

    pub(super) fn request(&self, host: &str, path: &str) -> Result<Request<Full<Bytes>>, BoxError> {
        let http = |method: Method, builder: request::Builder| {
            let request = builder.method(method).uri(format!("http://{host}{path}"));
            request.body(Full::default()).map_err(Into::into)
        };
        match self {
            Self::Get | Self::Stream(_) => http(Method::GET, Request::builder()),
            Self::Post => http(Method::POST, Request::builder()),
            Self::Http2Get | Self::Http2Stream(_) => {
                http(Method::GET, Request::builder().version(http::Version::HTTP_2))
            }
            Self::Http2Post => {
                http(Method::POST, Request::builder().version(http::Version::HTTP_2))
            }
            Self::Grpc(message) | Self::GrpcStream(message, _) => grpc_request(host, path, message),
        }
    }

    /// The instance that answered, where the body names one.
    pub(super) fn judge(&self, answer: &Answer) -> Result<Option<String>, String> {
        if !answer.status.is_success() {
            let words: String = answer.text().trim().chars().take(WORDS).collect();
            return Err(format!("HTTP {} {words}", answer.status.as_u16()).trim_end().to_owned());
        }
        match (self, answer.grpc_status()) {
            (_, Some((code, message))) if code != 0 => {
                return Err(format!("gRPC {code} {message}"));
            }
            (Self::Grpc(_) | Self::GrpcStream(..), None) => return Err("no grpc-status".to_owned()),
            _ => {}
        }
        let lines = || answer.body.iter().filter(|byte| **byte == b'\n').count();
        match self {
            Self::Stream(wanted) | Self::Http2Stream(wanted) => whole(*wanted, lines()),
            Self::GrpcStream(_, wanted) => whole(*wanted, messages(&answer.body)),
            Self::Grpc(_) => Ok(None),
            Self::Get | Self::Post | Self::Http2Get | Self::Http2Post => Ok(instance(answer)),
        }
    }
}

fn whole(wanted: usize, got: usize) -> Result<Option<String>, String> {
    if wanted == got {
        Ok(None)
    } else {
        Err(format!("a stream ended after {got} of {wanted} pieces"))
    }
}

/// How many whole messages a gRPC body has.
fn messages(mut body: &[u8]) -> usize {
    let mut count = 0;
    while let [_, a, b, c, d, rest @ ..] = body {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        let Some(after) = rest.get(length..) else { break };
        body = after;
        count += 1;
    }
    count
}

fn instance(answer: &Answer) -> Option<String> {
    Some(answer.json().ok()?.get("instance")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(status: u16, body: &'static [u8], grpc: Option<u32>) -> Answer {
        let mut trailers = HeaderMap::new();
        if let Some(code) = grpc {
            trailers.insert("grpc-status", code.into());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::from_static(body), trailers }
    }

    #[test]
    fn a_stream_counts_only_with_all_its_pieces_and_its_status() {
        let lines = Call::Stream(2);
        assert_eq!(lines.judge(&answer(200, b"a\nb\n", None)), Ok(None));
        let short = Err("a stream ended after 1 of 2 pieces".to_owned());
        assert_eq!(lines.judge(&answer(200, b"a\nb", None)), short);

        let two = b"\0\0\0\0\x01x\0\0\0\0\x00";
        let messages = Call::GrpcStream(Bytes::new(), 2);
        assert_eq!(messages.judge(&answer(200, two, Some(0))), Ok(None));
        assert_eq!(messages.judge(&answer(200, &two[..9], Some(0))), short);
        assert_eq!(messages.judge(&answer(200, two, None)), Err("no grpc-status".to_owned()));
        assert_eq!(messages.judge(&answer(200, two, Some(14))), Err("gRPC 14 ".to_owned()));
    }

    #[test]
    fn a_refusal_is_counted_with_what_it_says() {
        let refused = Call::Get.judge(&answer(503, b"no healthy upstream\n", None));
        assert_eq!(refused, Err("HTTP 503 no healthy upstream".to_owned()));
        let named = Call::Post.judge(&answer(200, br#"{"instance":"a"}"#, None));
        assert_eq!(named, Ok(Some("a".to_owned())));
    }
}
