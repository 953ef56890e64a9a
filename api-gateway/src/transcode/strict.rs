//! A reader between `serde_json` and `prost-reflect` that refuses what both would take.
//!
//! In: any `serde` reader. Out: the same values. It refuses a name that an object has twice and nesting beyond a limit,
//! remembers where in the document reading failed, and sets right what `prost-reflect` makes of some numbers: it takes
//! integers just out of range for the largest, `"nan"` for NaN, and does not take `"1e2"` for an integer.
//!
//! **Invariants**: nothing is copied but names that JSON escapes; a document without errors costs no path.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Expected, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Names of an object that are compared one by one; an object with more gets a set.
const FEW: usize = 16;

/// 2⁵³: below, integers written as floating point are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// 2⁶³ and 2⁶⁴: the first floating point numbers that are no integers of 64 bits.
const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;
const BEYOND_U64: f64 = 18_446_744_073_709_551_616.0;

/// What was seen of one document.
#[derive(Debug)]
pub(super) struct Seen {
    depth: Cell<usize>,
    max_depth: usize,
    /// Steps to the place of the error, the innermost first.
    steps: RefCell<Vec<Step>>,
}

#[derive(Debug)]
enum Step {
    Name(String),
    Index(usize),
}

impl Seen {
    pub(super) fn new(max_depth: usize) -> Self {
        Self { depth: Cell::new(0), max_depth, steps: RefCell::default() }
    }

    /// Where reading failed, such as `orders[2].price`.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps.borrow().iter().rev() {
            match step {
                Step::Name(name) if path.is_empty() => path.push_str(name),
                Step::Name(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Index(at) => path.push_str(&format!("[{at}]")),
            }
        }
        path
    }

    fn deeper<T, E: Error>(&self, inside: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let depth = self.depth.get() + 1;
        if depth > self.max_depth {
            let most = self.max_depth;
            return Err(E::custom(format!("nested deeper than {most} levels; send it flatter")));
        }
        self.depth.set(depth);
        let value = inside();
        self.depth.set(depth - 1);
        value
    }

    fn step<T, E>(&self, result: Result<T, E>, step: impl FnOnce() -> Step) -> Result<T, E> {
        if result.is_err() {
            self.steps.borrow_mut().push(step());
        }
        result
    }
}

/// Wraps a reader, a seed or a visitor.
pub(super) struct Strict<'a, T> {
    inner: T,
    seen: &'a Seen,
}

impl<'a, T> Strict<'a, T> {
    pub(super) fn new(inner: T, seen: &'a Seen) -> Self {
        Self { inner, seen }
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Strict::new(visitor, self.seen))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_str(Strict::new(visitor, self.seen))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_string(Strict::new(visitor, self.seen))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(Strict::new(visitor, self.seen))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_seq(Strict::new(visitor, self.seen))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Strict::new(visitor, self.seen))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.inner.visit_bool(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.inner.visit_i64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.inner.visit_u64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        if value.abs() >= BEYOND_I64 && expects(&self.inner, "integer") {
            let is_in_range = value < BEYOND_U64 && expects(&self.inner, "unsigned");
            if !is_in_range {
                return Err(E::custom(format!("{value} is out of range")));
            }
        }
        self.inner.visit_f64(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        match number_in(value, &self.inner)? {
            Some(number) => self.visit_f64(number),
            None => self.inner.visit_str(value),
        }
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<V::Value, E> {
        match number_in(value, &self.inner)? {
            Some(number) => self.visit_f64(number),
            None => self.inner.visit_borrowed_str(value),
        }
    }

    fn visit_string<E: Error>(self, value: String) -> Result<V::Value, E> {
        match number_in(&value, &self.inner)? {
            Some(number) => self.visit_f64(number),
            None => self.inner.visit_string(value),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Strict::new(reader, self.seen))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        let Self { inner, seen } = self;
        seen.deeper(|| inner.visit_seq(List { inner: list, next: 0, seen }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let Self { inner, seen } = self;
        seen.deeper(|| inner.visit_map(Map { inner: map, names: Names::default(), seen }))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Strict::new(reader, self.seen))
    }
}

/// The visitor says so of itself: visitors of `prost-reflect` are told apart by nothing else.
fn expects<'de, V: Visitor<'de>>(visitor: &V, what: &str) -> bool {
    let expected: &dyn Expected = visitor;
    expected.to_string().contains(what)
}

/// The integer that a text writes with a fraction or an exponent, if an integer is expected.
fn number_in<'de, V: Visitor<'de>, E: Error>(text: &str, visitor: &V) -> Result<Option<f64>, E> {
    if text == "nan" && expects(visitor, "floating point") {
        return Err(E::custom("\"nan\" is no number; write \"NaN\""));
    }
    let looks_so = (text == "-0" || text.contains(['.', 'e', 'E']))
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !looks_so || !expects(visitor, "integer") || expects(visitor, "string or integer") {
        return Ok(None);
    }
    Ok(text.parse().ok().filter(|number: &f64| number.abs() < EXACT))
}

struct List<'a, A> {
    inner: A,
    next: usize,
    seen: &'a Seen,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for List<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let at = self.next;
        self.next += 1;
        let element = self.inner.next_element_seed(Strict::new(seed, self.seen));
        self.seen.step(element, || Step::Index(at))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

struct Map<'a, 'de, A> {
    inner: A,
    names: Names<'de>,
    seen: &'a Seen,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Map<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(KeySeed { inner: seed, names: &mut self.names })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let value = self.inner.next_value_seed(Strict::new(seed, self.seen));
        let last = &self.names.last;
        self.seen.step(value, || Step::Name(last.as_deref().unwrap_or_default().to_owned()))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The names that an object had so far.
#[derive(Default)]
struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: BTreeSet<Cow<'de, str>>,
    last: Option<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    fn add<E: Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        let is_new = if self.few.len() < FEW {
            let is_new = !self.few.contains(&name);
            self.few.push(name.clone());
            is_new
        } else {
            !self.few.contains(&name) && self.many.insert(name.clone())
        };
        if !is_new {
            return Err(E::custom(format!("the name \"{name}\" is there twice; remove one")));
        }
        self.last = Some(name);
        Ok(())
    }
}

struct KeySeed<'n, 'de, S> {
    inner: S,
    names: &'n mut Names<'de>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for KeySeed<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(KeySeed { inner: reader, names: self.names })
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for KeySeed<'_, 'de, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        // Names are strings whatever a visitor asks for: only so are they seen here.
        self.inner.deserialize_str(KeySeed { inner: visitor, names: self.names })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for KeySeed<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<V::Value, E> {
        self.names.add(Cow::Owned(name.to_owned()))?;
        self.inner.visit_str(name)
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<V::Value, E> {
        self.names.add(Cow::Borrowed(name))?;
        self.inner.visit_borrowed_str(name)
    }
}
