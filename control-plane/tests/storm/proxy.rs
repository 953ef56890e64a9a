//! A sidecar as far as the control plane can tell: it asks for what Envoy asks for, and ACKs it.

use std::collections::BTreeMap;

use control_plane::xds::resources::ResourceType::{self, Cluster, Endpoints, Listener, Routes};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::messages::{delta_request, node};

/// Requests that may wait for the transport.
const QUEUE: usize = 16;
/// What a sidecar asks for.
pub(crate) const TYPES: [ResourceType; 4] = [Cluster, Endpoints, Listener, Routes];

/// Versions by name, for each type.
pub(crate) type Held = BTreeMap<ResourceType, BTreeMap<String, String>>;

/// One stream.
pub(crate) struct Proxy {
    pub(crate) requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    pub(crate) held: Held,
}

impl Proxy {
    /// Opens a stream with its first request, which asks for all clusters.
    pub(crate) async fn open(channel: Channel, id: &str, held: Held) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let first = DeltaDiscoveryRequest {
            node: Some(node(id)),
            initial_resource_versions: versions(&held, Cluster),
            ..delta_request(Cluster, &[])
        };
        requests.try_send(first).unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let call = client.delta_aggregated_resources(ReceiverStream::new(receiver));
        let responses = call.await?.into_inner();
        Ok(Self { requests, responses, held })
    }

    /// Asks for names of a type, showing what it holds of them.
    pub(crate) async fn ask(&self, kind: ResourceType, names: &[&str]) -> Result<(), Status> {
        let initial_resource_versions = versions(&self.held, kind);
        self.send(DeltaDiscoveryRequest { initial_resource_versions, ..delta_request(kind, names) })
            .await
    }

    /// Sends a request; fails when the stream is over.
    pub(crate) async fn send(&self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        self.requests.send(request).await.map_err(|_| Status::cancelled("the stream is over"))
    }

    /// The next response, ACKed.
    pub(crate) async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let response = self.responses.message().await?;
        let response = response.ok_or_else(|| Status::cancelled("the stream is over"))?;
        let kind = ResourceType::from_type_url(&response.type_url).unwrap();
        let held = self.held.entry(kind).or_default();
        let resources = response.resources.iter();
        held.extend(resources.map(|it| (it.name.clone(), it.version.clone())));
        let ack = DeltaDiscoveryRequest {
            response_nonce: response.nonce.clone(),
            ..delta_request(kind, &[])
        };
        self.send(ack).await?;
        Ok(response)
    }

    /// Asks for the rest as Envoy does, and takes everything in.
    pub(crate) async fn settle(&mut self) -> Result<(), Status> {
        while !self.held.contains_key(&Cluster) {
            self.next().await?;
        }
        self.ask_for_the_rest().await?;
        while TYPES.iter().any(|kind| !self.held.contains_key(kind)) {
            self.next().await?;
        }
        Ok(())
    }

    /// Asks for endpoints of its clusters, for listeners and their routes.
    pub(crate) async fn ask_for_the_rest(&self) -> Result<(), Status> {
        let clusters: Vec<&str> =
            self.held.get(&Cluster).into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        self.ask(Endpoints, &clusters).await?;
        self.ask(Listener, &[]).await?;
        self.ask(Routes, &["egress"]).await
    }
}

fn versions<V: FromIterator<(String, String)>>(held: &Held, kind: ResourceType) -> V {
    held.get(&kind).into_iter().flatten().map(|(n, v)| (n.clone(), v.clone())).collect()
}
