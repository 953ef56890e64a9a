//! A verdict → `CheckResponse`.

use contract::gateway::{AUTH_HEADER, CONSUMER_HEADER};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc::Status;
use tonic::Code;

use super::decide::{Pass, Refusal, Verdict};

pub(super) fn answer(verdict: Verdict) -> CheckResponse {
    let (code, response) = match verdict {
        Verdict::Pass(pass) => (Code::Ok, HttpResponse::OkResponse(passed(pass))),
        Verdict::Refuse(refusal) => {
            let code = match refusal.status {
                401 => Code::Unauthenticated,
                403 => Code::PermissionDenied,
                _ => Code::Unavailable,
            };
            (code, HttpResponse::DeniedResponse(refused(refusal)))
        }
    };
    CheckResponse {
        status: Some(Status { code: code.into(), ..Default::default() }),
        http_response: Some(response),
        ..Default::default()
    }
}

fn passed(pass: Pass) -> OkHttpResponse {
    let set = HeaderAppendAction::OverwriteIfExistsOrAdd;
    OkHttpResponse {
        headers: vec![
            header(CONSUMER_HEADER, pass.consumer, set),
            header(AUTH_HEADER, pass.way, set),
        ],
        headers_to_remove: pass.removed,
        ..Default::default()
    }
}

fn refused(refusal: Refusal) -> DeniedHttpResponse {
    let append = HeaderAppendAction::AppendIfExistsOrAdd;
    let challenge = |challenge| header("www-authenticate", challenge, append);
    DeniedHttpResponse {
        status: Some(HttpStatus { code: refusal.status.into() }),
        headers: refusal.challenges.into_iter().map(challenge).collect(),
        body: refusal.body,
    }
}

fn header(name: &str, value: String, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..Default::default() }),
        append_action: action.into(),
        ..Default::default()
    }
}
