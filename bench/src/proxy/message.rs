//! What a simulated Envoy reads and writes, in the bytes of either variant.
//!
//! Sources: `envoy/service/discovery/v3/discovery.proto`.

use std::sync::Arc;

use super::{Kind, Mode, Proxy};
use crate::wire::{self, Fields, Malformed, put, put_entry};

/// A response of either variant.
pub(super) struct Response<'a> {
    pub(super) kind: Kind,
    pub(super) nonce: &'a str,
    pub(super) version: &'a str,
    /// Name, version, bytes.
    pub(super) resources: Vec<(&'a str, &'a str, &'a [u8])>,
    pub(super) removed: Vec<&'a str>,
}

impl<'a> Response<'a> {
    /// `None`: of a type that was not asked for.
    pub(super) fn read(mode: Mode, message: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let (mut url, mut nonce, mut version) = ("", "", "");
        let (mut resources, mut removed) = (Vec::new(), Vec::new());
        for field in Fields(message) {
            let (number, value) = field?;
            match (number, mode) {
                (1, Mode::Sotw) => version = value.text(),
                (2, Mode::Delta) => resources.push(delta_resource(value.bytes())?),
                (2, Mode::Sotw) => {
                    let body = wire::field(value.bytes(), 2)?.bytes();
                    resources.push((wire::field(body, 1)?.text(), "", body));
                }
                (4, _) => url = value.text(),
                (5, _) => nonce = value.text(),
                (6, Mode::Delta) => removed.push(value.text()),
                _ => {}
            }
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.url() == url);
        Ok(kind.map(|kind| Self { kind, nonce, version, resources, removed }))
    }
}

/// `envoy.service.discovery.v3.Resource`.
fn delta_resource(message: &[u8]) -> Result<(&str, &str, &[u8]), Malformed> {
    let (mut name, mut version, mut body): (_, _, &[u8]) = ("", "", &[]);
    for field in Fields(message) {
        match field? {
            (1, value) => version = value.text(),
            (2, value) => body = wire::field(value.bytes(), 2)?.bytes(),
            (3, value) => name = value.text(),
            _ => {}
        }
    }
    Ok((name, version, body))
}

impl Proxy {
    pub(super) fn first_request(&mut self, kind: Kind) -> Vec<u8> {
        let mode = self.mode;
        let state = self.state(kind);
        state.is_asked = true;
        match mode {
            Mode::Delta => {
                let names: Vec<String> = state.asked.iter().cloned().collect();
                self.delta_request(kind, &names, &[], true, "")
            }
            Mode::Sotw => {
                // A nonce speaks of one stream; the version outlives it.
                state.nonce.clear();
                self.sotw_request(kind)
            }
        }
    }

    pub(super) fn ack(&mut self, kind: Kind, nonce: &str) -> Vec<u8> {
        match self.mode {
            Mode::Delta => self.delta_request(kind, &[], &[], false, nonce),
            Mode::Sotw => self.sotw_request(kind),
        }
    }

    pub(super) fn delta_request(
        &mut self,
        kind: Kind,
        subscribe: &[String],
        unsubscribe: &[String],
        is_first: bool,
        nonce: &str,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(node) = self.node_once() {
            put(&mut out, 1, &node);
        }
        put(&mut out, 2, kind.url().as_bytes());
        for name in subscribe {
            put(&mut out, 3, name.as_bytes());
        }
        for name in unsubscribe {
            put(&mut out, 4, name.as_bytes());
        }
        if is_first {
            for (name, version) in &self.state(kind).held {
                put_entry(&mut out, 5, name, version);
            }
        }
        if !nonce.is_empty() {
            put(&mut out, 6, nonce.as_bytes());
        }
        out
    }

    pub(super) fn sotw_request(&mut self, kind: Kind) -> Vec<u8> {
        let mut out = Vec::new();
        let node = self.node_once();
        let state = self.state(kind);
        if !state.version.is_empty() {
            put(&mut out, 1, state.version.as_bytes());
        }
        if let Some(node) = node {
            put(&mut out, 2, &node);
        }
        for name in &state.asked {
            put(&mut out, 3, name.as_bytes());
        }
        put(&mut out, 4, kind.url().as_bytes());
        if !state.nonce.is_empty() {
            put(&mut out, 5, state.nonce.as_bytes());
        }
        out
    }

    /// The node belongs into the first request of a stream alone.
    fn node_once(&mut self) -> Option<Arc<[u8]>> {
        (!std::mem::replace(&mut self.has_sent_node, true)).then(|| self.node.clone())
    }
}
