//! gRPC servers with reflection of every kind behind one address, and the owner of schemas that asks them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_gateway::schema::{
    Apis, DescriptorFolder, Entry, Limits, Owner, Pace, Reflection, Schemas, Snapshot, Sources,
};
use contract::conversion::Conversion;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use service::ErrorChain;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tower::ServiceExt as _;

/// How long a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What most tests ask for, as Envoy would write it.
pub(crate) const QUOTES: &str = "quotes quotes.v1.Quotes";

/// Awaits something that must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {DEADLINE:?}"),
    }
}

/// The descriptor set of version `one` or `two`, with all imports.
pub(crate) fn quotes(version: &str) -> Vec<u8> {
    compile(version, "quotes/v1/quotes.proto")
}

/// The descriptor set of a file below `protos/FOLDER`, with comments and all imports.
pub(crate) fn compile(folder: &str, file: &str) -> Vec<u8> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let protos = tests.join("schema/protos");
    let includes = [protos.join(folder), protos.join("common"), tests.join("transcode/protos")];
    let mut compiler = protox::Compiler::new(includes).unwrap();
    compiler.include_source_info(true).include_imports(true).open_file(file).unwrap();
    compiler.encode_file_descriptor_set()
}

/// The same without some files. Options are kept: what protox does not name stays bytes.
pub(crate) fn without(set: &[u8], files: &[&str]) -> Vec<u8> {
    let pool = prost_reflect::DescriptorPool::decode(set).unwrap();
    let kept = pool.files().filter(|file| !files.contains(&file.name()));
    let mut out = Vec::new();
    for file in kept {
        let bytes = file.encode_to_vec();
        // Field 1 of a FileDescriptorSet: each file with its length.
        prost::encoding::bytes::encode(1, &bytes, &mut out);
    }
    FileDescriptorSet::decode(out.as_slice()).unwrap();
    out
}

/// An instance that answers reflection v1.
pub(crate) fn with_v1(set: &[u8]) -> Routes {
    let set: &'static [u8] = set.to_vec().leak();
    let builder = tonic_reflection::server::Builder::configure();
    Routes::new(builder.register_encoded_file_descriptor_set(set).build_v1().unwrap())
}

/// An instance that answers reflection v1alpha only.
pub(crate) fn with_v1alpha(set: &[u8]) -> Routes {
    let set: &'static [u8] = set.to_vec().leak();
    let builder = tonic_reflection::server::Builder::configure();
    Routes::new(builder.register_encoded_file_descriptor_set(set).build_v1alpha().unwrap())
}

/// An instance that answers no reflection.
pub(crate) fn without_reflection() -> Routes {
    Routes::default()
}

/// Instances behind one address that take turns, call by call.
pub(crate) struct Service {
    pub(crate) egress: http::Uri,
    calls: Arc<Mutex<Calls>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Calls {
    instances: Vec<Routes>,
    /// The authority and path of each call.
    seen: Vec<String>,
}

impl Calls {
    fn next(&mut self, request: &http::Request<hyper::body::Incoming>) -> Option<Routes> {
        let uri = request.uri();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        self.seen.push(format!("{authority}{}", uri.path()));
        let turn = self.seen.len() % self.instances.len().max(1);
        self.instances.get(turn).cloned()
    }
}

impl Service {
    pub(crate) async fn start(instances: Vec<Routes>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let egress = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let calls = Arc::new(Mutex::new(Calls { instances, seen: Vec::new() }));
        let served = calls.clone();
        #[expect(clippy::disallowed_methods, reason = "a fake's server lives as long as its test")]
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, served.clone()));
            }
        });
        Self { egress, calls, _task: AbortOnDropHandle::new(task) }
    }

    /// From now on these answer; none: 503, as Envoy says when no instance is left.
    pub(crate) fn replace(&self, instances: Vec<Routes>) {
        self.calls.lock().unwrap().instances = instances;
    }

    /// The authority and path of each call so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.calls.lock().unwrap().seen.clone()
    }
}

async fn serve(stream: tokio::net::TcpStream, calls: Arc<Mutex<Calls>>) {
    let answer = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let instance = calls.lock().unwrap().next(&request);
        async move {
            match instance {
                Some(routes) => routes.prepare().oneshot(request).await,
                None => {
                    let response = http::Response::builder().status(503);
                    Ok(response.body(tonic::body::Body::empty()).unwrap())
                }
            }
        }
    });
    let service = TowerToHyperService::new(answer);
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    // A connection that its client drops is no matter of the test.
    server.serve_connection(TokioIo::new(stream), service).await.unwrap_or_default();
}

/// The owner of schemas, asking a service and reading a folder.
pub(crate) struct Gateway {
    pub(crate) schemas: Schemas,
    _task: AbortOnDropHandle<()>,
}

/// Quick enough for tests; nothing is looked at again by itself within a test.
pub(crate) fn patient() -> Pace {
    Pace {
        reflection: Duration::from_secs(600),
        file: Duration::from_millis(20),
        pause: Duration::from_millis(1),
        ..Pace::default()
    }
}

/// Looks again all the time; an old version dies soon.
pub(crate) fn restless() -> Pace {
    Pace { reflection: Duration::from_millis(20), keep: Duration::from_millis(400), ..patient() }
}

impl Gateway {
    /// One that asks at this address.
    pub(crate) fn start(egress: http::Uri, pace: Pace) -> Self {
        Self::with_limits(egress, pace, Limits::default(), Duration::from_secs(3))
    }

    pub(crate) fn with_limits(
        egress: http::Uri,
        pace: Pace,
        limits: Limits,
        deadline: Duration,
    ) -> Self {
        Self::of(
            Sources {
                reflection: Reflection { egress, limits, deadline },
                folder: DescriptorFolder { path: PathBuf::from("/nowhere"), limits },
            },
            pace,
        )
    }

    /// One that reads this folder, and reaches no service.
    pub(crate) fn with_folder(path: &Path, pace: Pace) -> Self {
        let limits = Limits::default();
        let egress = "http://127.0.0.1:9".parse().unwrap();
        Self::of(
            Sources {
                reflection: Reflection { egress, limits, deadline: Duration::from_secs(3) },
                folder: DescriptorFolder { path: path.to_owned(), limits },
            },
            pace,
        )
    }

    fn of(sources: Sources, pace: Pace) -> Self {
        let (owner, schemas) = Owner::new(sources, pace);
        #[expect(clippy::disallowed_methods, reason = "the test owns the owner")]
        let task = tokio::spawn(async move { owner.run(CancellationToken::new()).await.unwrap() });
        Self { schemas, _task: AbortOnDropHandle::new(task) }
    }

    /// The error of a request, with all causes.
    pub(crate) async fn refusal(&self, text: &str) -> String {
        let refused = soon("an answer", self.schemas.apis(text)).await;
        ErrorChain(refused.map(|apis| bindings(&apis)).unwrap_err().as_ref()).to_string()
    }

    /// Awaits a state of one conversion.
    pub(crate) async fn until(
        &self,
        what: &str,
        text: &str,
        is_so: impl Fn(&Entry) -> bool,
    ) -> Arc<Snapshot> {
        let mut watch = self.schemas.watch();
        let state = watch.wait_for(|now| now.get(text).is_some_and(|entry| is_so(entry)));
        soon(what, state).await.unwrap().clone()
    }
}

/// The bindings of each version, newest first.
pub(crate) fn bindings(apis: &Apis) -> Vec<Vec<String>> {
    let of_one = |one: &Arc<api_gateway::transcode::Api>| {
        one.bindings().iter().map(|one| format!("{} {}", one.method, one.template)).collect()
    };
    apis.iter().map(of_one).collect()
}

/// The bindings of version one.
pub(crate) fn one() -> Vec<String> {
    vec!["GET /v1/quotes/{symbol}".to_owned()]
}

/// The bindings of version two.
pub(crate) fn two() -> Vec<String> {
    vec!["GET /v1/quotes/{symbol}".to_owned(), "GET /v1/quotes".to_owned()]
}

/// A conversion from its text.
pub(crate) fn conversion(text: &str) -> Conversion {
    text.parse().unwrap()
}
