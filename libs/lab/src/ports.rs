//! Ports that the kernel chose and keeps for us until the process that is to have them listens.
//!
//! A port found by binding port 0 and letting go again can be given to anyone in between: to another test, or to the
//! near end of an outgoing connection. A connection opened to it and closed from the listening side leaves the port in
//! TIME_WAIT: for a minute the kernel gives it to nobody who does not ask for it by number.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::LabError;

/// Reserves one port on 127.0.0.1 for about a minute; whoever listens on it must do so with `SO_REUSEADDR`, as
/// Envoy, Consul and tokio do.
pub fn reserve() -> Result<u16, LabError> {
    try_reserve().map_err(LabError::io("reserve a port on 127.0.0.1"))
}

fn try_reserve() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let near = TcpStream::connect(address)?;
    let (far, _) = listener.accept()?;
    drop(far);
    drop(listener);
    drop(near);
    Ok(address.port())
}

/// Reports a fixed port that cannot be had; `change` says how to choose another.
pub fn require_free(port: u16, change: &str) -> Result<(), LabError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(LabError::PortTaken { port, next: change.to_owned() })
        }
        Err(error) => Err(LabError::io(format!("listen on 127.0.0.1:{port}"))(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_reserved_port_can_be_listened_on_and_is_given_to_nobody_else() {
        let reserved: BTreeSet<u16> = (0..200).map(|_| reserve().unwrap()).collect();
        assert_eq!(reserved.len(), 200, "a port was given twice");
        for _ in 0..200 {
            let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            assert!(!reserved.contains(&other.local_addr().unwrap().port()));
        }
        for port in reserved {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_taken_port_is_named_with_the_way_to_choose_another() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let error = require_free(port, "use --router-port").unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--router-port"), "{error}");
    }
}
