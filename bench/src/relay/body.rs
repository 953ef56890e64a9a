//! Bodies as exporters write them: half counters, a fifth gauges, the rest histograms, three to four labels each.

use std::fmt::Write as _;

/// A text body with `series` series; `seed` makes its values differ.
pub fn body(series: usize, seed: usize) -> String {
    let mut text = String::with_capacity(series * 110);
    let mut left = series;
    let mut family = 0;
    while left > 0 {
        family += 1;
        left -= match family % 10 {
            0..5 => counter(&mut text, family, left.min(200), seed),
            5..7 => gauge(&mut text, family, left.min(200), seed),
            _ => histogram(&mut text, family, left, seed),
        };
    }
    text
}

fn counter(text: &mut String, family: usize, count: usize, seed: usize) -> usize {
    // Writing to a string does not fail.
    let name = format!("orders_requests_{family}_total");
    writeln!(text, "# HELP {name} Requests that were answered, by route\n# TYPE {name} counter")
        .ok();
    for nth in 0..count {
        let value = nth * 977 + seed;
        writeln!(
            text,
            "{name}{{method=\"GET\",path=\"/api/v1/orders/{nth}\",code=\"200\"}} {value}"
        )
        .ok();
    }
    count
}

fn gauge(text: &mut String, family: usize, count: usize, seed: usize) -> usize {
    let name = format!("orders_queue_{family}_seconds");
    writeln!(text, "# HELP {name} Age of what waits, by queue\n# TYPE {name} gauge").ok();
    for nth in 0..count {
        let value = (nth + seed) % 1000;
        writeln!(
            text,
            "{name}{{queue=\"settlement-{nth}\",shard=\"{}\",zone=\"a\"}} {nth}.{value:03}",
            nth % 16
        )
        .ok();
    }
    count
}

const BOUNDS: [&str; 13] = [
    "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5",
    "+Inf",
];

fn histogram(text: &mut String, family: usize, left: usize, seed: usize) -> usize {
    let name = format!("orders_duration_{family}_seconds");
    writeln!(text, "# HELP {name} Time to an answer, by route\n# TYPE {name} histogram").ok();
    let lines = BOUNDS.len() + 2;
    let count = (left / lines).min(20);
    for nth in 0..count {
        let labels = format!("method=\"GET\",path=\"/api/v1/positions/{nth}\"");
        for (position, bound) in BOUNDS.iter().enumerate() {
            let value = (position + 1) * 131 + seed;
            writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {value}").ok();
        }
        writeln!(
            text,
            "{name}_sum{{{labels}}} {}.25\n{name}_count{{{labels}}} {}",
            nth + seed,
            13 * 131 + seed
        )
        .ok();
    }
    if count == 0 { gauge(text, family, left, seed) } else { count * lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_as_many_series_as_asked_for() {
        for series in [1, 14, 2_000, 100_000] {
            let lines = body(series, 7).lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(lines, series);
        }
    }
}
