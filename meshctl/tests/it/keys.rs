//! `meshctl keys` against a real Consul.

use consul::testing::{ConsulOptions, ConsulProcess};
use serde_json::Value;

use crate::support::{Outcome, meshctl};

async fn keys(consul: &ConsulProcess, words: &[&str]) -> Outcome {
    meshctl(&[&["keys"], words, &["--consul", &consul.url()]].concat()).await
}

/// Makes a key of trading for acme; its id.
async fn create(consul: &ConsulProcess) -> String {
    let made = keys(consul, &["create", "trading", "--consumer", "acme", "-o", "json"]).await;
    let made: Value = serde_json::from_str(&made.out).unwrap();
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named_and_hides_no_other_key() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let id = create(&consul).await;
    let client = consul.client().unwrap();
    for (key, value) in [("portfolio/0000000000", "{"), ("trading/notes", "{}")] {
        assert!(client.put_key(&format!("mesh/keys/{key}"), value, None).await.unwrap());
    }
    let listed = keys(&consul, &["list"]).await;
    assert_eq!(listed.exit_code(), 0, "{listed:?}");
    assert!(listed.out.contains(&id), "{listed:?}");
    for key in ["mesh/keys/portfolio/0000000000", "mesh/keys/trading/notes"] {
        assert!(listed.err.contains(&format!("{key} is no record of a key")), "{listed:?}");
    }
    let revoked = keys(&consul, &["revoke", &id]).await;
    assert_eq!(revoked.exit_code(), 0, "{revoked:?}");
    assert!(revoked.out.starts_with(&format!("revoked {id} of acme")), "{revoked:?}");
    let broken = keys(&consul, &["revoke", "0000000000"]).await;
    assert_eq!(broken.exit_code(), 1, "{broken:?}");
    assert!(broken.failure().contains("mesh/keys/portfolio/0000000000 is no record"), "{broken:?}");
}

#[tokio::test]
async fn what_becomes_of_a_key_is_json_where_a_program_asks() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let id = create(&consul).await;
    for (words, state) in [
        (&["expire", &id, "--in", "0s"][..], "expired"),
        (&["expire", &id, "--never"], "valid"),
        (&["revoke", &id], "revoked"),
        (&["revoke", &id], "revoked"),
    ] {
        let said = keys(&consul, &[words, &["-o", "json"]].concat()).await;
        let said: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((&said["id"], &said["state"]), (&Value::from(&*id), &state.into()), "{words:?}");
    }
    let refused = keys(&consul, &["expire", &id, "--never", "-o", "json"]).await;
    let said: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!((refused.exit_code(), &said["exit_code"]), (1, &1.into()));
    assert!(said["error"].as_str().unwrap().contains("is revoked"), "{said}");
}
