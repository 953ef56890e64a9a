//! What a process costs: CPU time and resident memory, from `/proc`.

use anyhow::Context;

/// Seconds of CPU, user and system, since the process began; in steps of 10 ms.
///
/// # Errors
/// It has ended.
pub fn cpu_seconds(process: i32) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name in brackets may hold anything; utime and stime are the 12th and 13th fields after it.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks: f64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<f64>())
        .sum::<Result<f64, _>>()
        .with_context(|| format!("{path} has an unknown form"))?;
    Ok(ticks / 100.0)
}

/// Resident memory in KB.
///
/// # Errors
/// It has ended.
pub fn resident_kb(process: i32) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|line| line.split_whitespace().next());
    value
        .and_then(|value| value.parse().ok())
        .with_context(|| format!("{path} has no VmRSS: the process has ended"))
}
