//! What fields of OTLP/JSON hold: ids, numbers, and the values of attributes.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue as OtlpAnyValue, ArrayValue, KeyValue as OtlpKeyValue, KeyValueList,
};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The value of a field; its default where it is `null`.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An id. What is no hex becomes one byte, which no id has: the span is then rejected as any other with a bad id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hex(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let byte = |pair: &[u8]| {
            let [high, low] = pair else { return None };
            let digit = |digit: u8| char::from(digit).to_digit(16);
            u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        Ok(Self(bytes.unwrap_or_else(|| vec![0])))
    }
}

/// A whole number, which may come as a number or as text, and as a number with a fraction of zero.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole<T>(pub(super) T);

impl<'de, T: TryFrom<i128>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor(PhantomData))
    }
}

struct WholeVisitor<T>(PhantomData<T>);

impl<T: TryFrom<i128>> WholeVisitor<T> {
    fn take<E: Error>(value: i128) -> Result<Whole<T>, E> {
        let out = || E::custom(format_args!("{value} is out of range"));
        T::try_from(value).map(Whole).map_err(|_| out())
    }
}

impl<T: TryFrom<i128>> Visitor<'_> for WholeVisitor<T> {
    type Value = Whole<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number, or one as text")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Whole<T>, E> {
        Self::take(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Whole<T>, E> {
        Self::take(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Whole<T>, E> {
        if value.fract() != 0.0 {
            return Err(E::custom(format_args!("{value} is no whole number")));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it saturates beyond every range asked for"
        )]
        Self::take(value as i128)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Whole<T>, E> {
        match value.parse() {
            Ok(value) => Self::take(value),
            Err(_) => Err(E::custom(format_args!("{value:?} is no whole number"))),
        }
    }
}

/// A number that need not be whole; text is for `NaN`, `Infinity` and `-Infinity`, which JSON has no numbers for.
#[derive(Debug)]
struct Double(f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<'a> {
            Number(f64),
            Text(#[serde(borrow)] Cow<'a, str>),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(number) => Ok(Self(number)),
            Form::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
        }
    }
}

/// Attributes.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Attributes(Vec<KeyValue>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeyValue {
    #[serde(deserialize_with = "or_default")]
    key: String,
    value: Option<AnyValue>,
}

/// One of these fields, or none: an empty value.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnyValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Whole<i64>>,
    double_value: Option<Double>,
    array_value: Option<Values<AnyValue>>,
    kvlist_value: Option<Values<KeyValue>>,
    bytes_value: Option<Bytes>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Values<T> {
    #[serde(default = "Vec::new", deserialize_with = "or_default")]
    values: Vec<T>,
}

/// Base64 of either alphabet, with padding or without.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let text = text.replace('-', "+").replace('_', "/");
        BASE64.decode(text).map(Self).map_err(D::Error::custom)
    }
}

impl From<Attributes> for Vec<OtlpKeyValue> {
    fn from(attributes: Attributes) -> Self {
        attributes.0.into_iter().map(Into::into).collect()
    }
}

impl From<KeyValue> for OtlpKeyValue {
    fn from(pair: KeyValue) -> Self {
        Self { key: pair.key, value: pair.value.map(Into::into), ..Self::default() }
    }
}

impl From<AnyValue> for OtlpAnyValue {
    fn from(any: AnyValue) -> Self {
        let value = any.string_value.map(OtlpValue::StringValue);
        let value = value.or_else(|| any.bool_value.map(OtlpValue::BoolValue));
        let value = value.or_else(|| any.int_value.map(|whole| OtlpValue::IntValue(whole.0)));
        let value = value.or_else(|| any.double_value.map(|it| OtlpValue::DoubleValue(it.0)));
        let value = value.or_else(|| {
            let values = any.array_value?.values.into_iter().map(Into::into).collect();
            Some(OtlpValue::ArrayValue(ArrayValue { values }))
        });
        let value = value.or_else(|| {
            let values = any.kvlist_value?.values.into_iter().map(Into::into).collect();
            Some(OtlpValue::KvlistValue(KeyValueList { values }))
        });
        let value = value.or_else(|| any.bytes_value.map(|bytes| OtlpValue::BytesValue(bytes.0)));
        Self { value }
    }
}
