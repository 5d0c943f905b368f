use std::net::SocketAddr;

use tower_edge::metrics::Measurements;

use crate::flags::Flags;

/// Prints where the gateway listens and what to try there.
pub(crate) fn print(flags: &Flags, address: SocketAddr, console: Option<SocketAddr>) {
    let origin = flags.origin.as_ref().map(|origin| format!("http://{origin}"));
    let front = origin.as_deref().unwrap_or("its demo origin");
    println!("The gateway listens on http://{address}, in front of {front}. Try:\n");

    for hint in hints(flags) {
        let hint = hint.replace("GATEWAY", &format!("http://{address}"));
        println!("{}", hint.replace("ORIGIN", front));
    }
    if let Some(console) = console.filter(|_| flags.latency()) {
        print!("{}", METRICS.replace("CONSOLE", &format!("http://{console}")));
    }
    println!("Ctrl-C stops it.");
}

/// Prints how long the requests took, when all is over.
pub(crate) fn print_measured(all: &Measurements) {
    let within = |q| all.total.quantile(q).unwrap_or_default();
    let (half, most) = (within(0.5), within(0.99));
    println!("Measured {} requests: half within {half:.1?}, 99 % within {most:.1?}.", all.count());
}

fn hints(flags: &Flags) -> impl Iterator<Item = &'static str> {
    let pages = match (&flags.origin, flags.cache()) {
        (Some(_), _) => ANY_ORIGIN,
        (None, true) => DEMO_CACHED,
        (None, false) => DEMO_UNCACHED,
    };
    let timing = flags.server_timing && flags.latency();
    let demo = flags.origin.is_none();
    let login = if flags.cache_rfc { LOGIN_RFC } else { LOGIN };
    [
        (true, pages),
        (demo && flags.cache(), login),
        (demo && flags.compress(), ENCODED),
        (timing, TIMING),
        (demo, DEMO_STREAMS),
    ]
    .into_iter()
    .filter_map(|(wanted, hints)| wanted.then_some(hints))
}

const ANY_ORIGIN: &str = "\
curl -i GATEWAY/
  # what ORIGIN/ answers, with a Via
";

const DEMO_CACHED: &str = "\
curl -i GATEWAY/json
  # the second time from the cache: an Age, and `hit` in Cache-Status
curl -i GATEWAY/json -H 'If-None-Match: \"v1\"'
  # 304 without a body, from the cache as well
curl -i GATEWAY/json -X POST
  # changes it: the next GET asks the origin
curl -i GATEWAY/slow
  # takes a second; the second time no time at all
curl -i GATEWAY/vary -H 'Accept-Language: de'
  # German; other languages are stored apart from it
curl -i GATEWAY/etag
  # the origin is asked every time; the second time it answers 304 to the gateway
";

const LOGIN: &str = "\
curl -i GATEWAY/login
  # sets a cookie, so it is never stored: each time another session
";

const LOGIN_RFC: &str = "\
curl -i GATEWAY/login
  # sets a cookie, but is explicitly fresh: the second time from the cache, with the cookie
";

const DEMO_UNCACHED: &str = "\
curl -i GATEWAY/json
  # from the origin every time: no Age, no Cache-Status
curl -i GATEWAY/slow
  # takes a second, every time
";

const ENCODED: &str = "\
curl -i GATEWAY/ --compressed
  # fewer bytes on the way: Content-Encoding says how, and curl decodes them
";

const TIMING: &str = "\
curl -I GATEWAY/json
  # Server-Timing says how long the layers took
";

const METRICS: &str = "\
curl CONSOLE/metrics
  # how many requests there were and how long they took, for Prometheus
";

const DEMO_STREAMS: &str = "\
curl -i GATEWAY/json --http2-prior-knowledge
  # the same over HTTP/2
curl -N GATEWAY/sse
  # an event each 200 ms, as the origin sends them
curl -o /dev/null 'GATEWAY/large?mib=256'
  # 256 MiB, in constant memory
curl GATEWAY/upload -d 'some text'
  # the origin counts 9 bytes
curl -s -o /dev/null -w '%{http_code}\\n' 'GATEWAY/flaky?[1-3]'
  # one of three answers is a 503
";
