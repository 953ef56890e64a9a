//! Registrations, tags and checks arrive as they change.

use super::*;

#[tokio::test]
async fn registrations_tags_and_deregistrations_arrive() {
    let nomad = FakeNomad::start(&[Instance::of("orders", "a1")]).await;
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until_is("orders", "a1").await;
    let expected = RegisteredInstance {
        id: "_nomad-task-a1-group-orders-orders-mesh".to_owned(),
        node: "n1".to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 23000,
        tags: vec!["live".to_owned(), "v1".to_owned()],
        meta: [("mesh_instance", "a1"), ("mesh_protocol", "grpc"), ("mesh_system", "trading")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        status: CheckStatus::Passing,
        weight_passing: 1,
        weight_warning: 1,
    };
    assert_eq!(observer.seen.services["orders"], [expected]);

    let canary = Instance {
        tags: vec!["mesh_system=trading", "mesh_track=canary"],
        ..Instance::of("orders", "a2")
    };
    nomad.change(|world| world.instances.push(canary));
    observer.until_is("orders", "a1 a2").await;
    let is_canary =
        |seen: &Seen| seen.services["orders"].iter().any(|one| one.meta.contains_key("mesh_track"));
    assert!(is_canary(&observer.seen));
    nomad.change(|world| world.instances[1].tags = vec!["mesh_system=trading"]);
    observer.until("it is promoted", |seen| !is_canary(seen)).await;

    nomad.change(|world| world.instances.retain(|one| one.allocation != "a1"));
    observer.until_is("orders", "a2").await;
    nomad.change(|world| world.instances.clear());
    observer.until("the service leaves", |seen| !seen.lists("orders")).await;
    assert!(observer.seen.ever_held.contains("service orders"), "the last one is confirmed");
    observer.until("nothing is held", |seen| seen.held.is_empty()).await;
    observer.stop().await;
}

#[tokio::test]
async fn answers_that_differ_in_the_order_of_tags_alone_are_no_news() {
    let nomad =
        FakeNomad::start(&[Instance::of("orders", "a1"), Instance::of("quotes", "b1")]).await;
    let mut observer = Observer::start(&nomad, &["default"]);
    observer
        .until("both are there", |seen| seen.of("orders") == "a1" && seen.of("quotes") == "b1")
        .await;
    for _ in 0..3 {
        nomad.change(|_| ());
        let before = nomad.world().requests.len();
        observer
            .hold_true(Duration::from_millis(300), "no event", |seen| seen.service_events == 2)
            .await;
        assert!(nomad.world().requests.len() > before, "both were read again");
    }
    observer.stop().await;
}

#[tokio::test]
async fn a_failing_check_counts_although_nomad_goes_on_listing_the_instance() {
    let nomad =
        FakeNomad::start(&[Instance::of("orders", "a1"), Instance::of("orders", "a2")]).await;
    nomad.set(|world| world.checks = [("a1", "success"), ("a2", "pending")].into());
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until("it is published", |seen| seen.services.contains_key("orders")).await;
    assert_eq!(observer.seen.of("orders"), "a1 a2!", "first published with what its checks say");
    nomad.set(|world| world.checks = [("a1", "failure"), ("a2", "success")].into());
    observer.until_is("orders", "a1! a2").await;
    nomad.set(|world| world.checks = [("a1", "success"), ("a2", "success")].into());
    observer.until_is("orders", "a1 a2").await;
    observer.stop().await;
}

#[tokio::test]
async fn several_namespaces_are_followed_and_all_of_them_where_asked() {
    let shop = Instance { namespace: "shop", ..Instance::of("orders", "s1") };
    let other = Instance { namespace: "other", ..Instance::of("mail", "m1") };
    let nomad = FakeNomad::start(&[Instance::of("orders", "a1"), shop, other]).await;
    let mut two = Observer::start(&nomad, &["default", "shop"]);
    two.until("both namespaces are one name", |seen| seen.of("orders") == "a1 s1").await;
    assert!(!two.seen.lists("mail"));
    let mut all = Observer::start(&nomad, &["*"]);
    let has_all = |seen: &Seen| seen.of("orders") == "a1 s1" && seen.of("mail") == "m1";
    all.until("everything is there", has_all).await;
    nomad.change(|world| world.instances.retain(|one| one.namespace != "shop"));
    two.until_is("orders", "a1").await;
    all.until_is("orders", "a1").await;
    two.stop().await;
    all.stop().await;
}

#[tokio::test]
async fn a_token_in_a_file_is_read_again_for_each_request() {
    let nomad = FakeNomad::start(&[Instance::of("orders", "a1")]).await;
    nomad.set(|world| world.token = Some("new"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    let mut config = NomadConfig::new(nomad.url());
    config.token = ::nomad::Token::File(file.clone());
    let mut observer = Observer::with(config, &["default"]);
    let is_denied =
        |seen: &Seen| seen.error.as_ref().is_some_and(|error| error.contains("read-job"));
    observer.until("the old one is refused", is_denied).await;
    assert_eq!(observer.seen.listing, None);
    std::fs::write(&file, "new\n").unwrap();
    observer.until_is("orders", "a1").await;
    observer.until("it is told", |seen| seen.error.is_none()).await;
    observer.stop().await;
}
