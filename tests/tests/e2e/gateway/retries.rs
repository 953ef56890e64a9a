//! A route's own retries: what is tried again, how often, and what is not.

use bytes::Bytes;
use http::Method;

use crate::scene::{LOCAL, Scene, soon};

/// The route `/status` of the document is tried again twice on `5xx`.
pub(super) async fn check(scene: &Scene) {
    let log = scene.world.instances_of("orders").next().and_then(|orders| orders.log()).unwrap();
    // No answer of a POST says that nobody acted on it.
    for (method, status, tries) in [
        (Method::GET, 503, 3),
        (Method::POST, 503, 1),
        (Method::PUT, 500, 3),
        (Method::GET, 404, 1),
    ] {
        let seen = || {
            let text = std::fs::read_to_string(log).unwrap();
            let (path, method) = (format!("\"/status/{status}\""), format!("\"{method}\""));
            text.lines().filter(|line| line.contains(&path) && line.contains(&method)).count()
        };
        let before = seen();
        let path = format!("/trading/status/{status}");
        let (client, router) = (scene.world.client(), scene.world.router_address());
        let answer = client.send(router, LOCAL, method.clone(), &path, Bytes::new()).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        soon(&format!("{method} {path} is tried {tries} times"), async || match seen() - before {
            count if count == tries => Ok(()),
            other => Err(format!("{other} times")),
        })
        .await;
    }
}
