use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use http::Uri;
use http::uri::{Authority, Scheme};
use tower_edge::core::Cidr;

use crate::rate::{self, Rate, RateKey};

/// A reverse proxy made of the layers of tower-edge.
#[derive(Debug, Parser)]
#[command(name = "gateway", version)]
pub(crate) struct Flags {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000", value_parser = address)]
    pub(crate) listen: SocketAddr,

    /// Where to forward to, such as http://127.0.0.1:8080 [default: a built-in demo origin]
    #[arg(long, value_name = "URL", value_parser = origin)]
    pub(crate) origin: Option<Authority>,

    /// Speak HTTP/2 to the origin, without TLS and from the first byte, as gRPC
    /// wants it; of all upgrades only WebSockets are possible then
    #[arg(long)]
    pub(crate) origin_http2: bool,

    /// Where to serve GET /metrics, in the formats of Prometheus [default:
    /// 127.0.0.1:3001, or nowhere if that is taken]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) console: Option<SocketAddr>,

    /// How much the cache may hold, such as 16MiB or 1GiB
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    pub(crate) cache_memory: u64,

    /// Keep what the cache stores in this file too, so that it is there after a
    /// restart
    #[arg(long, value_name = "PATH")]
    pub(crate) cache_disk: Option<PathBuf>,

    /// How much that file may hold
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    pub(crate) cache_disk_size: u64,

    /// Share the quotas, and what the cache stores, with other gateways through this
    /// Redis or Valkey, such as redis://127.0.0.1:6379, rediss://USER:PASSWORD@HOST or,
    /// for a Cluster, redis+cluster://HOST,HOST
    #[arg(long, value_name = "URL", conflicts_with = "cache_disk")]
    pub(crate) redis: Option<Secret>,

    /// How long a request may wait for Redis before it goes on without it
    #[arg(long, value_name = "MS", default_value = "50", value_parser = millis)]
    pub(crate) redis_timeout: Duration,

    /// What becomes of what memory holds while Redis cannot be asked what others have
    /// purged: ask the origin whether it is good, or go on using it
    #[arg(long, value_name = "CHOICE", value_enum, default_value = "miss")]
    pub(crate) on_outage_cache: OnOutage,

    /// What becomes of requests while Redis cannot be asked about their quota: admit
    /// them, refuse them, or decide by the part of this gateway
    #[arg(long, value_name = "CHOICE", value_enum, default_value = "local")]
    pub(crate) on_outage_quota: OnOutageQuota,

    /// Store and serve all that RFC 9111 permits: also what sets a cookie, when it
    /// is explicitly fresh, and stale answers while the origin fails
    #[arg(long)]
    pub(crate) cache_rfc: bool,

    /// Admit so many requests of a client in a period, such as 100/1s or 5000/1h;
    /// may be repeated, and then all of them hold
    #[arg(long, value_name = "N/PERIOD", value_parser = rate::rate)]
    pub(crate) rate: Vec<Rate>,

    /// Whose requests are counted together: those of a client by its address, of
    /// a header field's value, or all
    #[arg(long, value_name = "client|header:NAME|global", default_value = "client", value_parser = rate::key)]
    pub(crate) rate_key: RateKey,

    /// How long a request may wait for its quota before it is refused; not for one that
    /// other gateways share
    #[arg(long, value_name = "MS", value_parser = millis)]
    pub(crate) rate_wait: Option<Duration>,

    /// Stop calling the origin when this share of requests failed, of at least 20 in
    /// 10 seconds, and try from time to time whether it is well again
    #[arg(long, value_name = "RATE", default_value = "0.5", value_parser = share)]
    pub(crate) breaker: f64,

    /// Believe what proxies in this range say of their clients; may be repeated
    #[arg(long, value_name = "CIDR")]
    pub(crate) trust: Vec<Cidr>,

    /// Tell each client in Server-Timing how long the layers took
    #[arg(long)]
    pub(crate) server_timing: bool,

    /// Log requests that took longer than this, to the end of their body
    #[arg(long, value_name = "MS", value_parser = millis)]
    pub(crate) slow: Option<Duration>,

    /// How long the origin may be silent before its answer begins, and a client
    /// in the middle of its request
    #[arg(long, value_name = "MS", default_value = "30000", value_parser = millis)]
    pub(crate) timeout: Duration,

    /// How many bytes a second a client has to send in the middle of its request, on
    /// average and beyond that time; 0 for any number
    #[arg(long, value_name = "BYTES", default_value = "500")]
    pub(crate) upload_rate: u64,

    /// How long a client may be connected without a request, silent or in the
    /// middle of its head, or take nothing of an answer
    #[arg(long, value_name = "MS", default_value = "30000", value_parser = millis)]
    pub(crate) idle_timeout: Duration,

    /// How long requests in flight may take to finish after SIGINT or SIGTERM
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = millis)]
    pub(crate) shutdown_grace: Duration,

    /// Write a line for each request
    #[arg(long)]
    pub(crate) access_log: bool,

    /// Leave the latency layer out
    #[arg(long)]
    no_latency: bool,

    /// Leave the rate limits out
    #[arg(long)]
    no_rate: bool,

    /// Leave the cache out
    #[arg(long)]
    no_cache: bool,

    /// Leave compression out
    #[arg(long)]
    no_compress: bool,

    /// Leave the circuit breaker out
    #[arg(long)]
    no_breaker: bool,

    /// Leave all layers out: the "before" of a comparison
    #[arg(long)]
    bare: bool,
}

impl Flags {
    /// Reads the command line; exits on `--help`, and with 2 when it is wrong.
    pub(crate) fn from_command_line() -> Self {
        Self::try_parse().unwrap_or_else(|error| match error.kind() {
            ErrorKind::ValueValidation => {
                let text = error.to_string();
                eprintln!("{}", text.lines().next().unwrap_or_default());
                std::process::exit(2)
            }
            _ => error.exit(),
        })
    }

    /// Whether requests go through the latency layer.
    pub(crate) fn latency(&self) -> bool {
        !self.bare && !self.no_latency
    }

    /// Whether requests go through the rate limits, if there are any.
    pub(crate) fn rate_limit(&self) -> bool {
        !self.bare && !self.no_rate
    }

    /// Whether requests go through the cache.
    pub(crate) fn cache(&self) -> bool {
        !self.bare && !self.no_cache
    }

    /// Whether responses are encoded.
    pub(crate) fn compress(&self) -> bool {
        !self.bare && !self.no_compress
    }

    /// Whether requests go through the circuit breaker.
    pub(crate) fn breaker(&self) -> bool {
        !self.bare && !self.no_breaker
    }
}

/// What the cache does without news of other nodes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OnOutage {
    Miss,
    Stale,
}

/// What becomes of requests about whose quota nobody can be asked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OnOutageQuota {
    Open,
    Closed,
    Local,
}

/// What is not to be printed.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// Why the gateway cannot start; one line that names the flag to change.
#[derive(Debug)]
pub(crate) struct Misuse(String);

impl Misuse {
    /// Says what is wrong with the value of `flag`, and what would be right.
    pub(crate) fn new(flag: &str, value: impl Display, wrong: impl Display) -> Self {
        Self(format!("invalid value '{value}' for '{flag}': {wrong}"))
    }

    /// The same without the value, which is nobody else's business.
    pub(crate) fn hidden(flag: &str, wrong: impl Display) -> Self {
        Self(format!("invalid value for '{flag}': {wrong}"))
    }

    /// Prints the line; the exit code is that of a wrong command line.
    pub(crate) fn tell(&self) -> ExitCode {
        eprintln!("error: {self}");
        ExitCode::from(2)
    }
}

impl Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Misuse {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:3000 or [::1]:3000")
}

fn origin(text: &str) -> Result<Authority, &'static str> {
    const RIGHT: &str = "expected a URL without path, such as http://127.0.0.1:8080";
    let uri: Uri = text.parse().map_err(|_| RIGHT)?;
    let plain = uri.scheme() == Some(&Scheme::HTTP) && uri.path() == "/" && uri.query().is_none();
    let authority = uri.into_parts().authority.filter(|a| plain && !a.as_str().contains('@'));
    authority.filter(|authority| !authority.host().is_empty()).ok_or(RIGHT)
}

/// Bytes, in units of 1024 whether they are written `k`, `KB` or `KiB`.
fn size(text: &str) -> Result<u64, &'static str> {
    const RIGHT: &str = "expected a size, such as 512KiB, 16MiB or 1GiB";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(RIGHT),
    };
    let number: u64 = number.parse().map_err(|_| RIGHT)?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or(RIGHT)
}

fn millis(text: &str) -> Result<Duration, &'static str> {
    let millis = text.parse().ok().filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or("expected milliseconds, such as 5000")
}

fn share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or("expected a share above 0 and up to 1, such as 0.5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("1", Some(1)),
            ("512k", Some(512 << 10)),
            ("16MiB", Some(16 << 20)),
            ("16 mb", Some(16 << 20)),
            ("1GiB", Some(1 << 30)),
            ("0", None),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("16XB", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn an_origin_is_a_url_without_path() {
        for (text, authority) in [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://example.com/", Some("example.com")),
            ("http://[::1]:80", Some("[::1]:80")),
            ("http://h/path", None),
            ("http://h/?query", None),
            ("http://user@h", None),
            ("https://h", None),
            ("h:80", None),
            ("nonsense", None),
            ("http://", None),
        ] {
            assert_eq!(origin(text).ok().as_ref().map(Authority::as_str), authority, "{text}");
        }
    }

    #[test]
    fn a_share_is_above_0_and_at_most_1() {
        for (text, right) in [("0.5", true), ("1", true), ("1e-3", true), ("0", false)] {
            assert_eq!(share(text).is_ok(), right, "{text}");
        }
        assert!(["1.1", "-0.5", "50%", "NaN", ""].iter().all(|text| share(text).is_err()));
    }

    #[test]
    fn a_time_is_at_least_a_millisecond() {
        assert_eq!(millis("250").ok(), Some(Duration::from_millis(250)));
        assert!(millis("0").is_err());
        assert!(millis("1s").is_err());
    }
}
