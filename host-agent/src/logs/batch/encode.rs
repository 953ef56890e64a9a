//! One record as MessagePack, in the form that every destination stores: `[EventTime, {field …}]`.
//!
//! In: a [`Record`]. Out: bytes appended to a buffer. Called by the batch builder, once for each record.
//!
//! **Invariants**: text is UTF-8 by type; lengths fit their headers because shaping bounds them; the order of fields is the
//! record's. **Absent**: compression, which is the output's.

use rmp::encode::{self, ByteBuf};

use crate::logs::record::{Record, Value};

/// Forward's `EventTime`: extension type 0 with 8 bytes, seconds and nanoseconds.
const EVENT_TIME: [u8; 2] = [0xd7, 0x00];
/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Appends a record.
pub fn record(buffer: &mut ByteBuf, record: &Record) {
    let Ok(_) = encode::write_array_len(buffer, 2);
    event_time(buffer, record.time_ns);
    let Ok(_) = encode::write_map_len(buffer, record.len());
    for (name, value) in record.fields() {
        let Ok(()) = encode::write_str(buffer, name);
        self::value(buffer, value);
    }
}

/// Seconds beyond 2106 do not fit Forward's 32 bits: the last that does stands for them.
fn event_time(buffer: &mut ByteBuf, time_ns: u64) {
    let seconds = u32::try_from(time_ns / SECOND).unwrap_or(u32::MAX);
    let nanoseconds = u32::try_from(time_ns % SECOND).unwrap_or_default();
    let bytes = buffer.as_mut_vec();
    bytes.extend_from_slice(&EVENT_TIME);
    bytes.extend_from_slice(&seconds.to_be_bytes());
    bytes.extend_from_slice(&nanoseconds.to_be_bytes());
}

fn value(buffer: &mut ByteBuf, value: Value<'_>) {
    match value {
        Value::Null => {
            let Ok(()) = encode::write_nil(buffer);
        }
        Value::Bool(flag) => {
            let Ok(()) = encode::write_bool(buffer, flag);
        }
        Value::Integer(number) => {
            let Ok(_) = encode::write_sint(buffer, number);
        }
        Value::Unsigned(number) => {
            let Ok(_) = encode::write_uint(buffer, number);
        }
        Value::Float(number) => {
            let Ok(()) = encode::write_f64(buffer, number);
        }
        Value::Text(text) => {
            let Ok(()) = encode::write_str(buffer, text);
        }
        Value::List(list) => {
            let Ok(_) = encode::write_array_len(buffer, list.len());
            list.iter().for_each(|one| self::value(buffer, one));
        }
        Value::Map(map) => {
            let Ok(_) = encode::write_map_len(buffer, map.len());
            for (name, one) in map.iter() {
                let Ok(()) = encode::write_str(buffer, name);
                self::value(buffer, one);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::entry::{RecordId, SourceId};

    #[test]
    fn a_record_is_its_time_and_a_map_of_its_fields_in_their_order() {
        let mut made = Record::default();
        made.begin(RecordId::default(), SourceId(0), 1_700_000_000_000_000_042);
        made.name("message");
        made.text("größer");
        made.name("numbers");
        let list = made.begin_list();
        for number in ["-6", "18446744073709551615", "1.5"] {
            made.number(number);
        }
        made.end(list, 3);
        made.name("yes");
        made.bool(true);
        made.name("nothing");
        made.null();
        let mut buffer = ByteBuf::new();
        record(&mut buffer, &made);
        let bytes = buffer.into_vec();
        let read = rmpv::decode::read_value(&mut bytes.as_slice()).unwrap();
        let time = [1_700_000_000_u32.to_be_bytes(), 42_u32.to_be_bytes()].concat();
        let text = |text: &str| rmpv::Value::from(text);
        let numbers = [rmpv::Value::from(-6), rmpv::Value::from(u64::MAX), rmpv::Value::from(1.5)];
        let map = rmpv::Value::Map(vec![
            (text("message"), text("größer")),
            (text("numbers"), rmpv::Value::Array(numbers.to_vec())),
            (text("yes"), rmpv::Value::from(true)),
            (text("nothing"), rmpv::Value::Nil),
        ]);
        assert_eq!(read, rmpv::Value::Array(vec![rmpv::Value::Ext(0, time), map]));
    }
}
