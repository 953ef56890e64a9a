//! Which route a request takes: by its path, by what else it says, by its share.

use std::collections::BTreeMap;

use super::Court;

pub(super) async fn check(court: &Court) {
    paths(court).await;
    conditions(court).await;
    shares(court).await;
}

async fn paths(court: &Court) {
    for (asked, seen) in [
        ("/exact", "/echo/exact"),
        ("/exact?q=1", "/echo/exact"),
        ("/strip/echo/7", "/echo/7"),
        ("/strip/echo", "/echo"),
        ("/move", "/echo/moved"),
        ("/move/7", "/echo/moved/7"),
        ("/users/7/orders/9", "/echo/9/of/7"),
        ("/files/a/b", "/echo/a/b"),
        ("/echo/plain", "/echo/plain"),
    ] {
        assert_eq!(court.path(asked).await, seen, "{asked}");
    }
    assert!(court.is_audit("GET", "/echo/v12", &[]).await);
    assert!(!court.is_audit("GET", "/echo/v12/x", &[]).await);
    for nothing in ["/exact/below", "/stripped", "/users/7/orders", "/files"] {
        let answer = court.ask("GET", nothing, &[]).await;
        assert_eq!(answer.status, 404, "{nothing}: {}", answer.text());
    }
}

async fn conditions(court: &Court) {
    for (method, path, headers, audit) in [
        ("POST", "/echo/method", &[][..], true),
        ("PUT", "/echo/method", &[], true),
        ("GET", "/echo/method", &[], false),
        ("GET", "/echo/header", &[("x-kind", "a")], true),
        ("GET", "/echo/header", &[("x-kind", "ab")], false),
        ("GET", "/echo/header", &[("x-kind", "b-1")], true),
        ("GET", "/echo/header", &[("x-kind", "b-1"), ("x-not", "1")], false),
        ("GET", "/echo/header", &[("x-kind", "17"), ("x-there", "")], true),
        ("GET", "/echo/header", &[("x-kind", "17")], false),
        ("GET", "/echo/query?kind=a", &[], true),
        ("GET", "/echo/query?kind=ab", &[], false),
        ("GET", "/echo/query?kind=b-1", &[], true),
        ("GET", "/echo/query?kind=b-1&not", &[], false),
        ("GET", "/echo/query?kind=17&there", &[], true),
        ("GET", "/echo/query?kind=17", &[], false),
    ] {
        assert_eq!(
            court.is_audit(method, path, headers).await,
            audit,
            "{method} {path} {headers:?}"
        );
    }
    let at = async |host| court.ask_host(host, "GET", "/echo/host", &[]).await;
    let answer = at("a.trading.example.com").await;
    assert_eq!(answer.json().unwrap()["instance"], court.audit);
    let answer = at("A.Trading.Example.com:8080").await;
    assert_eq!(answer.json().unwrap()["instance"], court.audit);
    assert_eq!(at("b.trading.example.com").await.status, 202);
    let answer = at("trading.example.com").await;
    assert_eq!(answer.json().unwrap()["instance"], court.orders);
}

async fn shares(court: &Court) {
    let mut counts: BTreeMap<bool, u32> = BTreeMap::new();
    for _ in 0..60 {
        *counts.entry(court.is_audit("GET", "/echo/split", &[]).await).or_default() += 1;
    }
    // One share of a half: 60 requests give fewer than ten in one of 10⁸ runs.
    assert!(counts.len() == 2 && counts.values().all(|count| *count > 9), "{counts:?}");
}
