//! Instances come and go under load, and a control plane dies: nothing may be lost.
//!
//! The load posts to `orders` what takes a while to answer, so that requests which no proxy may repeat are always in
//! flight on the instance that goes; it asks along the other paths too. The same move without draining is the contrast:
//! it must lose some, or the load proves nothing.

use std::time::Duration;

use prost::Message as _;

use super::checks::Checks;
use super::paths::{GET_QUOTE, GetQuoteRequest, LOCAL};
use crate::load::{Call, Load, LoadReport, LoadSpec};
use crate::placer::Stop;
use crate::wait;
use crate::world::World;
use crate::{LabError, chain};

/// Requests a second to `orders`: with [`ORDERS`] some ten are in flight at any time, and two busy cores bear it.
const RATE: u32 = 50;
/// What `orders` is asked: an answer after 200 ms.
const ORDERS: &str = "/trading/slow?ms=200";
/// What it is asked where something has to be lost: fifty requests are then in flight on two instances, and that none is
/// on the one that is killed has a chance of 2⁻⁵⁰.
const CONTRAST: &str = "/trading/slow?ms=1000";
/// A slow answer is not a lost one; what takes longer than this counts as lost.
const PATIENCE: Duration = Duration::from_secs(15);
const SETTLED: Duration = Duration::from_secs(20);

/// Checks moves with and without draining.
pub async fn check(world: &mut World, checks: &mut Checks) {
    let mut loads = [
        ("orders, POST", Load::start(load(world, LOCAL, ORDERS, Call::Post, RATE))),
        ("positions, GET and then gRPC", Load::start(across(world))),
        ("quotes, gRPC", Load::start(quotes(world))),
    ];
    for (_, load) in &mut loads {
        load.until_more_sent(RATE.into()).await;
    }
    checks.step(
        "an instance of orders moves",
        world.replace("orders", Stop::Drained).await.map(drop),
    );
    checks.step(
        "an instance of quotes moves",
        world.replace("quotes", Stop::Drained).await.map(drop),
    );
    checks.step("orders grows to three", grow(world).await);
    checks.step("orders shrinks to two", world.remove("orders", Stop::Drained).await);
    checks.step("positions moves while a control plane is dead", without_one(world).await);
    checks.step("the dead control plane comes back", bring_back(world).await);
    for (what, load) in loads {
        record_none_lost(checks, what, load.finish().await);
    }
    let retries = world.retries().await.map_err(|error| chain(&error));
    checks.record(
        "the proxies tell how often they tried again",
        retries.map(|n| format!("{n} times")),
    );
    let mut contrast = Load::start(load(world, LOCAL, CONTRAST, Call::Post, RATE));
    contrast.until_more_sent(RATE.into()).await;
    let moved = world.replace("orders", Stop::AtOnce).await.map(drop);
    checks.step("an instance of orders moves without draining", moved);
    contrast.until_more_sent(RATE.into()).await;
    record_some_lost(checks, contrast.finish().await);
    counters(world, checks).await;
}

fn load(world: &World, host: &str, path: &str, call: Call, rate: u32) -> LoadSpec {
    LoadSpec {
        client: world.client().clone(),
        address: world.router_address(),
        host: host.to_owned(),
        path: path.to_owned(),
        call,
        rate,
        timeout: PATIENCE,
    }
}

fn across(world: &World) -> LoadSpec {
    load(world, LOCAL, "/portfolio/positions/7", Call::Get, RATE / 2)
}

fn quotes(world: &World) -> LoadSpec {
    let message = GetQuoteRequest { symbol: "ACME".to_owned() }.encode_to_vec();
    load(world, "trading.example.com", GET_QUOTE, Call::Grpc(message.into()), RATE / 2)
}

async fn grow(world: &mut World) -> Result<(), LabError> {
    let orders = world.instances_of("orders").next().map(|one| one.spec().clone());
    world.place(orders.as_slice()).await
}

async fn without_one(world: &mut World) -> Result<(), LabError> {
    if let Some(first) = world.control_planes.first_mut() {
        first.kill().await?;
    }
    world.replace("positions", Stop::Drained).await.map(drop)
}

async fn bring_back(world: &mut World) -> Result<(), LabError> {
    let Some(first) = world.control_planes.first_mut() else { return Ok(()) };
    first.start_again()?;
    first.wait_ready().await
}

fn record_none_lost(checks: &mut Checks, what: &str, report: Result<LoadReport, LabError>) {
    let what = format!("no request lost meanwhile: {what}");
    checks.record(
        &what,
        match report {
            Ok(report) if report.sent > 0 && report.lost() == 0 => Ok(report.to_string()),
            Ok(report) => Err(report.to_string()),
            Err(error) => Err(chain(&error)),
        },
    );
}

fn record_some_lost(checks: &mut Checks, report: Result<LoadReport, LabError>) {
    let what = "some lost without draining (else the load proves nothing)";
    checks.record(
        what,
        match report {
            Ok(report) if report.lost() > 0 => Ok(report.to_string()),
            Ok(report) => Err(report.to_string()),
            Err(error) => Err(chain(&error)),
        },
    );
}

/// What the Envoys say about their configuration, those that were taken away included.
async fn counters(world: &World, checks: &mut Checks) {
    let settled = wait::until("no Envoy has a refused or unfinished update", SETTLED, async || {
        match world.config_faults().await {
            Ok(faults) if faults.is_empty() => Ok(()),
            Ok(faults) => Err(faults.join(", ")),
            Err(error) => Err(chain(&error)),
        }
    });
    let seen = settled.await.map_err(|error| error.to_string());
    let what = "no Envoy refused an update, waited in vain, or is still warming";
    checks.record(what, seen.map(|()| format!("{} Envoys", world.envoys().count())));
}
