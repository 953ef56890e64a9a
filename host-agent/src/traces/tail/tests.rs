//! Which traces stay.

use super::*;
use crate::traces::wire::put_bytes;

fn rules() -> TailRules {
    TailRules {
        wait: Duration::from_secs(5),
        traces: 1000,
        errors: true,
        slow: Some(Duration::from_millis(100)),
        percent: 0.0,
        systems: BTreeMap::new(),
        rate: None,
    }
}

fn facts(trace: u128, is_error: bool, took_ms: u64) -> Facts {
    Facts {
        trace,
        span: 1,
        start_ns: 1,
        end_ns: 1 + took_ms * 1_000_000,
        is_error,
        ..Facts::default()
    }
}

/// A request with a span of each trace.
fn request(traces: &[u128]) -> Vec<u8> {
    let (mut scope, mut resource, mut request) = (Vec::new(), Vec::new(), Vec::new());
    for trace in traces {
        let mut span = Vec::new();
        put_bytes(&mut span, 1, &trace.to_be_bytes());
        put_bytes(&mut span, 2, &[1; 8]);
        put_bytes(&mut scope, 2, &span);
    }
    put_bytes(&mut resource, 2, &scope);
    put_bytes(&mut request, 1, &resource);
    request
}

/// How many of the traces are kept.
fn kept(tail: &Tail, traces: &[u128], system: Option<&str>, now: Instant) -> u32 {
    let system = system.map(Arc::from);
    tail.filter(&request(traces), system.as_ref(), now).unwrap().0.spans
}

#[tokio::test]
async fn errors_and_slow_spans_keep_all_of_their_trace() {
    let tail = Tail::new(rules());
    tail.observe(&[
        facts(1, false, 1),
        facts(2, false, 1),
        facts(1, true, 1),
        facts(3, false, 200),
    ]);
    let (edited, out) = tail.filter(&request(&[1, 2, 3, 1]), None, Instant::now()).unwrap();
    assert_eq!((edited.spans, out), (3, 1));
    assert_eq!(edited.bytes, request(&[1, 3, 1]));
}

#[tokio::test]
async fn shares_go_by_the_trace_s_id_and_by_system() {
    let systems = BTreeMap::from([("trading".to_owned(), 50.0)]);
    let tail = Tail::new(TailRules { percent: 10.0, systems, ..rules() });
    let traces: Vec<u128> = (0..1000u128).map(|n| n * ((1u128 << 56) / 1000) + (1 << 40)).collect();
    let now = Instant::now();
    assert_eq!(kept(&tail, &traces, Some("other"), now), 100);
    assert_eq!(kept(&tail, &traces, Some("trading"), now), 500);
    assert_eq!(kept(&Tail::new(TailRules { percent: 100.0, ..rules() }), &traces, None, now), 1000);
}

#[tokio::test]
async fn the_rate_bounds_the_share_but_not_errors_and_never_splits_a_trace() {
    let tail = Tail::new(TailRules { percent: 100.0, rate: Some(10), ..rules() });
    let now = Instant::now();
    let traces: Vec<u128> = (1..=50).collect();
    tail.observe(&traces.iter().map(|trace| facts(*trace, *trace == 50, 1)).collect::<Vec<_>>());
    assert_eq!(kept(&tail, &traces, None, now), 11);
    // What was kept stays kept, what was left out stays out.
    assert_eq!(kept(&tail, &traces, None, now), 11);
    let later: Vec<u128> = (100..150).collect();
    assert_eq!(kept(&tail, &later, None, now + Duration::from_secs(5)), 10);
}

#[tokio::test]
async fn memory_is_bounded_and_the_oldest_is_forgotten() {
    let tail = Tail::new(TailRules { traces: 10, ..rules() });
    for trace in 1..=100 {
        tail.observe(&[facts(trace, true, 1)]);
    }
    assert_eq!(tail.known(), 10);
    assert_eq!(kept(&tail, &[1, 100], None, Instant::now()), 1);
}
