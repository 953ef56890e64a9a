//! Why a schema cannot be learnt, in words that say what to do next.
//!
//! In: what reflection, descriptor files and the compiler met. Out: [`SchemaError`], which every waiting request, the
//! page of schemas and the log get as it is.
//!
//! **Invariants**: an error names the service or file that it came from; a text ends with the next move where there is one.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use contract::conversion::ConversionError;
use prost_reflect::DescriptorError;

use crate::transcode::ApiError;

/// Why there is no schema, or no newer one.
#[derive(Debug, thiserror::Error)]
#[error("the schema of {origin} cannot be learnt")]
pub struct SchemaError {
    /// What was asked, such as `service quotes` or `descriptor file quotes.binpb`.
    pub origin: String,
    /// What went wrong.
    #[source]
    pub fault: Fault,
}

/// What went wrong while a schema was learnt.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The text that Envoy wrote is no conversion.
    #[error(transparent)]
    Header(#[from] ConversionError),
    /// The gateway's application ends.
    #[error("the gateway is stopping; try again")]
    Stopping,
    /// More conversions than are kept.
    #[error(
        "{0} conversions are kept already, which is all that a gateway keeps; convert fewer services in this System"
    )]
    TooManyConversions(usize),
    /// Envoy's egress listener does not answer.
    #[error("the gateway's Envoy at {egress} cannot be reached")]
    Unreachable {
        /// Its address.
        egress: String,
        /// What the connection met.
        #[source]
        source: tonic::transport::Error,
    },
    /// Neither version of reflection is there.
    #[error(
        "it answers no gRPC reflection ({said}); register grpc.reflection.v1.ServerReflection in it, \
         or name a descriptor file in `convert.descriptors`"
    )]
    NoReflection {
        /// What the service or Envoy answered.
        said: String,
    },
    /// Reflection failed.
    #[error("reflection failed at {step}: {said}")]
    Refused {
        /// What was asked.
        step: String,
        /// The status.
        said: String,
    },
    /// Reflection answered something else than was asked.
    #[error(
        "reflection answered {step} with {what}; correct the service's reflection, or name a descriptor file"
    )]
    Nonsense {
        /// What was asked.
        step: String,
        /// What came.
        what: &'static str,
    },
    /// It took too long.
    #[error("no answer within {0:?}")]
    Slow(Duration),
    /// A gRPC service is not there.
    #[error(
        "it has no gRPC service {grpc}{}; correct `convert.grpc`, or deploy the version that has it",
        offers(offered)
    )]
    MissingService {
        /// Its full name.
        grpc: String,
        /// The gRPC services that are there, where they are known.
        offered: Vec<String>,
    },
    /// An imported file is nowhere.
    #[error(
        "{needed_by} imports {file}, which is missing; register that file with reflection too, or name a descriptor \
         file made with `protoc --include_imports`"
    )]
    MissingFile {
        /// The file that is missing.
        file: String,
        /// A file that imports it.
        needed_by: String,
    },
    /// One name, two contents.
    #[error("{0} came twice with different content; correct what registers it")]
    Contradiction(String),
    /// More files than are read.
    #[error(
        "more than {0} files, which is all that is read; name fewer gRPC services in `convert.grpc`, or leave out of the descriptor \
         file what they do not need"
    )]
    TooManyFiles(usize),
    /// More bytes than are read.
    #[error(
        "more than {0} bytes of descriptors, which is all that is read; name fewer gRPC services in `convert.grpc`, or leave out of \
         the descriptor file what they do not need"
    )]
    TooLarge(usize),
    /// Bytes that are no file descriptor.
    #[error("{0} holds bytes that are no file descriptor; build it anew")]
    Garbled(String),
    /// The files contradict the rules of protobuf.
    #[error("its files do not fit together; build its descriptors anew with protoc")]
    Broken(#[source] DescriptorError),
    /// The compiler of schemas failed on it.
    #[error("its files are malformed in a way that no compiler of protobuf makes")]
    Malformed,
    /// The HTTP rules cannot be used.
    #[error("its HTTP rules cannot be used")]
    Api(#[from] ApiError),
    /// A name that leaves the folder.
    #[error(
        "its name is not that of a file; name a file of the folder `schemas.directory` without a path"
    )]
    BadName,
    /// The file cannot be read.
    #[error("{} cannot be read; put the descriptor set there, readable", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl Fault {
    /// The same with its origin.
    pub(crate) fn of(self, origin: impl Into<String>) -> SchemaError {
        SchemaError { origin: origin.into(), fault: self }
    }
}

fn offers(offered: &[String]) -> String {
    match offered {
        [] => String::new(),
        names => format!(" (it has {})", names.join(", ")),
    }
}
