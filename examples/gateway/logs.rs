use std::env;
use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::access;
use crate::flags::Misuse;

/// Sends the log to stderr, by `RUST_LOG` or else from warnings on, and the
/// lines of the access log, if they are wanted, to stdout.
pub(crate) fn init(with_access: bool) -> Result<(), Misuse> {
    let wanted = env::var("RUST_LOG").unwrap_or_default();
    let levels: Targets = match wanted.is_empty() {
        true => Targets::new().with_default(LevelFilter::WARN),
        false => wanted.parse().map_err(|_| {
            Misuse::new("RUST_LOG", &wanted, "expected levels, such as info or hyper=debug")
        })?,
    };
    let log = fmt::layer().with_ansi(false).with_writer(io::stderr);
    let lines = fmt::layer().with_ansi(false).with_writer(io::stdout);
    let only_lines = Targets::new().with_target(access::TARGET, LevelFilter::INFO);
    registry()
        .with(log.with_filter(levels.with_target(access::TARGET, LevelFilter::OFF)))
        .with(with_access.then(|| lines.with_filter(only_lines)))
        .init();
    Ok(())
}
