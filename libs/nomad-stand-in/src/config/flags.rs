//! The flags of `nomad agent`, Nomad's and the stand-in's own.
//!
//! In: arguments. Out: [`Flags`], or what is wrong. One or two dashes, `-flag value`, `-flag=value`, `-flag` for truths.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::StandIn;

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// Files and directories, in their order.
    pub(crate) files: Vec<PathBuf>,
    /// Server and client in one, in memory, on the loopback.
    pub(crate) is_dev: bool,
    /// What else is said, in the form of a file: it goes before every file.
    pub(super) over: Value,
    pub(super) stand_in: StandIn,
}

/// Flags with a value, and the key that they stand for.
const VALUES: &[(&str, &str)] = &[
    ("bind", "bind_addr"),
    ("bootstrap-expect", "server.bootstrap_expect"),
    ("consul-address", "consul.address"),
    ("consul-token", "consul.token"),
    ("data-dir", "data_dir"),
    ("dc", "datacenter"),
    ("encrypt", "server.encrypt"),
    ("log-level", "log_level"),
    ("network-interface", "client.network_interface"),
    ("node", "name"),
    ("node-class", "client.node_class"),
    ("region", "region"),
];

/// Flags that are true or false, and their key.
const TRUTHS: &[(&str, &str)] = &[
    ("acl-enabled", "acl.enabled"),
    ("client", "client.enabled"),
    ("log-json", "log_json"),
    ("server", "server.enabled"),
];

impl Flags {
    /// Reads them.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut flags = Self { over: json!({}), ..Self::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix('-') else {
                return Err(format!("{arg:?} is no flag: the agent takes flags only"));
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            let (name, given) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            if name == "dev" {
                flags.is_dev = given.is_none_or(|own| own == "true");
            } else if let Some((_, key)) = TRUTHS.iter().find(|(own, _)| *own == name) {
                flags.set(key, Value::Bool(given.is_none_or(|own| own == "true")));
            } else {
                let value = given.or_else(|| args.next().cloned());
                let value = value.ok_or_else(|| format!("flag needs an argument: -{name}"))?;
                flags.valued(name, &value)?;
            }
        }
        Ok(flags)
    }

    fn valued(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some(own) = name.strip_prefix("stand-in-") {
            return self.stand_in.set(own, value);
        }
        match name {
            "config" => self.files.push(PathBuf::from(value)),
            "meta" => {
                let (key, value) = value.split_once('=').unwrap_or((value, ""));
                let meta = json!({"client": {"meta": {key: value}}});
                super::merge(&mut self.over, meta);
            }
            _ => {
                let known = VALUES.iter().find(|(own, _)| *own == name);
                let (_, key) =
                    known.ok_or_else(|| format!("flag provided but not defined: -{name}"))?;
                self.set(key, Value::String(value.to_owned()));
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: Value) {
        let nested = key.rsplit('.').fold(value, |inner, part| json!({part: inner}));
        super::merge(&mut self.over, nested);
    }
}

impl StandIn {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "images" => self.images = Some(PathBuf::from(value)),
            "nodes" => {
                let count = value.parse().ok().filter(|count| (1..=64).contains(count));
                self.nodes = count.ok_or_else(|| format!("-stand-in-nodes={value}: 1 to 64"))?;
            }
            "lifeline" => {
                let process = value
                    .parse()
                    .map_err(|_| format!("-stand-in-lifeline={value}: no process id"))?;
                self.lifeline = Some(process);
            }
            "token" => {
                let (secret, policy) = value.split_once(':').unwrap_or((value, "management"));
                self.tokens.insert(secret.to_owned(), policy.parse()?);
            }
            _ => return Err(format!("flag provided but not defined: -stand-in-{name}")),
        }
        Ok(())
    }
}
