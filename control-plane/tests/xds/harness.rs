//! A server on a port that the kernel chose, and clients for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use control_plane::xds::resources::{
    Encoded, ResourceName, ResourceSet, ResourceType, TypeSet, Version,
};
use control_plane::xds::server::{
    ProxyNode, ProxySource, ProxyTable, Refusal, XdsConfig, XdsMetrics, XdsServer, serve,
};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc;
use prometheus_client::registry::Registry;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

pub(crate) use crate::messages::{delta_request, node};

/// How long a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Awaits something that must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {DEADLINE:?}"),
    }
}

/// Gives every proxy the same set; `None`: not ready.
struct OneSet(watch::Receiver<Option<Arc<ResourceSet>>>, watch::Sender<Arc<ResourceSet>>);

impl ProxySource for OneSet {
    async fn subscribe(
        &self,
        node: Arc<ProxyNode>,
    ) -> Result<watch::Receiver<Arc<ResourceSet>>, Refusal> {
        if node.cluster == "intruder" {
            return Err(Refusal::Denied("no such registration".to_owned()));
        }
        if self.0.borrow().is_none() {
            return Err(Refusal::NotReady("the catalogue is incomplete".to_owned()));
        }
        Ok(self.1.subscribe())
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) proxies: ProxyTable,
    pub(crate) registry: Registry,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) is_known: watch::Sender<Option<Arc<ResourceSet>>>,
    pub(crate) task: AbortOnDropHandle<()>,
    sets: watch::Sender<Arc<ResourceSet>>,
    resources: BTreeMap<(ResourceType, ResourceName), Arc<Encoded>>,
}

impl Server {
    pub(crate) async fn start(config: XdsConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let mut registry = Registry::default();
        let (sets, _) = watch::channel(Arc::new(ResourceSet::default()));
        let (is_known, known) = watch::channel(Some(Arc::new(ResourceSet::default())));
        let (ready, is_ready) = watch::channel(true);
        let (proxies, shutdown) = (ProxyTable::default(), CancellationToken::new());
        let server = XdsServer::new(
            config,
            OneSet(known, sets.clone()),
            proxies.clone(),
            XdsMetrics::new(&mut registry),
            shutdown.clone(),
            Arc::new(|| 0.5),
        );
        #[expect(clippy::disallowed_methods, reason = "the test owns its server")]
        let task = tokio::spawn(async move { serve(listener, server, is_ready).await.unwrap() });
        let task = AbortOnDropHandle::new(task);
        let resources = BTreeMap::new();
        Self { address, proxies, registry, shutdown, ready, is_known, task, sets, resources }
    }

    /// Puts a resource whose bytes are `content`, and publishes the set.
    pub(crate) fn put(&mut self, kind: ResourceType, name: &str, content: &[u8]) {
        self.put_naming(kind, name, content, &[]);
    }

    /// Puts a resource that names clusters.
    pub(crate) fn put_naming(
        &mut self,
        kind: ResourceType,
        name: &str,
        content: &[u8],
        clusters: &[&str],
    ) {
        let any = Any { type_url: kind.type_url().to_owned(), value: content.to_vec() };
        let any = any.encode_to_vec();
        let encoded = Encoded {
            kind,
            name: name.into(),
            version: Version::of(&any),
            any: any.into(),
            clusters: clusters.iter().map(|name| ResourceName::from(*name)).collect(),
            requirements: BTreeSet::new(),
        };
        self.resources.insert((kind, name.into()), Arc::new(encoded));
        self.publish(kind, name);
    }

    pub(crate) fn remove(&mut self, kind: ResourceType, name: &str) {
        self.resources.remove(&(kind, name.into()));
        self.publish(kind, name);
    }

    fn publish(&mut self, kind: ResourceType, name: &str) {
        let old = self.sets.borrow().clone();
        let [clusters, endpoints, secrets, extensions, listeners, routes] =
            ResourceType::ALL.map(|of| {
                if of != kind {
                    return old.of(of).clone();
                }
                let all = self.resources.iter().filter(|((kind, _), _)| *kind == of);
                Arc::new(TypeSet {
                    generation: old.generation + 1,
                    previous: old.of(of).generation,
                    changed: [ResourceName::from(name)].into(),
                    resources: all.map(|((_, name), it)| (name.clone(), it.clone())).collect(),
                    on_demand: Arc::default(),
                })
            });
        let generation = old.generation + 1;
        let set =
            ResourceSet { generation, clusters, endpoints, secrets, extensions, listeners, routes };
        self.sets.send_replace(Arc::new(set));
    }

    /// All metrics, as a scrape reads them.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.address.clone()).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn delta(&self) -> DeltaClient {
        let (requests, receiver) = mpsc::channel(1000);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel().await);
        let call =
            async move { client.delta_aggregated_resources(ReceiverStream::new(receiver)).await };
        DeltaClient { requests, call: Box::pin(call), responses: None }
    }

    pub(crate) async fn sotw(
        &self,
    ) -> (mpsc::Sender<DiscoveryRequest>, Streaming<DiscoveryResponse>) {
        let (requests, receiver) = mpsc::channel(1000);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel().await);
        requests
            .send(DiscoveryRequest {
                node: Some(node("sotw")),
                ..sotw_request(ResourceType::Cluster)
            })
            .await
            .unwrap();
        let responses = client.stream_aggregated_resources(ReceiverStream::new(receiver)).await;
        (requests, responses.unwrap().into_inner())
    }
}

type Call =
    dyn Future<Output = Result<tonic::Response<Streaming<DeltaDiscoveryResponse>>, Status>> + Send;

/// A delta stream.
pub(crate) struct DeltaClient {
    pub(crate) requests: mpsc::Sender<DeltaDiscoveryRequest>,
    call: std::pin::Pin<Box<Call>>,
    responses: Option<Streaming<DeltaDiscoveryResponse>>,
}

impl DeltaClient {
    pub(crate) async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    /// Sends the first request, for all clusters.
    pub(crate) async fn hello(&self, node: Node) {
        let request = delta_request(ResourceType::Cluster, &[]);
        self.send(DeltaDiscoveryRequest { node: Some(node), ..request }).await;
    }

    /// The next response, or what ended the stream.
    pub(crate) async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        soon("a response", async {
            if self.responses.is_none() {
                self.responses = Some((&mut self.call).await?.into_inner());
            }
            let responses = self.responses.as_mut().unwrap();
            let next = responses.message().await?;
            next.ok_or_else(|| Status::ok("the stream ended"))
        })
        .await
    }

    /// The next response's type, names and removed names; it is ACKed.
    pub(crate) async fn told(&mut self) -> String {
        let response = self.next().await.unwrap();
        let kind = ResourceType::from_type_url(&response.type_url).unwrap();
        let names: Vec<_> = response.resources.iter().map(|it| it.name.clone()).collect();
        let removed: Vec<_> =
            response.removed_resources.iter().map(|it| format!("-{it}")).collect();
        let ack =
            DeltaDiscoveryRequest { response_nonce: response.nonce, ..delta_request(kind, &[]) };
        self.send(ack).await;
        format!("{} {}", kind.as_str(), [names, removed].concat().join(" ")).trim().to_owned()
    }
}

pub(crate) fn sotw_request(kind: ResourceType) -> DiscoveryRequest {
    DiscoveryRequest { type_url: kind.type_url().to_owned(), ..DiscoveryRequest::default() }
}

pub(crate) fn error(message: &str) -> Option<rpc::Status> {
    Some(rpc::Status { code: 13, message: message.to_owned(), details: Vec::new() })
}
