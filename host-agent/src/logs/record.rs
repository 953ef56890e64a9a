//! Stage 2's product: one log record as it will be sent, whatever it was made of.
//!
//! Made by `shape/`; `route/` reads its origins, `batch/` encodes it, the file and stdout outputs write it as JSON.
//!
//! All text lies in one buffer and all values in one list, in the order in which they are sent: a map or list says how many
//! values it holds and they follow it, as in MessagePack. The shaper fills the same record again for the next entry, so an
//! ordinary entry costs no allocation; who wants to keep a record clones it.
//!
//! **Invariants**: all text is valid UTF-8, because one invalid byte makes some receivers refuse a chunk for ever; no name
//! comes twice among the fields; what is not known is absent, never guessed.

mod build;
mod json;
mod level;
mod number;
mod time;

pub use level::Level;
pub use time::Rfc3339;

use crate::logs::entry::{RecordId, SourceId};

/// Who wrote a record, part by part. Routing and conditions read these, whatever fields are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Origin {
    /// The System, from the registration of the allocation.
    System,
    /// The service (Consul's name), from the same.
    Service,
    /// `stable` or `canary`, from the same.
    Track,
    /// The allocation's id.
    Instance,
    /// Nomad's namespace.
    Namespace,
    /// Nomad's job.
    Job,
    /// Nomad's task group.
    Group,
    /// Nomad's task.
    Task,
    /// The container's name.
    Container,
    /// The container's image.
    Image,
    /// Consul's name of the host, else what the host calls itself.
    Host,
    /// The systemd unit, unless it is only the one that Docker runs in.
    Unit,
    /// What a program calls itself (`SYSLOG_IDENTIFIER`); of a container: its tag.
    Identifier,
    /// `stdout` or `stderr`, of containers and allocation files.
    Stream,
}

impl Origin {
    /// All of them, in the order in which they are sent.
    pub const ALL: [Self; 14] = [
        Self::System,
        Self::Service,
        Self::Track,
        Self::Instance,
        Self::Namespace,
        Self::Job,
        Self::Group,
        Self::Task,
        Self::Container,
        Self::Image,
        Self::Host,
        Self::Unit,
        Self::Identifier,
        Self::Stream,
    ];

    /// The name in rules, in tag templates and of the field.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Service => "service",
            Self::Track => "track",
            Self::Instance => "instance",
            Self::Namespace => "namespace",
            Self::Job => "job",
            Self::Group => "group",
            Self::Task => "task",
            Self::Container => "container",
            Self::Image => "image",
            Self::Host => "host",
            Self::Unit => "unit",
            Self::Identifier => "identifier",
            Self::Stream => "stream",
        }
    }

    /// The origin of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.name() == name)
    }
}

/// One record.
#[derive(Debug, Clone)]
pub struct Record {
    /// The name of its first entry.
    pub id: RecordId,
    /// Where it came from.
    pub source: SourceId,
    /// When it was written, nanoseconds since the epoch.
    pub time_ns: u64,
    /// How grave it is, if that is known.
    pub level: Option<Level>,
    /// How many entries it was made of.
    pub entries: u32,
    text: String,
    nodes: Vec<Node>,
    origins: [Option<Span>; Origin::ALL.len()],
    message: Option<Span>,
}

/// A part of a record's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    begin: u32,
    end: u32,
}

/// A value in a record's list of values. Names, of fields and in maps, stand before their values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    Name(Span),
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(Span),
    /// Text that the agent itself says, such as the record's id: no rule rewrites it.
    Own(Span),
    /// `count` values follow, `nodes` nodes long.
    List {
        count: u32,
        nodes: u32,
    },
    /// `count` names with their values follow, `nodes` nodes long.
    Map {
        count: u32,
        nodes: u32,
    },
}

/// A field's value.
#[derive(Debug, Clone, Copy)]
pub enum Value<'r> {
    /// JSON's `null`.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Integer(i64),
    /// A number beyond `i64`.
    Unsigned(u64),
    /// A number that this double stands for exactly; others are text.
    Float(f64),
    /// Text.
    Text(&'r str),
    /// Several values: a field that came several times, or JSON's array.
    List(List<'r>),
    /// JSON's object.
    Map(Map<'r>),
}

/// The values of a list.
#[derive(Debug, Clone, Copy)]
pub struct List<'r> {
    count: u32,
    nodes: &'r [Node],
    text: &'r str,
}

/// The names and values of a map.
#[derive(Debug, Clone, Copy)]
pub struct Map<'r> {
    count: u32,
    nodes: &'r [Node],
    text: &'r str,
}

impl<'r> List<'r> {
    /// How many values there are.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'r>> + use<'r> {
        let (mut nodes, text) = (self.nodes, self.text);
        std::iter::from_fn(move || take(&mut nodes, text))
    }
}

impl<'r> Map<'r> {
    /// How many names there are.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'r str, Value<'r>)> + use<'r> {
        pairs(self.nodes, self.text)
    }
}

impl Record {
    /// How many fields there are.
    pub fn len(&self) -> u32 {
        let mut count = 0;
        self.fields().for_each(|_| count += 1);
        count
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The fields in the order in which they are sent.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        pairs(&self.nodes, &self.text)
    }

    /// One field.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        self.fields().find_map(|(own, value)| (own == name).then_some(value))
    }

    /// One part of who wrote it.
    pub fn origin(&self, origin: Origin) -> Option<&str> {
        let span = (*self.origins.get(origin as usize)?)?;
        Some(slice(&self.text, span))
    }

    /// What losses and drops are counted by: the container, the unit, Nomad's task, or what the program calls itself.
    pub fn writer(&self) -> Option<&str> {
        [Origin::Container, Origin::Unit, Origin::Task, Origin::Identifier]
            .into_iter()
            .find_map(|origin| self.origin(origin))
    }

    /// The message, under whatever name it is sent; `None` when a rule took it out.
    pub fn message(&self) -> Option<&str> {
        self.message.map(|span| slice(&self.text, span))
    }

    /// Bytes of all names and values, and of what rules replaced: a measure of size for buffers.
    pub fn size(&self) -> usize {
        self.text.len()
    }
}

fn pairs<'r>(
    mut nodes: &'r [Node],
    text: &'r str,
) -> impl Iterator<Item = (&'r str, Value<'r>)> + use<'r> {
    std::iter::from_fn(move || {
        let (Node::Name(name), rest) = nodes.split_first()? else { return None };
        nodes = rest;
        Some((slice(text, *name), take(&mut nodes, text)?))
    })
}

/// Takes the next value off the front.
fn take<'r>(nodes: &mut &'r [Node], text: &'r str) -> Option<Value<'r>> {
    let (first, rest) = nodes.split_first()?;
    let inner = match *first {
        Node::List { nodes, .. } | Node::Map { nodes, .. } => nodes as usize,
        _ => 0,
    };
    let (inner, rest) = rest.split_at_checked(inner)?;
    *nodes = rest;
    Some(match *first {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(value),
        Node::Integer(value) => Value::Integer(value),
        Node::Unsigned(value) => Value::Unsigned(value),
        Node::Float(value) => Value::Float(value),
        Node::Text(span) | Node::Own(span) | Node::Name(span) => Value::Text(slice(text, span)),
        Node::List { count, .. } => Value::List(List { count, nodes: inner, text }),
        Node::Map { count, .. } => Value::Map(Map { count, nodes: inner, text }),
    })
}

fn slice(text: &str, span: Span) -> &str {
    text.get(span.begin as usize..span.end as usize).unwrap_or_default()
}
