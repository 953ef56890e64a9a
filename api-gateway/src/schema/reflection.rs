//! Asks a service what it looks like: gRPC server reflection, v1 and v1alpha.
//!
//! In: a service's name, the gRPC services of it. Out: their files with all that they import. Called by the owner of
//! schemas, every few seconds for each conversion.
//!
//! ```text
//!  file_containing_symbol(each gRPC service) ─▶ file_by_filename(each import that is not here) ─▶ …
//! ```
//!
//! **Invariants**: the files of one answer come from one instance, because instances of two versions may stand behind one
//! name: a stream stays with one instance, and when a service ends the stream to say that it lacks a file, all is asked
//! again on a new one without that file; nothing is kept between two questions; a question ends by its deadline.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::descriptors::{DescriptorFiles, Limits};
use super::error::Fault;

/// The methods of both versions, newest first. Their messages are the same on the wire, so one set of types serves both.
const METHODS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Streams of one question: the service may end one for each file that it lacks.
const MOST_STREAMS: usize = 16;

/// Where and how services are asked.
#[derive(Debug, Clone)]
pub struct Reflection {
    /// The gateway's Envoy: its egress listener, h2c.
    pub egress: Uri,
    /// How much of a schema is read.
    pub limits: Limits,
    /// How long one question may take: less than a request waits, so that it gets the reason.
    pub deadline: Duration,
}

impl Reflection {
    /// The files of these gRPC services of `service`.
    ///
    /// # Errors
    /// [`Fault`] says what to do.
    pub(crate) async fn ask(
        &self,
        service: &str,
        grpc: &[String],
    ) -> Result<DescriptorFiles, Fault> {
        let question = self.ask_without_deadline(service, grpc);
        let slow = |_| Fault::Slow(self.deadline);
        tokio::time::timeout(self.deadline, question).await.map_err(slow)?
    }

    async fn ask_without_deadline(
        &self,
        service: &str,
        grpc: &[String],
    ) -> Result<DescriptorFiles, Fault> {
        let channel = self.connect(service).await?;
        let mut said = Vec::new();
        for method in METHODS {
            let inquiry = Inquiry { channel: channel.clone(), method, limits: self.limits };
            match inquiry.files(grpc).await {
                Err(Stop::Unimplemented(status)) => said.push(in_words(&status)),
                Err(Stop::Fault(fault)) => return Err(fault),
                Ok(files) => return Ok(files),
            }
        }
        said.dedup();
        Err(Fault::NoReflection { said: said.join("; ") })
    }

    /// A connection for one question: a kept one would need care for as long as a service is in use.
    async fn connect(&self, service: &str) -> Result<Channel, Fault> {
        let unreachable = |source| Fault::Unreachable { egress: self.egress.to_string(), source };
        let authority: Uri =
            Uri::builder().scheme("http").authority(service).path_and_query("/").build().map_err(
                |_| Fault::Nonsense { step: format!("the name {service}"), what: "no authority" },
            )?;
        Endpoint::from(self.egress.clone()).origin(authority).connect().await.map_err(unreachable)
    }
}

/// Why a version of reflection brought no files.
enum Stop {
    /// This version is not there.
    Unimplemented(Status),
    /// Asking the other version would not help.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What was asked, for errors.
#[derive(Debug, Clone)]
enum Ask {
    Symbol(String),
    File(String),
    Services,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(name) => write!(f, "the file of {name}"),
            Self::File(name) => write!(f, "the file {name}"),
            Self::Services => f.write_str("the list of services"),
        }
    }
}

impl From<Ask> for MessageRequest {
    fn from(ask: Ask) -> Self {
        match ask {
            Ask::Symbol(name) => Self::FileContainingSymbol(name),
            Ask::File(name) => Self::FileByFilename(name),
            Ask::Services => Self::ListServices(String::new()),
        }
    }
}

/// One question in one version of reflection.
struct Inquiry {
    channel: Channel,
    method: &'static str,
    limits: Limits,
}

impl Inquiry {
    async fn files(&self, grpc: &[String]) -> Result<DescriptorFiles, Stop> {
        let mut absent = BTreeSet::new();
        for _ in 0..MOST_STREAMS {
            match self.collect(grpc, &mut absent).await? {
                Some(files) => return Ok(files),
                None => continue,
            }
        }
        let missing = absent.into_iter().next().unwrap_or_default();
        Err(Fault::MissingFile { file: missing, needed_by: grpc.join(", ") }.into())
    }

    /// All files through one stream; `None` when the service ended it for lack of a file, which is then `absent`.
    async fn collect(
        &self,
        grpc: &[String],
        absent: &mut BTreeSet<String>,
    ) -> Result<Option<DescriptorFiles>, Stop> {
        let mut files = DescriptorFiles::new(self.limits);
        let mut stream = Stream::new(self.channel.clone(), self.method, self.limits);
        for name in grpc {
            if files.declares(name) {
                continue;
            }
            match stream.ask(Ask::Symbol(name.clone())).await? {
                Answer::Files(found) => add(&mut files, name, found)?,
                Answer::Absent { .. } => return Err(self.missing_service(name).await.into()),
                Answer::Services(_) => return Err(nonsense(name, "a list of services").into()),
            }
            if !files.declares(name) {
                return Err(nonsense(name, "files that do not declare it").into());
            }
        }
        loop {
            let Some((missing, needed_by)) = files.next_missing() else { return Ok(Some(files)) };
            let (missing, needed_by) = (missing.to_owned(), needed_by.to_owned());
            let lacks = Fault::MissingFile { file: missing.clone(), needed_by };
            if absent.contains(&missing) {
                return Err(lacks.into());
            }
            match stream.ask(Ask::File(missing.clone())).await? {
                Answer::Files(found) => add(&mut files, &missing, found)?,
                Answer::Absent { is_over: true } => {
                    absent.insert(missing);
                    return Ok(None);
                }
                Answer::Absent { is_over: false } => return Err(lacks.into()),
                Answer::Services(_) => return Err(nonsense(&missing, "a list of services").into()),
            }
            if !files.contains(&missing) {
                return Err(lacks.into());
            }
        }
    }

    /// The error for a gRPC service that is not there, with those that are, if the service tells.
    async fn missing_service(&self, grpc: &str) -> Fault {
        let mut stream = Stream::new(self.channel.clone(), self.method, self.limits);
        let offered = match stream.ask(Ask::Services).await {
            Ok(Answer::Services(names)) => names,
            Ok(Answer::Files(_) | Answer::Absent { .. }) | Err(_) => Vec::new(),
        };
        Fault::MissingService { grpc: grpc.to_owned(), offered }
    }
}

fn add(files: &mut DescriptorFiles, asked: &str, found: Vec<Vec<u8>>) -> Result<(), Fault> {
    found.into_iter().try_for_each(|file| files.add(asked, file.into()))
}

fn nonsense(asked: &str, what: &'static str) -> Fault {
    Fault::Nonsense { step: asked.to_owned(), what }
}

/// What reflection answered.
enum Answer {
    Files(Vec<Vec<u8>>),
    Services(Vec<String>),
    /// It does not have that; `is_over`: it also ended the stream.
    Absent {
        is_over: bool,
    },
}

/// One stream of questions and answers, in step.
struct Stream {
    method: &'static str,
    client: Grpc<Channel>,
    open: Option<(mpsc::Sender<ServerReflectionRequest>, Streaming<ServerReflectionResponse>)>,
}

impl Stream {
    fn new(channel: Channel, method: &'static str, limits: Limits) -> Self {
        let client = Grpc::new(channel).max_decoding_message_size(limits.bytes);
        Self { method, client, open: None }
    }

    async fn ask(&mut self, ask: Ask) -> Result<Answer, Stop> {
        match self.exchange(ask.clone()).await {
            Ok(response) => read(&ask, response),
            Err(status) if status.code() == Code::NotFound => Ok(Answer::Absent { is_over: true }),
            Err(status) if status.code() == Code::Unimplemented => Err(Stop::Unimplemented(status)),
            Err(status) => {
                let said = in_words(&status);
                Err(Fault::Refused { step: ask.to_string(), said }.into())
            }
        }
    }

    async fn exchange(&mut self, ask: Ask) -> Result<ServerReflectionResponse, Status> {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(ask.into()) };
        let ended = || Status::unavailable("the stream ended without an answer");
        let answers = match &mut self.open {
            Some((requests, answers)) => {
                requests.send(request).await.map_err(|_| ended())?;
                answers
            }
            None => {
                let (requests, stream) = mpsc::channel(1);
                // Before the call: some services send no headers until they were asked something.
                requests.send(request).await.map_err(|_| ended())?;
                self.client.ready().await.map_err(|error| Status::from_error(error.into()))?;
                let stream = Request::new(ReceiverStream::new(stream));
                let path = PathAndQuery::from_static(self.method);
                let codec = ProstCodec::default();
                let answers = self.client.streaming(stream, path, codec).await?.into_inner();
                &mut self.open.insert((requests, answers)).1
            }
        };
        answers.message().await?.ok_or_else(ended)
    }
}

fn read(ask: &Ask, response: ServerReflectionResponse) -> Result<Answer, Stop> {
    match response.message_response {
        Some(MessageResponse::FileDescriptorResponse(files)) => {
            Ok(Answer::Files(files.file_descriptor_proto))
        }
        Some(MessageResponse::ListServicesResponse(list)) => {
            Ok(Answer::Services(list.service.into_iter().map(|one| one.name).collect()))
        }
        Some(MessageResponse::ErrorResponse(error)) => match Code::from_i32(error.error_code) {
            Code::NotFound => Ok(Answer::Absent { is_over: false }),
            code => {
                let said = in_words(&Status::new(code, error.error_message));
                Err(Fault::Refused { step: ask.to_string(), said }.into())
            }
        },
        Some(MessageResponse::AllExtensionNumbersResponse(_)) | None => {
            Err(nonsense(&ask.to_string(), "something else").into())
        }
    }
}

fn in_words(status: &Status) -> String {
    match status.message() {
        "" => format!("{:?}", status.code()),
        message => format!("{:?}: {message}", status.code()),
    }
}
