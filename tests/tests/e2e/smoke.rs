//! Requests along every path of the demo's mesh, in each way in which a mesh can be told.

use lab::demo::checks::Checks;
use lab::demo::{mesh, paths};
use lab::world::WorldOptions;

use crate::scene::Scene;

/// Places the demo's services, puts its documents in force, and asks along every path.
async fn every_path(mut scene: Scene) {
    scene.world.place(&mesh::services(&scene.parts).unwrap()).await.unwrap();
    for (system, document) in mesh::DOCUMENTS {
        scene.world.apply(system, document).await.unwrap();
    }
    let mut checks = Checks::default();
    paths::check(&scene.world, None, &mut checks).await;
    assert_eq!(checks.failed(), 0, "\n{checks}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_in_state_of_the_world_mode() {
    let test = "every_path_answers_in_state_of_the_world_mode";
    let sotw = |options: &mut WorldOptions| options.sotw = true;
    let Some(scene) = Scene::with_consul(test, sotw).await else { return };
    every_path(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_on_the_file_registry() {
    let test = "every_path_answers_on_the_file_registry";
    let files = |options: &mut WorldOptions| options.consul = None;
    let Some(scene) = Scene::start(test, files).await else { return };
    every_path(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_in_delta_mode() {
    let test = "every_path_answers_in_delta_mode";
    let Some(scene) = Scene::with_consul(test, |_| ()).await else { return };
    every_path(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_between_network_namespaces() {
    let test = "every_path_answers_between_network_namespaces";
    if let Err(why) = lab::netns::Network::is_possible() {
        return lab::parts::skip(test, "netns", &why);
    }
    let bridge = |options: &mut WorldOptions| options.bridge = true;
    let Some(scene) = Scene::with_consul(test, bridge).await else { return };
    every_path(scene).await;
}
