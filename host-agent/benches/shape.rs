//! What shaping and routing one entry costs: `cargo bench -p host-agent --bench shape`.
//!
//! Entries are as Docker's journald driver writes them: 28 fields, about 1 KB, of which about ten are sent. Printed is the best
//! of several runs on one thread, because the other runs measure the machine's other work.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and fails where it stands"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use host_agent::instances::Instances;
use host_agent::logs::entry::{Entry, Fields, RecordId, SourceId};
use host_agent::logs::record::Value;
use host_agent::logs::route::{DestinationId, Routes};
use host_agent::logs::shape::{Now, RawRule, RawShape, Rules, Shaped, Shaper};
use host_agent::logs::test_rules::instances;
use serde::Deserialize;
use service::config::Problems;

const ENTRIES: u64 = 200_000;
const RUNS: usize = 7;
const ALLOCATION: &str = "5f0c1d2e-8a7b-4c3d-9e1f-0a1b2c3d4e5f";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRules {
    shape: RawShape,
    rules: Vec<RawRule>,
}

fn entry(number: u64, message: &str) -> Entry {
    let mut fields = Fields::default();
    let time = format!("{}", 1_795_287_947_308_971 + number);
    for (name, value) in [
        ("_BOOT_ID", "c77c58bb6a164a4b8a9d1e0f2a3b4c5d"),
        ("_MACHINE_ID", "3d12a7e1c0b94d5f8e6a1b2c3d4e5f60"),
        ("_HOSTNAME", "host-17.example.com"),
        ("_RUNTIME_SCOPE", "system"),
        ("PRIORITY", "6"),
        ("_TRANSPORT", "journal"),
        ("_UID", "0"),
        ("_GID", "0"),
        ("_CAP_EFFECTIVE", "1fffffffffff"),
        ("_SYSTEMD_SLICE", "system.slice"),
        ("_SELINUX_CONTEXT", "unconfined\n"),
        ("_COMM", "dockerd"),
        ("_EXE", "/usr/bin/dockerd"),
        ("_CMDLINE", "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"),
        ("_SYSTEMD_CGROUP", "/system.slice/docker.service"),
        ("_SYSTEMD_UNIT", "docker.service"),
        ("_SYSTEMD_INVOCATION_ID", "6d0f5b3a2c1e4f7d8a9b0c1d2e3f4a5b"),
        ("_PID", "4133"),
        ("CONTAINER_ID", "738f9eed4362"),
        ("CONTAINER_ID_FULL", "738f9eed4362690e29a1b0d52b017c4e14b8a029d6d38a5194b400ea07314f27"),
        ("CONTAINER_NAME", "orders-5f0c1d2e-8a7b-4c3d-9e1f-0a1b2c3d4e5f"),
        ("CONTAINER_TAG", "orders"),
        ("IMAGE_NAME", "images.example.com/trading/orders:1.42.0"),
        ("SYSLOG_IDENTIFIER", "orders"),
        ("COM_HASHICORP_NOMAD_ALLOC_ID", ALLOCATION),
        ("COM_HASHICORP_NOMAD_JOB_NAME", "orders"),
    ] {
        fields.push(name, value.as_bytes());
    }
    fields.push("MESSAGE", message.as_bytes());
    fields.push("_SOURCE_REALTIME_TIMESTAMP", time.as_bytes());
    Entry {
        source: SourceId(0),
        id: RecordId { sequence: 0x423f_2cab_0000_0000, number },
        cursor: format!("s=423f2cab;i={number:x}"),
        realtime_us: 1_795_287_947_309_244 + number,
        fields,
    }
}

/// Nanoseconds for an entry, and what the last record has.
fn measure(rules: &str, entries: &[Entry], instances: &Instances) -> (f64, String) {
    let raw: RawRules = toml::from_str(rules).unwrap();
    let mut problems = Problems::default();
    let rules = Arc::new(Rules::resolve(&raw.shape, &raw.rules, &mut problems));
    let routes = Routes::resolve(&[], &["central"], &mut problems);
    problems.finish(None, Some(())).unwrap();
    let now = Now { monotonic: Instant::now(), realtime_us: 1_795_287_950_000_000 };
    let mut best = f64::INFINITY;
    let (mut tag, mut last) = (String::new(), String::new());
    for _ in 0..RUNS {
        let mut shaper = Shaper::new(Arc::clone(&rules));
        let mut text = 0;
        let begin = Instant::now();
        for number in 0..ENTRIES {
            let index = usize::try_from(number).unwrap() % entries.len();
            shaper.push(&entries[index], now, instances, &mut |shaped| {
                if let Shaped::Record(record) = shaped
                    && routes.decide(record, DestinationId(0), &mut tag)
                {
                    // A reader of all fields, as the encoder is.
                    for (name, value) in record.fields() {
                        text += name.len()
                            + if let Value::Text(value) = value { value.len() } else { 8 };
                    }
                    if number == ENTRIES - 1 {
                        last =
                            format!("{} fields, {} bytes, tag {tag}", record.len(), record.size());
                    }
                }
            });
        }
        black_box(text);
        #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
        let each = begin.elapsed().as_nanos() as f64 / ENTRIES as f64;
        best = best.min(each);
    }
    (best, last)
}

fn main() {
    let instances = instances([(ALLOCATION, "trading/orders")]).unwrap();
    let plain =
        "GET /v1/orders/4711 200 12ms, served from cache, client 10.1.2.3, trace 4bf92f3577b34da6";
    let json = r#"{"ts":"2026-11-29T09:30:00.123Z","level":"info","msg":"order accepted","order_id":4711,"customer":"c-99","took_ms":12.5,"items":[1,2,3],"trace":{"id":"4bf92f3577b34da6","span":"00f067aa0ba902b7"}}"#;
    let entries = |message: &str| (0..512).map(|number| entry(number, message)).collect::<Vec<_>>();
    let (plain, json) = (entries(plain), entries(json));
    println!(
        "{} fields and {} bytes in each entry",
        plain[0].fields.iter().count(),
        plain[0].fields.size()
    );
    let two_rules = "
        rules = [
            { name = 'health', when = { service = 'orders', message = 'GET /healthz' }, drop = true },
            { name = 'card', redact = ['[0-9]{13,16}'] },
        ]";
    let lines = "rules = [{ name = 'java', when = { service = 'orders' }, multiline = 'java' }]";
    for (name, rules, entries) in [
        ("plain line", "", &plain),
        ("plain line, a rule with a pattern and a redaction", two_rules, &plain),
        ("plain line, Java's stack traces", lines, &plain),
        ("JSON line of 9 keys, merged", "", &json),
        ("JSON line of 9 keys, kept as text", "shape.json = 'off'", &json),
    ] {
        let (ns, last) = measure(rules, entries, &instances);
        println!("{:>7.0} ns  {name} ({last})", ns);
    }
}
