//! What the directory says, and what becomes of a file that breaks.

use super::*;

fn texts(pairs: &[(&str, &str)]) -> Texts {
    pairs.iter().map(|(name, text)| ((*name).into(), Ok((*text).into()))).collect()
}

const ORDERS: &str =
    "kind: Service\nname: orders\ninstances:\n- {id: o1, address: 127.0.0.1, port: 9}\n";

#[test]
fn a_file_that_breaks_keeps_what_it_said_and_is_named() {
    let mut files = Files::new(Holds::Everything);
    assert_eq!(files.take(texts(&[("orders.yaml", ORDERS)])), vec![]);
    let before = files.observed();
    let held = files.take(texts(&[("orders.yaml", "kind: Service\nname: [")]));
    assert!(
        matches!(&held[..], [RegistryEvent::Held { subject, reason: Some(reason) }]
            if subject == "file orders.yaml" && reason.ends_with("what it said before stays in force")),
        "{held:?}"
    );
    assert_eq!(files.observed(), before);
    let released = files.take(texts(&[("orders.yaml", ORDERS)]));
    assert_eq!(
        released,
        vec![RegistryEvent::Held { subject: "file orders.yaml".into(), reason: None }]
    );
}

#[test]
fn a_removed_file_removes_what_it_said() {
    let mut files = Files::new(Holds::Everything);
    files
        .take(texts(&[("orders.yaml", ORDERS), ("trading.yaml", "kind: System\nname: trading\n")]));
    let before = files.observed();
    files.take(texts(&[("trading.yaml", "kind: System\nname: trading\n")]));
    assert_eq!(
        files.observed().changes_since(Some(&before), Holds::Everything),
        vec![RegistryEvent::Listing(BTreeSet::new())]
    );
}

#[test]
fn beside_another_registry_registrations_are_a_mistake_and_no_listing_is_told() {
    let mut files = Files::new(Holds::Documents);
    let trading = "kind: System\nname: trading\n";
    let held = files.take(texts(&[("orders.yaml", ORDERS), ("trading.yaml", trading)]));
    assert!(
        matches!(&held[..], [RegistryEvent::Held { subject, reason: Some(reason) }]
            if subject == "file orders.yaml" && reason.contains("kind Service is not read here")),
        "{held:?}"
    );
    let documents = [("trading".to_owned(), trading.to_owned())].into();
    assert_eq!(
        files.observed().changes_since(None, Holds::Documents),
        vec![RegistryEvent::Documents(documents)]
    );
}

#[tokio::test]
async fn the_directory_becomes_events_and_follows_changes() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("orders.yaml"), ORDERS).unwrap();
    let (sender, mut events) = mpsc::channel(16);
    let registry = FileRegistry {
        directory: directory.path().to_owned(),
        interval: Duration::from_millis(5),
        holds: Holds::Everything,
    };
    let shutdown = CancellationToken::new();
    let run = registry.run(sender, shutdown.clone());
    let check = async {
        let Some(RegistryEvent::Service { name, instances }) = events.recv().await else {
            panic!()
        };
        assert_eq!((&*name, instances.len()), ("orders", 1));
        let new = directory.path().join("new");
        std::fs::write(&new, ORDERS.replace("port: 9", "port: 10")).unwrap();
        std::fs::rename(new, directory.path().join("orders.yaml")).unwrap();
        loop {
            if let Some(RegistryEvent::Service { instances, .. }) = events.recv().await {
                assert_eq!(instances[0].port, 10);
                break;
            }
        }
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(run, check);
    ended.unwrap();
}
