//! Any bytes as an exporter's answer, in each format; what is understood is written in each format and read again.
//!
//! The first byte chooses the format and whether timestamps are kept. What must hold: nothing panics; what the relay writes, it
//! reads again, with as many series as it wrote, in text as in OpenMetrics as in protobuf.
#![no_main]

use host_agent::relay::accept::{Accepted, negotiate};
use host_agent::relay::encode::encode;
use host_agent::relay::label::TargetLabels;
use host_agent::relay::merge::{Source, merge};
use host_agent::relay::parse::{Exposition, Format, ParseLimits, parse};
use libfuzzer_sys::fuzz_target;

const LIMITS: ParseLimits = ParseLimits { samples: 10_000, labels: 64, label_bytes: 8192 };

const ACCEPT: [(&str, Format); 4] = [
    ("text/plain;version=0.0.4", Format::Text),
    ("text/plain;version=1.0.0;escaping=allow-utf-8", Format::Text),
    ("application/openmetrics-text;version=1.0.0", Format::OpenMetrics),
    (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        Format::Protobuf,
    ),
];

fn written(exposition: &Exposition, accepted: Accepted, has_timestamps: bool) -> Vec<u8> {
    let own = parse(Vec::new(), Format::Text, LIMITS, &[]).expect("an empty body");
    let none = TargetLabels::default();
    let labels = none.with("job", "a\"b").with("instance", "1");
    let sources =
        [Source { labels: &none, exposition: &own }, Source { labels: &labels, exposition }];
    encode(&merge(&sources), accepted, has_timestamps)
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let format = [Format::Text, Format::OpenMetrics, Format::Protobuf][usize::from(choice % 3)];
    let has_timestamps = choice & 0x80 != 0;
    let Ok(exposition) = parse(body.to_vec(), format, LIMITS, &["job", "instance"]) else { return };
    for (accept, format) in ACCEPT {
        let text = written(&exposition, negotiate(accept), has_timestamps);
        let limits = ParseLimits { samples: 1 << 20, labels: 128, label_bytes: 1 << 20 };
        if let Err(error) = parse(text.clone(), format, limits, &[]) {
            panic!("{accept}: {error}\n{}", String::from_utf8_lossy(&text));
        }
    }
});
