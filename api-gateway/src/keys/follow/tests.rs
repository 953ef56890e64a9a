//! What is believed of a Consul that restarts, fails, or forgets a token's rights.

use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use consul::ConsulConfig;
use consul::testing::{Call, Reply, ScriptedConsul};
use contract::keys::{Key, KeyFolder, KeyRecord};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::keys::KeyRefusal;

const LISTING: &str = "/v1/kv/mesh/keys/";
const DEADLINE: Duration = Duration::from_secs(20);

fn key() -> Key {
    Key::generate(|bytes| {
        bytes.fill(1);
        Ok::<_, Infallible>(())
    })
    .unwrap()
}

fn folder() -> KeyFolder {
    "mesh/keys/trading".parse().unwrap()
}

/// A listing of one record, as it is since `revoked`.
fn listing(index: u64, revoked: Option<u64>) -> Reply {
    let record = KeyRecord::new(&key(), [9; 16], "acme".to_owned(), 100);
    let record = serde_json::to_vec(&KeyRecord { revoked, ..record }).unwrap();
    let name = folder().record(key().id());
    let value = BASE64_STANDARD.encode(record);
    Reply::json(index, &format!(r#"[{{"Key": "{name}", "Value": "{value}", "ModifyIndex": 1}}]"#))
}

fn revoked(index: u64) -> Reply {
    listing(index, Some(150))
}

fn valid(index: u64) -> Reply {
    listing(index, None)
}

fn nothing(index: u64) -> Reply {
    Reply::status(404, "").with_header("X-Consul-Index", &index.to_string())
}

/// A Consul, and the table of a follower of its records; both end with it.
struct Followed {
    table: watch::Receiver<Arc<KeyTable>>,
    consul: ScriptedConsul,
    _task: AbortOnDropHandle<()>,
}

impl Followed {
    /// `watched` and `confirmed` are what listings are answered with, one after the other: those of the watch, and those
    /// that are asked for consistently. `key` answers the question for a single key.
    async fn start(watched: Vec<Reply>, confirmed: Vec<Reply>, key: Reply) -> Self {
        let [watched, confirmed] = [watched, confirmed].map(|all| Mutex::new(all.into_iter()));
        let script = move |call: &Call, _: usize| {
            let listings = if is_confirmation(call) { &confirmed } else { &watched };
            if call.path == LISTING {
                listings.lock().unwrap().next().unwrap_or_else(Reply::hang)
            } else {
                key.clone()
            }
        };
        let consul = ScriptedConsul::start(script).await.unwrap();
        consul::testing::install_crypto_provider();
        let client = ConsulClient::new(ConsulConfig::new(consul.url())).unwrap();
        let (follower, table) = KeyFollower::new(client);
        Self { table, consul, _task: follow(follower) }
    }

    /// Waits until every answer to the watch was taken in: it asks for the next one then.
    async fn heard(self, answers: usize) -> Self {
        lab::wait::until("the watch asks again", DEADLINE, async || {
            let calls = self.consul.calls();
            let asked = calls.iter().filter(|call| !is_confirmation(call)).count();
            if asked > answers { Ok(()) } else { Err(format!("it has asked {asked} times")) }
        })
        .await
        .unwrap();
        self
    }

    fn find(&self) -> Result<String, KeyRefusal> {
        let table = self.table.borrow();
        table.find(&folder(), &key(), 200).map(|record| record.consumer.clone())
    }
}

/// Until the task is dropped.
#[expect(clippy::disallowed_methods, reason = "the test owns the follower")]
fn follow(follower: KeyFollower) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        follower.run(CancellationToken::new()).await.unwrap();
    }))
}

/// A table that must come.
async fn soon<T, E: std::fmt::Debug>(table: impl Future<Output = Result<T, E>>) {
    drop(tokio::time::timeout(DEADLINE, table).await.unwrap().unwrap());
}

fn is_confirmation(call: &Call) -> bool {
    call.parameters.contains("consistent")
}

#[tokio::test]
async fn a_revoked_key_stays_revoked_while_consul_tells_its_past() {
    let failure = || Reply::status(500, "No cluster leader");
    for (what, watched) in [
        ("at the start", vec![valid(5)]),
        ("an index that went back", vec![revoked(11), valid(5)]),
        ("what follows that", vec![revoked(11), valid(5), valid(5), valid(6)]),
        ("after a failure", vec![revoked(11), failure(), valid(5)]),
    ] {
        let answers = watched.len();
        let followed = Followed::start(watched, vec![revoked(11); answers], Reply::hang());
        let followed = followed.await.heard(answers).await;
        assert_eq!(followed.find(), Err(KeyRefusal::Revoked), "{what}");
        assert_eq!(followed.table.borrow().failing_since, None, "{what}");
    }
}

#[tokio::test]
async fn a_restored_snapshot_comes_into_force_and_what_changes_after_it_is_not_asked_twice() {
    let restored = vec![revoked(11), valid(5), valid(5)];
    let followed = Followed::start(restored.clone(), restored.clone(), Reply::hang());
    assert_eq!(followed.await.heard(3).await.find(), Ok("acme".to_owned()));
    let watched = [restored.clone(), vec![revoked(6)]].concat();
    let followed = Followed::start(watched, restored, Reply::hang());
    assert_eq!(followed.await.heard(4).await.find(), Err(KeyRefusal::Revoked));
}

#[tokio::test]
async fn keys_vanish_when_they_were_deleted_and_not_when_the_token_lost_its_rights() {
    let (watched, confirmed) = (vec![valid(11), nothing(12)], vec![valid(11), nothing(12)]);
    let deleted = Followed::start(watched.clone(), confirmed.clone(), nothing(12));
    assert_eq!(deleted.await.heard(2).await.find(), Err(KeyRefusal::Unknown));
    for key in [valid(11), Reply::status(403, "Permission denied")] {
        let mut denied = Followed::start(watched.clone(), confirmed.clone(), key).await;
        soon(denied.table.wait_for(|table| table.failing_since.is_some())).await;
        assert_eq!(denied.find(), Ok("acme".to_owned()));
    }
}
