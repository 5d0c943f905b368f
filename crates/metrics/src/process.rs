use std::fs;

use metrics::Unit;

/// Sets the gauges of this process: CPU time, resident memory, open files.
///
/// [`PrometheusHandle::render`](crate::PrometheusHandle::render) calls it; with
/// another recorder call it before a scrape, or every few seconds. It reads
/// `/proc`; where there is none it does nothing.
pub fn record_process() {
    let (status, stat) =
        (fs::read_to_string("/proc/self/status"), fs::read_to_string("/proc/self/stat"));
    let files = fs::read_dir("/proc/self/fd").map(|files| files.count() as f64);
    let values = [
        (
            CPU_TIME,
            Unit::Seconds,
            "CPU time of the process.",
            stat.ok().and_then(|stat| cpu_seconds(&stat)),
        ),
        (
            MEMORY,
            Unit::Bytes,
            "Resident memory of the process.",
            status.ok().and_then(|status| resident_bytes(&status)),
        ),
        // Reading the folder opened one.
        (
            FILES,
            Unit::Count,
            "Files that the process has open.",
            files.ok().map(|files| files - 1.0),
        ),
    ];
    for (name, unit, about, value) in values {
        if let Some(value) = value {
            metrics::describe_gauge!(name, unit, about);
            metrics::gauge!(name).set(value);
        }
    }
}

/// From `/proc/self/stat`: fields 14 and 15, counted behind the name, which may
/// have spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

/// From `/proc/self/status`: `VmRSS: 1234 kB`.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024.0)
}

/// What Linux tells user space on all machines that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

const CPU_TIME: &str = "process.cpu.time";
const MEMORY: &str = "process.memory.usage";
const FILES: &str = "process.open_file_descriptors";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let stat = "1 (a) b (c)) S 0 1 1 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5 1000 100";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("1 (a) S"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_bytes("VmHWM:\t9 kB\nVmRSS:\t    12 kB\n"), Some(12_288.0));
        assert_eq!(resident_bytes("VmHWM:\t9 kB\n"), None);
    }
}
