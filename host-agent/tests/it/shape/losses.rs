//! What was lost before the journal, as the shaper counts it.

use std::time::Duration;

use super::Bench;

fn numbered(bench: &mut Bench, epoch: &str, ordinal: u64) {
    let ordinal = ordinal.to_string();
    bench.push(&[
        ("MESSAGE", ""),
        ("CONTAINER_ID_FULL", "abc"),
        ("CONTAINER_NAME", "orders"),
        ("CONTAINER_LOG_EPOCH", epoch),
        ("CONTAINER_LOG_ORDINAL", &ordinal),
    ]);
}

fn losses(bench: &mut Bench) -> Vec<String> {
    bench.take().into_iter().filter(|said| said.starts_with("lost")).collect()
}

#[test]
fn journald_s_rate_limit_is_counted_by_unit_and_its_message_is_delivered() {
    let mut bench = Bench::new("");
    bench.push(&[
        ("MESSAGE", "Suppressed 162500 messages from docker.service"),
        ("MESSAGE_ID", "a596d6fe7bfa4994828e72309e95d61e"),
        ("N_DROPPED", "162500"),
        ("OBJECT_SYSTEMD_UNIT", "docker.service"),
    ]);
    assert_eq!(
        bench.take(),
        [
            "lost 162500 of docker.service: rate_limit",
            "1: Suppressed 162500 messages from docker.service ×1"
        ]
    );
}

#[test]
fn a_gap_in_docker_s_ordinals_is_counted_once_no_late_one_can_close_it() {
    let mut bench = Bench::new("");
    for ordinal in [5, 6, 9, 8, 20] {
        numbered(&mut bench, "e1", ordinal);
    }
    assert_eq!(losses(&mut bench), Vec::<String>::new());
    (21..=100).for_each(|ordinal| numbered(&mut bench, "e1", ordinal));
    assert_eq!(losses(&mut bench), ["lost 1 of orders: docker", "lost 10 of orders: docker"]);
    numbered(&mut bench, "e1", 103);
    bench.pass(Duration::from_secs(11));
    assert_eq!(losses(&mut bench), ["lost 2 of orders: docker"]);
}

#[test]
fn a_new_epoch_begins_the_count_anew() {
    let mut bench = Bench::new("");
    numbered(&mut bench, "e1", 5);
    numbered(&mut bench, "e1", 7);
    numbered(&mut bench, "e2", 1);
    numbered(&mut bench, "e2", 2);
    assert_eq!(losses(&mut bench), ["lost 1 of orders: docker"]);
    bench.pass(Duration::from_secs(60));
    assert_eq!(losses(&mut bench), Vec::<String>::new());
}

#[test]
fn ordinals_count_for_nothing_where_the_reader_leaves_entries_out() {
    let mut bench = Bench::new("shape.count_ordinals = false");
    numbered(&mut bench, "e1", 5);
    numbered(&mut bench, "e1", 500);
    bench.pass(Duration::from_secs(60));
    assert_eq!(losses(&mut bench), Vec::<String>::new());
}
