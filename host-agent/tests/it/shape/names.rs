//! Names from Consul, and the wait for them.

use std::time::Duration;

use host_agent::logs::test_rules::instances;

use super::{BEGIN_US, Bench};

fn line(bench: &mut Bench, allocation: &str, message: &str) {
    bench.push(&[
        ("MESSAGE", message),
        ("CONTAINER_ID_FULL", "abc"),
        ("COM_HASHICORP_NOMAD_ALLOC_ID", allocation),
    ]);
}

#[test]
fn first_lines_wait_until_consul_knows_their_allocation() {
    let mut bench = Bench::new("shape.consul_wait_ms = 2000");
    line(&mut bench, "a", "one");
    line(&mut bench, "b", "other");
    line(&mut bench, "a", "two");
    bench.push(&[("MESSAGE", "no allocation")]);
    assert_eq!(bench.take(), ["4: no allocation ×1"]);
    assert_eq!(bench.open(), ["c1", "c2", "c3"]);
    bench.instances = instances([("a", "trading/orders")]).unwrap();
    // Told of the instances at once, not at the deadline.
    let (now, out) = (bench.clock(), &mut bench.out);
    bench.shaper.expire(now, &bench.instances, &mut |shaped| out.push(super::said(&shaped)));
    assert_eq!(bench.take(), ["1: one ×1", "3: two ×1"]);
    bench.pass(Duration::from_millis(1_900));
    assert_eq!(bench.take(), Vec::<String>::new());
    bench.pass(Duration::from_millis(200));
    assert_eq!(bench.take(), ["2: other ×1"]);
    line(&mut bench, "b", "waited for already");
    assert_eq!(bench.take(), ["5: waited for already ×1"]);
    assert_eq!((bench.open(), bench.shaper.open_bytes()), (vec![], 0));
}

#[test]
fn old_lines_do_not_wait() {
    let mut bench = Bench::new("shape.consul_wait_ms = 2000");
    let mut old = bench.entry(&[("MESSAGE", "old"), ("COM_HASHICORP_NOMAD_ALLOC_ID", "a")]);
    old.realtime_us = BEGIN_US - 2_000_000;
    bench.push_entry(&old);
    let mut younger = bench.entry(&[("MESSAGE", "new"), ("COM_HASHICORP_NOMAD_ALLOC_ID", "b")]);
    younger.realtime_us = BEGIN_US - 1_500_000;
    bench.push_entry(&younger);
    assert_eq!(bench.take(), ["1: old ×1"]);
    bench.pass(Duration::from_millis(600));
    assert_eq!(bench.take(), ["2: new ×1"]);
}

#[test]
fn no_more_than_a_thousand_lines_wait() {
    let mut bench = Bench::new("");
    for _ in 0..1_001 {
        line(&mut bench, "a", "x");
    }
    assert_eq!((bench.take().len(), bench.open().len()), (1_001, 0));
    line(&mut bench, "a", "y");
    assert_eq!(bench.take().len(), 1);
}
