//! The mesh with its instances, and whether what is replaced on it is protected.
//!
//! In: a test's name, a [`Guard`]. Out: a [`Stage`], on which the scenes of [`crate::services`] and [`crate::platform`] play.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use lab::LabError;
use lab::process::{self, Program};

use crate::cluster::Nomad;
use crate::mesh::Mesh;
use crate::mix::LONGEST;
use crate::scene::{Told, play};
use crate::version::Version;

/// Whether a stop waits for those who must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// As the jobs of `jobs/` and `meshctl deploy` do it.
    On,
    /// No `shutdown_delay`, no gate, applications and Envoys that may not end what they have begun, checks that ask no
    /// application.
    Off,
}

/// The mesh with its instances.
pub(crate) struct Stage {
    pub(crate) mesh: Mesh,
    pub(crate) nomad: Nomad,
    pub(crate) guard: Guard,
    orders: Version,
    quotes: Version,
    gateway: Version,
    number: Cell<u32>,
    wrong: RefCell<Vec<String>>,
}

impl Stage {
    /// Starts it; `None`: a part is missing, and it is said.
    pub(crate) async fn set(test: &str, guard: Guard) -> Option<Self> {
        let mesh = Mesh::start(test).await?;
        let nomad = Nomad::start(test, &mesh).await?;
        let off = |version: Version, texts: &[(&'static str, &str)]| match guard {
            Guard::On => version,
            Guard::Off => {
                texts.iter().fold(version, |version, (name, value)| version.text(name, value))
            }
        };
        let service = |version| off(version, &[("shutdown_delay", "0s"), ("kill_timeout", "1ms")]);
        let gateway = nomad.gateway("trading");
        let gateway = off(gateway, &[("shutdown_delay", "0s"), ("drain", "0s")]);
        let orders = service(nomad.service("trading", "orders", "http", "/orders"));
        let quotes = service(nomad.service("trading", "quotes", "grpc", "/quotes.v1.Quotes"));
        // Two of each: what there is one of is away while its host is drained.
        let others = [
            nomad.service("portfolio", "positions", "http", "/positions"),
            nomad.gateway("portfolio"),
        ];
        let first = [&gateway, &orders, &quotes].into_iter().chain(&others);
        for one in first.clone() {
            nomad.submit(one).await;
        }
        for one in first {
            nomad.until_settled(&one.job, "successful").await;
        }
        mesh.answers().await;
        Some(Self {
            mesh,
            nomad,
            guard,
            orders,
            quotes,
            gateway,
            number: Cell::new(1),
            wrong: RefCell::default(),
        })
    }

    /// Plays a scene: protected nothing may be lost, unprotected some must be.
    pub(crate) async fn play(&self, title: &str, happens: impl Future<Output = ()>) {
        let told = play(&self.mesh, &self.title(title), self.lead(), happens).await;
        self.judge(&told);
    }

    /// For how long the load goes on before something happens; unprotected until there are as many long requests as there
    /// ever are.
    pub(crate) const fn lead(&self) -> Duration {
        match self.guard {
            Guard::On => Duration::from_secs(1),
            Guard::Off => LONGEST,
        }
    }

    /// A scene's title, which says whether it is protected.
    pub(crate) fn title(&self, title: &str) -> String {
        match self.guard {
            Guard::On => title.to_owned(),
            Guard::Off => format!("{title}, UNPROTECTED"),
        }
    }

    /// Notes whether it lost what it may, or had to; the other scenes play all the same.
    pub(crate) fn judge(&self, told: &Told) {
        let judged = match self.guard {
            Guard::On => told.lost_none(),
            Guard::Off => told.lost_some(),
        };
        self.wrong.borrow_mut().extend(judged.err());
    }

    /// Ends it: no scene may have been wrong.
    pub(crate) fn end(self) {
        let wrong = self.wrong.take();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// The next version of the services that are deployed: one of HTTP, one of gRPC.
    pub(crate) fn next(&self) -> [Version; 2] {
        let number = self.count();
        [&self.orders, &self.quotes].map(|one| one.clone().text("version", &number))
    }

    /// The next version of the gateway.
    pub(crate) fn next_gateway(&self) -> Version {
        self.gateway.clone().text("version", &self.count())
    }

    /// The command that deploys a version.
    pub(crate) fn command(&self, version: &Version, flags: &[&str]) -> Program {
        let unguarded: &[&str] = match self.guard {
            Guard::On => &[],
            Guard::Off => &["--no-lint", "--gate=none"],
        };
        // What a scene says of gates goes before.
        let has_gate = flags.iter().any(|flag| flag.starts_with("--gate"));
        let unguarded = unguarded.iter().filter(|flag| !(has_gate && flag.starts_with("--gate")));
        let flags: Vec<&str> = flags.iter().chain(unguarded).copied().collect();
        self.nomad.deploy(&self.mesh, version, &flags)
    }

    /// Deploys versions at the same time, each to its end.
    pub(crate) async fn deploy(
        &self,
        versions: &[Version],
        flags: &[&str],
    ) -> Vec<Result<String, LabError>> {
        let commands: Vec<Program> = versions.iter().map(|one| self.command(one, flags)).collect();
        futures::future::join_all(commands.iter().map(process::run)).await
    }

    /// The same, where each has to be done.
    pub(crate) async fn deployed(&self, versions: &[Version], flags: &[&str]) {
        for outcome in self.deploy(versions, flags).await {
            outcome.unwrap();
        }
        for one in versions {
            self.nomad.until_still(&one.job).await;
        }
    }

    fn count(&self) -> String {
        self.number.set(self.number.get() + 1);
        self.number.get().to_string()
    }
}
