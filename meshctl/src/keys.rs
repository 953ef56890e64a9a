//! `meshctl keys`: API keys made, listed, taken back.
//!
//! In: whom a key is for, or which key. Out: the key, once; records in Consul's KV (`store.rs`), tables (`table.rs`).
//! Called by [`crate::cli`].
//!
//! **Invariants**: a key's secret is printed when it is made and nowhere else; records are written with check-and-set
//! only; a record is never deleted, so that its owner is told "revoked" and not "unknown".

use clap::{ArgGroup, Args, Subcommand};
use contract::keys::{Key, KeyFolder, KeyRecord};
use contract::name::SystemName;
use serde::Serialize;

use crate::console::Console;
use crate::failure::Failure;
use crate::show::{OutputArgs, print};
use crate::store::ConsulArgs;

mod store;
mod table;
mod time;

use store::{Found, KeyStore, Listed};
use time::{Instant, Length};

const EXAMPLES: &str = "\
Examples:
  meshctl keys create trading --consumer acme --scope orders:read --expires 90d
  meshctl keys list trading
  meshctl keys revoke 4fKx09QmZb
  meshctl keys expire 4fKx09QmZb --in 14d

To change a key without a gap: create the new one, give it to its owner, and let the old one expire.";

/// Look after API keys: what the `keys` of an `api_key` in a System's document holds.
///
/// Consul keeps a salted hash of each. Gateways follow within a second.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    consul: ConsulArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and show it, this once.
    Create(CreateArgs),
    /// List keys: whose they are, what for, and whether they are good.
    List {
        /// A System, or a folder below mesh/keys/; without it all keys.
        r#in: Option<Place>,
    },
    /// Take a key back, for good.
    Revoke {
        /// The key's id, or the whole key.
        id: Id,
    },
    /// Say until when a key is good.
    Expire(ExpireArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The System whose key it is, or a folder below mesh/keys/.
    r#in: Place,
    /// Whom it is for: what services are told, and what limits count by.
    #[arg(long, value_name = "NAME", value_parser = consumer)]
    consumer: String,
    /// What it may be used for; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<String>,
    /// How long it is good, such as 90d; without it until it is revoked.
    #[arg(long, value_name = "TIME")]
    expires: Option<Length>,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(group(ArgGroup::new("end").required(true).args(["at", "in", "never"])))]
struct ExpireArgs {
    /// The key's id, or the whole key.
    id: Id,
    /// A day or moment in UTC, such as 2027-01-31 or 2027-01-31T12:00:00Z.
    #[arg(long, value_name = "MOMENT")]
    at: Option<Instant>,
    /// From now on, such as 14d; 0s is at once.
    #[arg(long, value_name = "TIME")]
    r#in: Option<Length>,
    /// Not at all.
    #[arg(long)]
    never: bool,
}

impl KeysArgs {
    /// Whether a program is to read the answer.
    pub fn is_json(&self) -> bool {
        self.output.is_json()
    }
}

/// A System, or a folder.
#[derive(Debug, Clone)]
struct Place(KeyFolder);

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return text.parse().map(Self).map_err(|error| format!("{error}"));
        }
        let system: SystemName = text.parse().map_err(|error| format!("{error}"))?;
        Ok(Self(KeyFolder::of_system(&system)))
    }
}

/// A key's id; out of a whole key its id is taken.
#[derive(Debug, Clone)]
struct Id(String);

impl std::str::FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(key) = text.parse::<Key>() {
            return Ok(Self(key.id().to_owned()));
        }
        let id = text.strip_prefix("ayk_").unwrap_or(text);
        let id = id.split('_').next().unwrap_or(id);
        let record = format!("mesh/keys/any/{id}");
        match KeyFolder::of_record(&record) {
            Some((_, id)) => Ok(Self(id.to_owned())),
            None => Err("a key's id has ten letters or digits: meshctl keys list".to_owned()),
        }
    }
}

fn consumer(text: &str) -> Result<String, String> {
    word(text, 128).ok_or_else(|| {
        "one word of at most 128 plain letters, digits and signs: it becomes a header".to_owned()
    })
}

fn scope(text: &str) -> Result<String, String> {
    word(text, 128).ok_or_else(|| "one word of plain letters, digits and signs".to_owned())
}

fn word(text: &str, longest: usize) -> Option<String> {
    let is_word = !text.is_empty() && text.len() <= longest;
    (is_word && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

/// A key as programs are told of it: without salt and hash.
#[derive(Debug, Serialize)]
struct KeyView<'a> {
    id: &'a str,
    folder: &'a KeyFolder,
    consumer: &'a str,
    scopes: &'a [String],
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    state: &'static str,
}

/// A key that was just made.
#[derive(Debug, Serialize)]
struct NewKey<'a> {
    key: String,
    #[serde(flatten)]
    view: KeyView<'a>,
}

/// Runs a command.
///
/// # Errors
/// When there is no such key, it is not what it was, or Consul does not answer.
pub async fn run(args: KeysArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let KeysArgs { command, consul, output } = args;
    let store = KeyStore::new(&consul)?;
    match command {
        Command::Create(args) => create(args, &store, output, console).await,
        Command::List { r#in } => {
            let Listed { found, broken } = store.list(r#in.map(|place| place.0).as_ref()).await?;
            for broken in broken {
                console.remark(&broken.to_string())?;
            }
            let now = console.unix_seconds();
            let width = console.width;
            let views: Vec<KeyView<'_>> = found.iter().map(|found| view(found, now)).collect();
            print(&views, output, console, || table::keys(&found, now, width))
        }
        Command::Revoke { id } => revoke(&id.0, &store, output, console).await,
        Command::Expire(args) => expire(args, &store, output, console).await,
    }
}

async fn create(
    args: CreateArgs,
    store: &KeyStore,
    output: OutputArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let no_randomness =
        |error| Failure::Refused(format!("the system gives no random bytes: {error}"));
    let key = Key::generate(getrandom::fill).map_err(no_randomness)?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(no_randomness)?;
    let now = console.unix_seconds();
    let record = KeyRecord {
        scopes: args.scopes,
        expires: args.expires.map(|length| length.after(now)),
        ..KeyRecord::new(&key, salt, args.consumer, now)
    };
    let found = Found { id: key.id().to_owned(), folder: args.r#in.0, record, version: 0 };
    store.write(&found).await?;
    console.remark(&format!(
        "This key is shown now and never again; {} keeps a hash of it.",
        found.folder
    ))?;
    let new = NewKey { key: key.reveal(), view: view(&found, now) };
    print(&new, output, console, || key.reveal())
}

async fn revoke(
    id: &str,
    store: &KeyStore,
    output: OutputArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut found = store.find(id).await?;
    let now = console.unix_seconds();
    let said = match found.record.revoked {
        Some(revoked) => {
            format!("{id} of {} is revoked since {}", found.record.consumer, time::text(revoked))
        }
        None => {
            found.record.revoked = Some(now);
            store.write(&found).await?;
            let Found { folder, record, .. } = &found;
            let consumer = &record.consumer;
            format!("revoked {id} of {consumer} in {folder}: gateways refuse it within a second")
        }
    };
    print(&view(&found, now), output, console, || said)
}

async fn expire(
    args: ExpireArgs,
    store: &KeyStore,
    output: OutputArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let id = &args.id.0;
    let mut found = store.find(id).await?;
    if found.record.revoked.is_some() {
        return Err(Failure::Refused(format!(
            "{id} is revoked, which has no end: create a new key with meshctl keys create"
        )));
    }
    let now = console.unix_seconds();
    let end = args.at.map(|at| at.0).or_else(|| args.r#in.map(|length| length.after(now)));
    found.record.expires = end;
    store.write(&found).await?;
    let owner = &found.record.consumer;
    let said = match end {
        None => format!("{id} of {owner} does not expire"),
        Some(end) if end <= now => format!("{id} of {owner} is expired"),
        Some(end) => format!("{id} of {owner} is good until {}", time::text(end)),
    };
    print(&view(&found, now), output, console, || said)
}

fn view(found: &Found, now: u64) -> KeyView<'_> {
    let record = &found.record;
    KeyView {
        id: &found.id,
        folder: &found.folder,
        consumer: &record.consumer,
        scopes: &record.scopes,
        created: time::text(record.created),
        expires: record.expires.map(time::text),
        revoked: record.revoked.map(time::text),
        state: table::state(record, now),
    }
}
