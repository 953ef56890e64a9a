//! The dynamic ports of this agent: a part of Nomad's range that no other stand-in of the machine gives away.
//!
//! A real host has one agent, which alone hands out its dynamic ports. Tests run several stand-ins on one host, and a port is
//! bound only when its task has begun, seconds after it was chosen: trying to bind it beforehand does not see that another
//! agent has promised it too.
//!
//! In: names of abstract sockets, which the kernel gives to one process of a network namespace and takes back when it ends
//! (unix(7)). Out: free ports.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{self, UnixListener};

/// Nomad's dynamic ports.
const DYNAMIC: Range<u16> = 20_000..32_000;
/// Ports of one agent.
const WIDTH: u16 = 500;

/// Ports that only this agent gives away.
#[derive(Debug)]
pub(crate) struct Ports {
    range: Range<u16>,
    /// While it is open the range is taken.
    _claim: UnixListener,
}

impl Ports {
    /// Takes the first part that no other agent has.
    ///
    /// # Errors
    ///
    /// All parts are taken, or the kernel refuses such sockets.
    pub(crate) fn claim() -> io::Result<Self> {
        for start in DYNAMIC.step_by(usize::from(WIDTH)) {
            let name =
                net::SocketAddr::from_abstract_name(format!("nomad-stand-in/ports/{start}"))?;
            match UnixListener::bind_addr(&name) {
                Ok(claim) => return Ok(Self { range: start..start + WIDTH, _claim: claim }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        let agents = DYNAMIC.len() / usize::from(WIDTH);
        let text = format!(
            "{agents} stand-ins for Nomad run here and share ports {DYNAMIC:?}: end one of them first"
        );
        Err(io::Error::new(io::ErrorKind::AddrInUse, text))
    }

    /// A port that is neither taken nor bound; the search begins anywhere, so that a port that was given back is not the next.
    pub(crate) fn find(
        &self,
        address: IpAddr,
        anywhere: u16,
        is_taken: &dyn Fn(u16) -> bool,
    ) -> Option<u16> {
        let first = anywhere % WIDTH;
        (0..WIDTH).map(|step| self.range.start + (first + step) % WIDTH).find(|port| {
            !is_taken(*port) && TcpListener::bind(SocketAddr::new(address, *port)).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn two_agents_give_away_no_port_twice() {
        let (one, other) = (Ports::claim().unwrap(), Ports::claim().unwrap());
        assert!(one.range.end <= other.range.start || other.range.end <= one.range.start);
    }

    #[test]
    fn a_port_is_free_and_the_agent_s_own() {
        let ports = Ports::claim().unwrap();
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let first = ports.find(here, u16::MAX, &|_| false).unwrap();
        let bound = TcpListener::bind(SocketAddr::new(here, first)).unwrap();
        let second = ports.find(here, u16::MAX, &|_| false).unwrap();
        assert!(ports.range.contains(&first) && ports.range.contains(&second));
        assert_ne!(first, second, "{bound:?} is bound");
        assert_eq!(ports.find(here, 0, &|_| true), None);
    }
}
