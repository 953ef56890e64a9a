//! The default set: which scenarios run, at which sizes, and how contenders stand beside each other.
//!
//! In: who is measured. Out: figures, ours first, peers beside. Called by `main`.
//!
//! **Invariants**: every contender does the same work, one after the other, in one run.

use crate::contender::Contender;
use crate::figures::Figure;
use crate::proxy::Mode;
use crate::scenario::{cold, document, envoy, event, memory, storm};
use crate::stage::{Setup, Stage};

/// One scenario at one size.
#[derive(Debug, Clone)]
pub enum Scenario {
    /// Events at a fleet.
    Event(Setup, u32),
    /// CPU of an event as the catalogue grows.
    Growth(Setup, u32),
    /// Memory of a fleet.
    Memory(Setup),
    /// Reconnects of a fleet.
    Storm(Setup),
    /// Starts.
    Cold(Setup, u32),
    /// A change of every cluster.
    Document(Setup, u32),
    /// Events at a real Envoy.
    Envoy(Setup, u32),
}

const BASE: Setup = Setup {
    services: 100,
    instances: 10,
    streams: 1000,
    upstreams: 20,
    apps: 100,
    mode: Mode::Delta,
    plain: false,
};

/// What `make bench-xds` measures.
pub fn default_set() -> Vec<Scenario> {
    let mut set = vec![
        Scenario::Envoy(BASE, 200),
        Scenario::Event(BASE, 40),
        Scenario::Event(Setup { plain: true, ..BASE }, 40),
        Scenario::Event(Setup { streams: 5000, ..BASE }, 20),
        Scenario::Event(Setup { mode: Mode::Sotw, upstreams: 0, ..BASE }, 20),
    ];
    set.extend([1000, 5000, 10_000].map(|streams| Scenario::Memory(Setup { streams, ..BASE })));
    set.push(Scenario::Storm(Setup { streams: 5000, ..BASE }));
    set.extend(
        [true, false].map(|plain| Scenario::Cold(Setup { services: 1000, plain, ..BASE }, 5)),
    );
    set.push(Scenario::Document(Setup { streams: 5000, ..BASE }, 5));
    set.extend(
        [100, 1000, 5000]
            .map(|services| Scenario::Growth(Setup { services, instances: 2, ..BASE }, 20)),
    );
    set
}

impl Scenario {
    /// Whether the peers can do it too: they know no documents.
    pub const fn has_peers(&self) -> bool {
        !matches!(self, Self::Document(..))
    }

    /// Measures one contender.
    ///
    /// # Errors
    /// A part does not start, or some stream never sees what it must.
    pub async fn measure(&self, contender: Contender) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::Event(setup, events) => event::measure(setup, contender, *events).await,
            Self::Growth(setup, events) => growth(setup, contender, *events).await,
            Self::Memory(setup) => memory::measure(setup, contender).await,
            Self::Storm(setup) => storm::measure(setup, contender).await,
            Self::Cold(setup, starts) => cold::measure(setup, contender, *starts).await,
            Self::Document(setup, changes) => document::measure(setup, contender, *changes).await,
            Self::Envoy(setup, events) => envoy::measure(setup, contender, *events).await,
        }
    }

    /// Measures ours, and the peers beside it.
    ///
    /// # Errors
    /// As [`Self::measure`], of any contender.
    pub async fn compare(&self, peers: &[Contender]) -> anyhow::Result<Vec<Figure>> {
        let mut figures = self.measure(Contender::Ayatori).await?;
        for peer in peers.iter().filter(|_| self.has_peers()) {
            for other in self.measure(*peer).await? {
                if let Some(figure) = figures.iter_mut().find(|figure| figure.name == other.name) {
                    figure.beside(peer.name(), other.value);
                }
            }
        }
        Ok(figures)
    }
}

async fn growth(setup: &Setup, contender: Contender, events: u32) -> anyhow::Result<Vec<Figure>> {
    let mut stage = Stage::raise(setup, contender).await?;
    stage.connect().await?;
    let series = event::series(&mut stage, events).await?;
    let how = format!("{events} events at {} streams, 2 instances a service", setup.streams);
    let name = format!("event CPU, {} services", setup.services);
    Ok(vec![Figure::new(name, "s", series.cpu, &how)])
}
