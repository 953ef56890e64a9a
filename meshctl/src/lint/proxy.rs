//! What a task's command line says of the Envoy that it runs.
//!
//! In: words. Out: [`Proxy`], and command lines with likely values in place of what only Nomad knows. Pure.

use super::job::Group;

/// An Envoy of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Whether `meshctl run-envoy` runs it, which drains it before it ends.
    pub is_drained: bool,
    /// `--role`, where the command line says it.
    pub role: Option<String>,
}

/// Subcommands of `meshctl`: a task that runs one of them is no Envoy, whatever its image is called.
const WRAPPER: &str = "run-envoy";
const WAITER: &str = "wait-envoy";

impl Proxy {
    /// The Envoy of a task with this command line and image.
    pub fn of(words: &[Option<String>], image: Option<&str>) -> Option<Self> {
        let known: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
        if known.contains(&WRAPPER) {
            return Some(Self { is_drained: true, role: flag(&known, "--role") });
        }
        let program = |word: &str| word.rsplit('/').next() == Some("envoy");
        let is_image_alone = words.is_empty() && image.is_some_and(is_envoy_image);
        let is_envoy = known.first().is_some_and(|word| program(word)) || is_image_alone;
        is_envoy.then_some(Self { is_drained: false, role: None })
    }

    /// Whether it stands before an application of its own group.
    pub fn is_beside(&self) -> bool {
        self.role.as_deref().is_none_or(|role| role == "sidecar")
    }
}

/// Whether a task waits for an Envoy.
pub fn is_waiter(words: &[Option<String>]) -> bool {
    words.iter().flatten().any(|word| word == WAITER)
}

fn is_envoy_image(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split([':', '@']).next().unwrap_or_default().contains("envoy")
}

/// The value of a flag, as `--flag value` or `--flag=value`.
pub fn flag(words: &[&str], name: &str) -> Option<String> {
    words.iter().enumerate().find_map(|(at, word)| {
        let (before, value) = word.split_once('=').unwrap_or((*word, ""));
        match (before == name, *word == name) {
            (true, true) => words.get(at + 1).map(|next| (*next).to_owned()),
            (true, false) => Some(value.to_owned()),
            (false, _) => None,
        }
    })
}

/// The arguments of `meshctl` in a task's command line, with likely values for what Nomad fills in.
///
/// `None`: it is not `meshctl`, or a word is not known.
pub fn meshctl(words: &[Option<String>], group: &Group) -> Option<Vec<String>> {
    let words: Option<Vec<&str>> = words.iter().map(Option::as_deref).collect();
    let words = words?;
    let at = words.iter().position(|word| word.rsplit('/').next() == Some("meshctl"))?;
    let args = words.iter().skip(at + 1).map(|word| likely(word, group));
    Some(std::iter::once("meshctl".to_owned()).chain(args).collect())
}

/// A text with a likely value in place of each `${NOMAD_…}`.
pub fn likely(text: &str, group: &Group) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, next) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(&value(name, group));
        rest = next;
    }
    out + rest
}

/// A value that Nomad could fill in: what a port maps to, or a port of the range that Nomad takes from.
fn value(name: &str, group: &Group) -> String {
    let ports = group.network.iter().flat_map(|network| &network.ports);
    let dynamic = |label: &str| {
        let at = ports.clone().position(|port| port.label == label).unwrap_or(0);
        (25_000 + at).to_string()
    };
    let port = |label: &str| group.port(label);
    if let Some(label) = name.strip_prefix("NOMAD_HOST_PORT_") {
        let fixed = port(label).and_then(|port| port.fixed.known());
        return fixed.map_or_else(|| dynamic(label), ToString::to_string);
    }
    let inside = name.strip_prefix("NOMAD_PORT_").or(name.strip_prefix("NOMAD_ALLOC_PORT_"));
    if let Some(label) = inside {
        let own = port(label).and_then(|port| port.to.known().or(port.fixed.known()));
        return own.map_or_else(|| dynamic(label), ToString::to_string);
    }
    if let Some(label) = name.strip_prefix("NOMAD_ADDR_") {
        return format!("10.0.0.1:{}", dynamic(label));
    }
    match name {
        "NOMAD_ALLOC_ID" => "0f3c2a1e-5d6b-4c7a-8e9f-0a1b2c3d4e5f".to_owned(),
        "NOMAD_TASK_DIR" => "/local".to_owned(),
        "NOMAD_ALLOC_DIR" => "/alloc".to_owned(),
        "NOMAD_SECRETS_DIR" => "/secrets".to_owned(),
        "NOMAD_CPU_LIMIT" | "NOMAD_MEMORY_LIMIT" | "NOMAD_ALLOC_INDEX" => "1".to_owned(),
        _ if name.contains("_IP_") => "10.0.0.1".to_owned(),
        _ => "name".to_owned(),
    }
}
