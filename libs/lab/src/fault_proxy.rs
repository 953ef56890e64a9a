//! TCP between a client and a server that does what networks do: delay, throttle, swallow, break.
//!
//! In: the server's address and a [`Fault`] that can be changed at any time, for open connections too. Out: an address to give to
//! the client. What passed before a fault has arrived.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::LabError;

const PIECE: usize = 16 * 1024;

/// What happens to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Each piece arrives so much later.
    Delay(Duration),
    /// So many bytes each second in each direction.
    Throttle(usize),
    /// Connections stay open and are accepted, and nothing passes in either direction.
    Blackhole,
    /// What the client sends passes, and nothing comes back.
    Mute,
    /// Each connection is reset once the client has sent so many bytes over it.
    CutAfter(u64),
    /// Open connections are reset, and new ones as soon as they are accepted.
    Reset,
}

/// A running proxy; its connections end with it.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    accepted: watch::Receiver<u64>,
    _acceptor: JoinSet<()>,
}

impl FaultProxy {
    /// Listens on a port of the kernel's choice and connects each client to `server`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(server: SocketAddr) -> Result<Self, LabError> {
        let step = || LabError::io("listen for the fault proxy");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(step())?;
        let address = listener.local_addr().map_err(step())?;
        let fault = watch::Sender::new(Fault::None);
        let (count, accepted) = watch::channel(0);
        let mut acceptor = JoinSet::new();
        let faults = fault.subscribe();
        acceptor.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                connections.spawn(relay(client, server, faults.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, fault, accepted, _acceptor: acceptor })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the fault, for open and new connections.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        *self.accepted.borrow()
    }
}

/// A connection whose client gets a reset when it is dropped.
fn reset(client: &TcpStream) {
    // A socket that refuses the option is closed in the ordinary way, which ends the connection as well.
    SockRef::from(client).set_linger(Some(Duration::ZERO)).ok();
}

async fn relay(mut client: TcpStream, server: SocketAddr, faults: watch::Receiver<Fault>) {
    if *faults.borrow() == Fault::Reset {
        return reset(&client);
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else { return reset(&client) };
    let is_broken = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = upstream.split();
        let there = pass(&mut from_client, &mut to_server, faults.clone(), true);
        let back = pass(&mut from_server, &mut to_client, faults.clone(), false);
        tokio::select! {
            is_broken = there => is_broken,
            is_broken = back => is_broken,
            () = until_reset(faults) => true,
        }
    };
    if is_broken {
        reset(&client);
        reset(&upstream);
    }
}

async fn until_reset(mut faults: watch::Receiver<Fault>) {
    if faults.wait_for(|fault| *fault == Fault::Reset).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Copies until one side ends; true when the fault ended it.
async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut faults: watch::Receiver<Fault>,
    is_from_client: bool,
) -> bool {
    let mut piece = vec![0; PIECE];
    let mut passed = 0;
    loop {
        let fault = *faults.borrow_and_update();
        if fault == Fault::Blackhole || (fault == Fault::Mute && !is_from_client) {
            if faults.changed().await.is_err() {
                return false;
            }
            continue;
        }
        let most = match fault {
            Fault::Throttle(rate) => (rate / 20).clamp(1, PIECE),
            Fault::CutAfter(limit) if is_from_client => {
                usize::try_from(limit.saturating_sub(passed)).map_or(PIECE, |left| left.min(PIECE))
            }
            _ => PIECE,
        };
        let Some(room) = piece.get_mut(..most).filter(|room| !room.is_empty()) else { return true };
        let read = tokio::select! {
            read = from.read(room) => read,
            changed = faults.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return false,
            },
        };
        let count = match read {
            Ok(count) if count > 0 => count,
            _ => return false,
        };
        match fault {
            Fault::Delay(delay) => sleep(delay).await,
            Fault::Throttle(rate) => {
                sleep(Duration::from_secs(1).mul_f64(count as f64 / rate.max(1) as f64)).await;
            }
            _ => {}
        }
        if to.write_all(room.get(..count).unwrap_or_default()).await.is_err() {
            return false;
        }
        passed += count as u64;
    }
}
