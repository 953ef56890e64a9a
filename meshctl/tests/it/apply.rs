//! `meshctl apply`, `undo`, `delete` and `get history` against a real Consul.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use consul::testing::{ConsulOptions, ConsulProcess};
use consul::{Consistency, ServiceDefinition};
use meshctl::store::{ConsulArgs, Store};
use tempfile::TempDir;

use crate::support::{Outcome, converse, meshctl};

const FIRST: &str = "kind: System\nname: trading\n# the desk's own\nroutes:\n- {match: {prefix: /orders}, to: orders}\n";

struct Desk {
    consul: ConsulProcess,
    folder: TempDir,
}

impl Desk {
    /// A Consul in which `trading/orders` and the outside service `ledger-db` are registered.
    async fn new() -> Option<Self> {
        consul::testing::install_crypto_provider();
        let consul = ConsulProcess::start(ConsulOptions::default()).await?;
        let client = consul.client().unwrap();
        for (name, system) in
            [("orders", Some("trading")), ("quotes", Some("other")), ("ledger-db", None)]
        {
            let meta = system.map(|system| ("mesh_system".to_owned(), system.to_owned()));
            let service = ServiceDefinition {
                id: name.to_owned(),
                name: name.to_owned(),
                port: 1,
                meta: meta.into_iter().collect::<BTreeMap<_, _>>(),
                ..ServiceDefinition::default()
            };
            client.register_service(&service).await.unwrap();
        }
        Some(Self { consul, folder: tempfile::tempdir().unwrap() })
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    async fn run(&self, arguments: &[&str]) -> Outcome {
        meshctl(&[arguments, &["--consul", &self.consul.url()]].concat()).await
    }

    async fn apply(&self, text: &str, flags: &[&str]) -> Outcome {
        let file = self.file("trading.yaml", text);
        self.run(&[&["apply", "-f", file.to_str().unwrap()], flags].concat()).await
    }

    async fn in_force(&self) -> Option<String> {
        let client = self.consul.client().unwrap();
        let key = client.get_key("mesh/systems/trading", Consistency::Consistent).await.unwrap();
        key.map(|key| String::from_utf8(key.value).unwrap())
    }
}

#[tokio::test]
async fn a_document_is_applied_undone_and_deleted_with_its_history_kept() {
    let Some(desk) = Desk::new().await else { return };
    let outcome = desk.apply(FIRST, &["--yes"]).await;
    assert_eq!(outcome.exit_code(), 0, "{outcome:?}");
    assert!(outcome.out.starts_with("create trading\n  + kind: System\n"), "{}", outcome.out);
    assert_eq!(desk.in_force().await.as_deref(), Some(FIRST));

    let outcome = desk.apply(FIRST, &[]).await;
    assert_eq!(outcome.out, "unchanged trading\n");

    let second = FIRST.replace("/orders}", "/o}");
    let outcome = desk.apply(&second, &["--yes"]).await;
    assert!(
        outcome.out.contains("  - - {match: {prefix: /orders}, to: orders}\n"),
        "{}",
        outcome.out
    );
    assert!(outcome.out.ends_with("changed trading\n"), "{}", outcome.out);

    let outcome = desk.run(&["undo", "trading", "--yes"]).await;
    assert_eq!(outcome.exit_code(), 0, "{outcome:?}");
    assert_eq!(desk.in_force().await.as_deref(), Some(FIRST));
    desk.run(&["undo", "trading", "--yes"]).await;
    assert_eq!(desk.in_force().await, Some(second.clone()), "an undo can be undone");

    desk.run(&["delete", "system", "trading", "--yes"]).await;
    assert_eq!(desk.in_force().await, None);
    let outcome = desk.run(&["get", "history", "trading"]).await;
    let rows: Vec<Vec<&str>> =
        outcome.out.lines().skip(1).map(|line| line.split_whitespace().skip(1).collect()).collect();
    assert_eq!(
        rows,
        [
            ["0s", "ago", "delete", "5"],
            ["0s", "ago", "undo", "5"],
            ["0s", "ago", "undo", "5"],
            ["0s", "ago", "apply", "5"]
        ]
    );

    let oldest = outcome.out.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    let outcome = desk.run(&["get", "history", "trading", "--version", &oldest]).await;
    assert_eq!(outcome.out, FIRST);
    let version = ["get", "history", "trading", "--version", &oldest, "-o", "json"];
    let kept: serde_json::Value = serde_json::from_str(&desk.run(&version).await.out).unwrap();
    assert_eq!((&kept["text"], &kept["replaced_by"]), (&FIRST.into(), &"apply".into()));
    desk.run(&["undo", "trading", "--to", &oldest, "--yes"]).await;
    assert_eq!(desk.in_force().await.as_deref(), Some(FIRST));
}

#[tokio::test]
async fn routes_to_services_that_are_not_registered_are_refused_by_line_and_key() {
    let Some(desk) = Desk::new().await else { return };
    let text = "kind: System\nname: trading\nexternal: [ledger-db, nowhere]\nroutes:\n- {match: {prefix: /q}, to: quotes}\n";
    let outcome = desk.apply(text, &["--yes"]).await;
    assert_eq!(outcome.exit_code(), 1);
    let file = desk.folder.path().join("trading.yaml").display().to_string();
    assert_eq!(
        outcome.err,
        format!(
            "{file}:3: external[1]: no service nowhere is registered\n{file}:5: routes[0].to: no service quotes is registered\n"
        )
    );
    assert_eq!(desk.in_force().await, None);
    let outcome = desk.apply(text, &["--yes", "--allow-unknown"]).await;
    assert_eq!(outcome.exit_code(), 0, "{outcome:?}");
}

#[tokio::test]
async fn nothing_is_written_without_a_yes() {
    let Some(desk) = Desk::new().await else { return };
    let outcome = desk.apply(FIRST, &[]).await;
    assert_eq!(outcome.exit_code(), 1);
    assert!(outcome.failure().contains("pass --yes"), "{outcome:?}");
    let file = desk.file("trading.yaml", FIRST);
    let command = ["apply", "-f", file.to_str().unwrap(), "--consul", &desk.consul.url()];
    let outcome = converse(&command, Some("n\n")).await;
    assert_eq!((outcome.exit_code(), outcome.err.as_str()), (1, "create trading? [y/N] "));
    assert_eq!(desk.in_force().await, None);
    assert_eq!(converse(&command, Some("y\n")).await.exit_code(), 0);
    assert_eq!(desk.in_force().await.as_deref(), Some(FIRST));
}

#[tokio::test]
async fn a_document_that_somebody_else_changed_in_the_meantime_is_not_overwritten() {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        consul: ConsulArgs,
    }
    let Some(desk) = Desk::new().await else { return };
    desk.apply(FIRST, &["--yes"]).await;
    let flags = Flags::parse_from(["flags", "--consul", &desk.consul.url()]);
    let store = Store::new(&flags.consul).unwrap();
    let name = "trading".parse().unwrap();
    let seen = store.document(&name).await.unwrap();
    desk.apply(&format!("{FIRST}# theirs\n"), &["--yes"]).await;

    assert!(!store.write(&name, Some("mine"), seen.as_ref()).await.unwrap());
    assert!(!store.write(&name, None, seen.as_ref()).await.unwrap());
    assert!(!store.write(&name, Some("mine"), None).await.unwrap());
    assert_eq!(desk.in_force().await, Some(format!("{FIRST}# theirs\n")));
}

#[tokio::test]
async fn at_most_twenty_versions_are_kept() {
    let Some(desk) = Desk::new().await else { return };
    for number in 0..23 {
        let outcome = desk.apply(&format!("{FIRST}# {number}\n"), &["--yes"]).await;
        assert_eq!(outcome.exit_code(), 0, "{outcome:?}");
    }
    let outcome = desk.run(&["get", "history", "trading", "-o", "json"]).await;
    let kept: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    let kept: Vec<&str> =
        kept.as_array().unwrap().iter().map(|entry| entry["text"].as_str().unwrap()).collect();
    assert_eq!(kept.len(), 20);
    assert!(kept[0].ends_with("# 21\n") && kept[19].ends_with("# 2\n"), "{kept:?}");
}

#[tokio::test]
async fn a_kept_version_that_cannot_be_read_is_named_and_stops_neither_undo_nor_apply() {
    let Some(desk) = Desk::new().await else { return };
    let client = desk.consul.client().unwrap();
    let broken = "mesh/history/systems/trading/notes";
    assert!(client.put_key(broken, "{", None).await.unwrap());
    for text in [FIRST.to_owned(), format!("{FIRST}# second\n")] {
        let outcome = desk.apply(&text, &["--yes"]).await;
        assert_eq!(outcome.exit_code(), 0, "{outcome:?}");
    }
    let outcome = desk.run(&["get", "history", "trading"]).await;
    assert_eq!((outcome.exit_code(), outcome.out.lines().count()), (0, 2), "{outcome:?}");
    assert!(outcome.err.contains(&format!("{broken} is no kept version")), "{outcome:?}");
    let outcome = desk.run(&["undo", "trading", "--yes"]).await;
    assert_eq!(outcome.exit_code(), 0, "{outcome:?}");
    assert_eq!(desk.in_force().await.as_deref(), Some(FIRST));
}

#[tokio::test]
async fn every_mistake_of_every_file_is_shown_before_consul_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", "kind: System\nname: a\nroute: []\n");
    write("b.yml", "kind: System\nname: b\n");
    write("c.yaml", "kind: System\nname: b\n");
    write("notes.txt", "not a document");
    let path = folder.path().to_str().unwrap();
    let outcome = meshctl(&["apply", "-f", path, "--consul", "http://127.0.0.1:1"]).await;
    assert_eq!(outcome.exit_code(), 1);
    let shown = |name: &str| Path::new(path).join(name).display().to_string();
    assert_eq!(
        outcome.err,
        format!(
            "{}:3: route: unknown key; did you mean routes?\n{}: System b is already in {}\n",
            shown("a.yaml"),
            shown("c.yaml"),
            shown("b.yml")
        )
    );
    assert!(outcome.failure().starts_with("2 problems, nothing was changed"), "{outcome:?}");
}

#[tokio::test]
async fn a_consul_that_is_away_is_exit_code_3() {
    let command = ["get", "history", "trading", "--consul", "http://127.0.0.1:1"];
    let outcome = meshctl(&command).await;
    assert_eq!(outcome.exit_code(), 3);
    assert!(outcome.failure().contains("--consul says where it is"), "{outcome:?}");
}
