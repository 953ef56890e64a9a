//! The handshake of Forward v1, the client's side: HELO, PING, PONG.
//!
//! In: the server's replies. Out: the PING to send, then whether the connection is ready. Sans-IO; the salt is an argument.
//!
//! **Invariants**: the shared key never leaves the host, only digests of it; a server that does not prove that it knows the key
//! gets no record.

use std::sync::Arc;

use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;

use super::reply::{Helo, Pong, Reply};
use crate::logs::deliver::config::forward::Credentials;
use crate::logs::deliver::msgpack::Writer;

/// Bytes of a salt.
pub(super) type Salt = [u8; 16];

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send this and wait for the answer.
    Send(Vec<u8>),
    /// Records may be sent.
    Ready {
        /// Whether more than one message may be.
        keepalive: bool,
    },
}

/// Why a server and this client do not come together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    /// It says no.
    #[error("the server refuses this client: {0}")]
    Refused(String),
    /// It does not know the shared key.
    #[error(
        "the server {0} does not prove that it knows the shared key: it is another server, or its key differs"
    )]
    Unproven(String),
    /// Both call themselves alike, which servers take for a loop.
    #[error("the server calls itself {0} as this host does: give one of them another name")]
    SameName(String),
    /// It wants to know a user.
    #[error("the server demands a user: set user and password_file")]
    UserDemanded,
    /// It said something out of turn.
    #[error(
        "the server did not answer with {0}: check that its port speaks Forward with a shared key"
    )]
    OutOfTurn(&'static str),
}

/// A handshake that is under way.
#[derive(Debug)]
pub(super) struct Handshake {
    credentials: Credentials,
    host: Arc<str>,
    salt: Salt,
    /// What HELO said; absent: it has not come.
    helo: Option<Helo>,
}

impl Handshake {
    /// Waits for HELO. `host` is what this client calls itself.
    pub(super) fn new(credentials: Credentials, host: Arc<str>, salt: Salt) -> Self {
        Self { credentials, host, salt, helo: None }
    }

    /// Takes a reply.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub(super) fn reply(&mut self, reply: Reply) -> Result<Step, HandshakeError> {
        match (reply, self.helo.take()) {
            (Reply::Helo(helo), None) => {
                let ping = self.ping(&helo)?;
                self.helo = Some(helo);
                Ok(Step::Send(ping))
            }
            (Reply::Pong(pong), Some(helo)) => self.finish(&pong, &helo),
            (_, None) => Err(HandshakeError::OutOfTurn("HELO")),
            (_, Some(_)) => Err(HandshakeError::OutOfTurn("PONG")),
        }
    }

    /// `["PING", host, salt, key's digest, user, password's digest]`
    fn ping(&self, helo: &Helo) -> Result<Vec<u8>, HandshakeError> {
        let (user, password) = match (&self.credentials.user, helo.auth.is_empty()) {
            (_, true) => ("", String::new()),
            (Some((user, password)), false) => {
                let parts: [&[u8]; 3] = [&helo.auth, user.as_bytes(), password.expose().as_bytes()];
                (user.as_str(), digest(&parts))
            }
            (None, false) => return Err(HandshakeError::UserDemanded),
        };
        let key_digest = self.key_digest(&self.host, helo);
        let ping = Writer::default().list(6).text("PING").text(&self.host).binary(&self.salt);
        Ok(ping.text(&key_digest).text(user).text(&password).finish())
    }

    fn finish(&self, pong: &Pong, helo: &Helo) -> Result<Step, HandshakeError> {
        if !pong.is_accepted {
            return Err(HandshakeError::Refused(pong.reason.clone()));
        }
        if *pong.host == *self.host {
            return Err(HandshakeError::SameName(pong.host.clone()));
        }
        let expected = self.key_digest(&pong.host, helo);
        if !bool::from(expected.as_bytes().ct_eq(pong.digest.as_bytes())) {
            return Err(HandshakeError::Unproven(pong.host.clone()));
        }
        Ok(Step::Ready { keepalive: helo.keepalive })
    }

    fn key_digest(&self, host: &str, helo: &Helo) -> String {
        let key = self.credentials.shared_key.expose();
        digest(&[&self.salt, host.as_bytes(), &helo.nonce, key.as_bytes()])
    }
}

/// SHA-512 of all parts, in hexadecimal.
fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha512::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use service::secret::Secret;

    const SALT: Salt = [1; 16];

    fn handshake(user: Option<&str>) -> Handshake {
        let user = user.map(|user| (user.to_owned(), Secret::new("pa55".to_owned())));
        let credentials = Credentials { shared_key: Secret::new("key".to_owned()), user };
        Handshake::new(credentials, "agent".into(), SALT)
    }

    fn helo(auth: &[u8]) -> Reply {
        Reply::Helo(Helo { nonce: b"nonce".to_vec(), auth: auth.to_vec(), keepalive: true })
    }

    fn pong(host: &str, digest: String) -> Reply {
        let (is_accepted, reason) = (true, String::new());
        Reply::Pong(Pong { is_accepted, reason, host: host.to_owned(), digest })
    }

    fn proof(host: &str) -> String {
        digest(&[&SALT, host.as_bytes(), b"nonce", b"key"])
    }

    #[test]
    fn both_sides_prove_that_they_know_the_key_and_never_say_it() {
        let mut handshake = handshake(Some("user"));
        let ping = Writer::default().list(6).text("PING").text("agent").binary(&SALT);
        let ping = ping.text(&proof("agent")).text("user");
        let ping = ping.text(&digest(&[b"salt", b"user", b"pa55"])).finish();
        assert_eq!(handshake.reply(helo(b"salt")), Ok(Step::Send(ping)));
        let ready = handshake.reply(pong("server", proof("server")));
        assert_eq!(ready, Ok(Step::Ready { keepalive: true }));
    }

    #[test]
    fn a_server_that_does_not_know_the_key_gets_nothing() {
        for digest in [String::new(), proof("other"), proof("agent")] {
            let mut handshake = handshake(None);
            handshake.reply(helo(b"")).unwrap();
            let error = handshake.reply(pong("server", digest)).unwrap_err();
            assert_eq!(error, HandshakeError::Unproven("server".to_owned()));
        }
    }

    #[test]
    fn what_comes_out_of_turn_ends_the_handshake() {
        let ack = || Reply::Ack("x".to_owned());
        assert_eq!(handshake(None).reply(ack()), Err(HandshakeError::OutOfTurn("HELO")));
        let mut waiting = handshake(None);
        waiting.reply(helo(b"")).unwrap();
        assert_eq!(waiting.reply(ack()), Err(HandshakeError::OutOfTurn("PONG")));
        assert_eq!(handshake(None).reply(helo(b"salt")), Err(HandshakeError::UserDemanded));
        let mut same = handshake(None);
        same.reply(helo(b"")).unwrap();
        let error = same.reply(pong("agent", proof("agent"))).unwrap_err();
        assert_eq!(error, HandshakeError::SameName("agent".to_owned()));
    }

    #[test]
    fn a_refusal_gives_the_server_s_reason() {
        let mut handshake = handshake(None);
        handshake.reply(helo(b"")).unwrap();
        let refusal = Pong {
            is_accepted: false,
            reason: "shared key mismatch".to_owned(),
            host: "server".to_owned(),
            digest: String::new(),
        };
        let error = handshake.reply(Reply::Pong(refusal)).unwrap_err();
        assert_eq!(error.to_string(), "the server refuses this client: shared key mismatch");
    }
}
