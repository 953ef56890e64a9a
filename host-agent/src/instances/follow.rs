//! Consul's agent → [`Instances`], for as long as the process lives.

use std::sync::Arc;
use std::time::Duration;

use consul::{
    AgentIdentity, Answer, Consistency, ConsulClient, ConsulError, EntryService, NodeServices,
    Query,
};
use service::ErrorChain;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::read::{fold, next_forgotten, registered};
use super::{Instance, Instances, InstancesConfig};

/// An answer that is not believed is asked for again after this time.
const DOUBT: Duration = Duration::from_secs(1);

type Registrations = NodeServices<EntryService>;

/// Why instances are no longer followed.
#[derive(Debug, thiserror::Error)]
#[error("this host's registrations cannot be watched")]
pub struct FollowError(#[from] ConsulError);

/// Follows the registrations of this host.
#[derive(Debug)]
pub struct InstancesFollower {
    client: ConsulClient,
    config: InstancesConfig,
    instances: watch::Sender<Arc<Instances>>,
}

impl InstancesFollower {
    /// Prepares it; what is written in the configuration is there at once, the rest when [`Self::run`] has read it.
    pub fn new(
        client: ConsulClient,
        config: InstancesConfig,
    ) -> (Self, watch::Receiver<Arc<Instances>>) {
        let first = Instances {
            node: config.node.clone().unwrap_or_default(),
            datacenter: config.datacenter.clone().unwrap_or_default(),
            is_read: !config.consul,
            ..Instances::default()
        };
        let first = fold(&first, Vec::new(), &config.written, Instant::now(), config.keep_gone);
        let (instances, receiver) = watch::channel(Arc::new(first));
        (Self { client, config, instances }, receiver)
    }

    /// Reads the registrations, and again whenever one changes, until `shutdown`.
    ///
    /// # Errors
    /// When the client has no place for a watch; everything else is tried again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), FollowError> {
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = self.follow() => ended,
        }
    }

    async fn follow(self) -> Result<(), FollowError> {
        if !self.config.consul {
            return std::future::pending().await;
        }
        let identity = self.identity().await;
        let node = identity.node_name.clone();
        self.instances.send_modify(|instances| {
            let named = Instances {
                node: identity.node_name,
                datacenter: identity.datacenter,
                ..(**instances).clone()
            };
            *instances = Arc::new(named);
        });
        let query = Query::<Registrations>::node_services(&node);
        let mut watch = self.client.watch(query.clone())?;
        loop {
            let forgotten = next_forgotten(&self.instances.borrow(), self.config.keep_gone);
            let answer = tokio::select! {
                answer = watch.next() => answer,
                () = until(forgotten) => {
                    self.forget();
                    continue;
                }
            };
            match answer {
                Err(error) => self.fails(&ErrorChain(&error).to_string()),
                Ok(answer) => match self.believed(&query, answer).await {
                    Ok(answer) => self.publish(registered(&answer.value)),
                    Err(reason) => {
                        self.fails(&reason);
                        watch.restart();
                        tokio::time::sleep(DOUBT).await;
                    }
                },
            }
        }
    }

    /// Who the agent is: as written, else as it says.
    async fn identity(&self) -> AgentIdentity {
        let written = (self.config.node.clone(), self.config.datacenter.clone());
        if let (Some(node_name), Some(datacenter)) = written {
            return AgentIdentity { node_name, datacenter };
        }
        let (node, datacenter) = written;
        let mut backoff = self.client.backoff();
        loop {
            match self.client.agent_identity().await {
                Ok(said) => {
                    return AgentIdentity {
                        node_name: node.unwrap_or(said.node_name),
                        datacenter: datacenter.unwrap_or(said.datacenter),
                    };
                }
                Err(error) => {
                    self.fails(&ErrorChain(&error).to_string());
                    tokio::time::sleep(backoff.next_pause(Duration::ZERO)).await;
                }
            }
        }
    }

    /// Consul answers with less, without an error, to a token that may not see everything; and a server that has just
    /// started may know nothing yet. So a host that has lost all of its registrations is asked about once more.
    async fn believed(
        &self,
        query: &Query<Registrations>,
        answer: Answer<Registrations>,
    ) -> Result<Answer<Registrations>, String> {
        let node = self.instances.borrow().node.clone();
        if answer.value.node.is_none() {
            return Err(format!(
                "Consul shows no node {node}: set instances.node if that is not its name, or give \
                 the token node_prefix \"\" {{ policy = \"read\" }}"
            ));
        }
        let had_some = self.instances.borrow().present().any(|one| !self.is_written(one));
        if !answer.value.services.is_empty() || !had_some {
            return Ok(answer);
        }
        let asked_again = async {
            let again = self.client.read(query, Consistency::Consistent).await?;
            let services = self.client.read(&Query::services(), Consistency::Consistent).await?;
            Ok((again, services.value.is_empty()))
        };
        match asked_again.await.map_err(|error: ConsulError| ErrorChain(&error).to_string())? {
            (again, false) if !again.is_filtered && again.value.node.is_some() => Ok(again),
            _ => Err("Consul shows no registration to this token any more: give it \
                      service_prefix \"\" { policy = \"read\" }"
                .to_owned()),
        }
    }

    fn is_written(&self, instance: &Instance) -> bool {
        self.config.written.iter().any(|written| written == instance)
    }

    fn publish(&self, registered: Vec<Instance>) {
        let before = self.instances.borrow().clone();
        let now = Instant::now();
        let mut after = fold(&before, registered, &self.config.written, now, self.config.keep_gone);
        (after.is_read, after.failing_since) = (true, None);
        for instance in after.present() {
            let is_known = before.by_id.get(&instance.id).is_some_and(|known| {
                known.registration == instance.registration && known.gone.is_none()
            });
            if let Err(error) = &instance.registration
                && !is_known
            {
                warn!(id = instance.id, error = %error, "Ignoring the mesh meta of a registration");
            }
        }
        if before.failing_since.is_some() || !before.is_read {
            info!(
                node = after.node,
                registrations = after.present().count(),
                "Reading this host's registrations from Consul"
            );
        }
        if after != *before {
            self.instances.send_replace(Arc::new(after));
        }
    }

    /// Takes out what has been gone long enough.
    fn forget(&self) {
        let before = self.instances.borrow().clone();
        let present = before.present().map(|instance| (**instance).clone()).collect();
        let after = fold(&before, present, &[], Instant::now(), self.config.keep_gone);
        self.instances.send_replace(Arc::new(after));
    }

    fn fails(&self, error: &str) {
        let before = self.instances.borrow().clone();
        if before.failing_since.is_some() {
            return;
        }
        warn!(
            error,
            registrations = before.present().count(),
            "Cannot read this host's registrations; those known stay"
        );
        let failing_since = Some(Instant::now());
        self.instances.send_replace(Arc::new(Instances { failing_since, ..(*before).clone() }));
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
