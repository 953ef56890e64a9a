//! Where we read or write otherwise than Google's runtime for Python; `docs/gateway.md` tells users.

/// Fields, values that are read differently, and why.
type Read = (&'static str, &'static [&'static str], &'static [&'static str]);

const FLOATS: &[&str] = &["doubleValue", "floatValue", "wrappedDouble", "wrappedFloat"];
const INTEGERS: &[&str] = &[
    "int32Value",
    "int64Value",
    "uint32Value",
    "uint64Value",
    "sint32Value",
    "sint64Value",
    "fixed32Value",
    "fixed64Value",
    "sfixed32Value",
    "sfixed64Value",
    "maybeNumber",
    "wrappedInt64",
    "wrappedUint64",
    "wrappedInt32",
    "wrappedUint32",
];

const READ: &[Read] = &[
    (
        "a number is no boolean, and its text has no spaces or underscores",
        FLOATS,
        &["true", "false", "\" 1\"", "\"1 \"", "\"1_0\""],
    ),
    ("a number's text has no underscores", INTEGERS, &["\"1_0\""]),
    (
        "bytes are base64 in one alphabet, without other characters",
        &["data", "wrappedBytes"],
        &[
            "\"-_+/\"",
            "\"AB==C\"",
            "\"1970-01-01T00:00:00Z\"",
            "\"a,b.c\"",
            "\"\\u00e9\\ud83d\\ude00\"",
            "\"\\u0000\"",
        ],
    ),
    (
        "an enum's value is its name or an integer of 32 bits",
        &["color"],
        &[
            "true",
            "false",
            "\" 1\"",
            "\"1 \"",
            "-0",
            "0.0",
            "-0.0",
            "1.0",
            "1.5",
            "1e2",
            "1e-2",
            "1E+2",
            "\"0\"",
            "\"-0\"",
            "\"1\"",
            "\"+1\"",
            "\"-1\"",
            "\"01\"",
            "\"1_0\"",
            "4294967295",
            "4294967296",
            "\"4294967296\"",
            "2147483647.0",
            "9007199254740993",
            "9223372036854775807",
            "-9223372036854775808",
            "\"9223372036854775807\"",
            "\"-9223372036854775808\"",
            "1e-50",
            "5e-324",
            "\"2\"",
        ],
    ),
    (
        "a null value is null or its name",
        &["choiceNull", "null"],
        &[
            "true",
            "false",
            "\" 1\"",
            "\"1 \"",
            "0",
            "-0",
            "0.0",
            "-0.0",
            "1",
            "-1",
            "1.0",
            "1.5",
            "1e2",
            "1e-2",
            "1E+2",
            "\"0\"",
            "\"-0\"",
            "\"1\"",
            "\"+1\"",
            "\"-1\"",
            "\"01\"",
            "\"1_0\"",
            "2147483647",
            "-2147483648",
            "4294967296",
            "\"4294967296\"",
            "2147483647.0",
            "-9223372036854775808",
            "\"-9223372036854775808\"",
            "1e-50",
            "5e-324",
            "\"2\"",
            "99",
            "-99",
        ],
    ),
    ("null is a value of this oneof", &["choiceNull"], &["null,\"choiceText\":\"a\""]),
    ("a message is an object", &["inner", "empty"], &["[]", "\"\""]),
    (
        "an Any has a type with a slash, and nothing beside a well-known value",
        &["any"],
        &[
            "{}",
            "{\"@type\":\"echo.v1.Inner\"}",
            "{\"@type\":\"type.googleapis.com/google.protobuf.Duration\",\"value\":\"1s\",\"more\":1}",
        ],
    ),
    (
        "an Empty within an Any has a value, as other well-known types",
        &["any"],
        &["{\"@type\":\"type.googleapis.com/google.protobuf.Empty\",\"value\":{}}"],
    ),
    ("the sign of an integer zero is kept", &["value"], &["-0"]),
    ("the sign of a wrapped zero is lost", &["wrappedDouble", "wrappedFloat"], &["-0.0", "\"-0\""]),
    ("an integer key has no fraction", &["byInt32"], &["{\"1.0\":\"a\"}"]),
    (
        "a tenth digit of a second is cut off, a leap second is the second before",
        &["timestamp"],
        &["\"1970-01-01T00:00:00.1234567891Z\"", "\"1972-06-30T23:59:60Z\""],
    ),
    (
        "an offset is less than a day, a fraction has digits",
        &["timestamp"],
        &["\"1970-01-01T00:00:00+24:00\"", "\"1970-01-01T00:00:00.Z\""],
    ),
    (
        "a duration is digits with at most a sign before and a fraction after",
        &["duration"],
        &["\"1.s\"", "\"+1s\"", "\" 1s\"", "\"1 s\""],
    ),
    ("an empty path of a mask is left out", &["mask"], &["\"a,,b\""]),
];

/// Texts that are read differently, and why.
pub(super) fn read() -> Vec<(String, &'static str)> {
    let known = READ.iter().flat_map(|(why, fields, values)| {
        fields.iter().flat_map(move |field| {
            values.iter().map(move |value| (format!("{{\"{field}\":{value}}}"), *why))
        })
    });
    known.chain(DOCUMENTS.iter().map(|(text, why)| ((*text).to_owned(), *why))).collect()
}

/// Whole texts that are read differently, and why.
const DOCUMENTS: &[(&str, &str)] = &[("[]", "a message is an object")];

/// Messages that are written differently, and why.
pub(super) const WRITTEN: &[(&str, &str)] = &[
    (EMPTY_IN_ANY, "an Empty within an Any has a value, as other well-known types"),
    ("any: empty within", "an Empty within an Any has a value, as other well-known types"),
    ("any: unknown type", "an Any of a type that the schema lacks is kept as base64"),
];

const EMPTY_IN_ANY: &str =
    "{\"any\":{\"@type\":\"type.googleapis.com/google.protobuf.Empty\",\"value\":{}}}";
