//! Flags as Go's programs take them: one or two dashes, `-flag value` or `-flag=value`, and none after the first argument.
//!
//! In: words, the flags of a command. Out: [`Parsed`], or what is wrong. Pure.

use std::collections::BTreeMap;

/// A flag: its name, and whether a value follows.
pub(super) type Flag = (&'static str, Takes);

/// What follows a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, or `=true` and `=false`.
    Nothing,
    /// A value; of several, the last counts, or all.
    Value,
}

use Takes::{Nothing, Value};

/// The flags of every command that asks an agent.
pub(super) const COMMON: &[Flag] = &[
    ("address", Value),
    ("ca-cert", Value),
    ("ca-path", Value),
    ("client-cert", Value),
    ("client-key", Value),
    ("force-color", Nothing),
    ("namespace", Value),
    ("no-color", Nothing),
    ("region", Value),
    ("tls-server-name", Value),
    ("tls-skip-verify", Nothing),
    ("token", Value),
];

/// A command line in parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    flags: BTreeMap<String, Vec<String>>,
    /// What is left.
    pub(super) words: Vec<String>,
}

impl Parsed {
    /// Whether a flag of nothing is there, and not `=false`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.one(name).is_some_and(|own| own != "false")
    }

    /// The last value of a flag.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// All values of a flag.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.flags.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Takes a command line apart.
pub(super) fn parse(words: &[String], known: &[&[Flag]]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            break;
        }
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            parsed.words.push(word.clone());
            break;
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        let (name, given) =
            name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let flag = known.iter().flat_map(|all| all.iter()).find(|(own, _)| *own == name);
        let Some((_, takes)) = flag else {
            return Err(format!("flag provided but not defined: -{name}"));
        };
        let value = match (given, takes) {
            (Some(value), _) => value.to_owned(),
            (None, Nothing) => "true".to_owned(),
            (None, Value) => {
                rest.next().cloned().ok_or_else(|| format!("flag needs an argument: -{name}"))?
            }
        };
        parsed.flags.entry(name.to_owned()).or_default().push(value);
    }
    parsed.words.extend(rest.cloned());
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Flag] = &[("detach", Nothing), ("var", Value), ("check-index", Value)];

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_have_one_dash_or_two_and_end_at_the_first_argument() {
        let line = words("-detach --var a=1 -var=b=2 --check-index=7 job.hcl -detach");
        let parsed = parse(&line, &[KNOWN, COMMON]).unwrap();
        assert!(parsed.has("detach") && !parsed.has("no-color"));
        assert_eq!(parsed.all("var"), ["a=1", "b=2"]);
        assert_eq!(parsed.one("check-index"), Some("7"));
        assert_eq!(parsed.words, ["job.hcl", "-detach"]);
        assert!(!parse(&words("-detach=false -"), &[KNOWN]).unwrap().has("detach"));
        assert_eq!(parse(&words("-"), &[KNOWN]).unwrap().words, ["-"]);
    }

    #[test]
    fn what_is_no_flag_is_named() {
        assert_eq!(
            parse(&words("-dettach"), &[KNOWN]).unwrap_err(),
            "flag provided but not defined: -dettach"
        );
        assert_eq!(parse(&words("--var"), &[KNOWN]).unwrap_err(), "flag needs an argument: -var");
    }
}
