//! A reverse proxy made of the layers of tower-edge, hyper and hyper-util.
//!
//! `cargo run --release --example gateway` starts it in front of a demo origin
//! and prints what to try; `--help` lists its flags. A request comes in through
//! [`server`], is cleaned by [`fields`], goes through the layers that the
//! [`flags`] leave in, and on to the origin by [`proxy`].
//!
//! WebSockets pass over both protocols, whichever the two sides speak; other
//! upgrades from HTTP/1.1 to HTTP/1.1. Who takes nothing of an answer, or does not
//! go on with a request, is not waited for longer than [`pace`] and [`upload`] say.
//!
//! What it does not do: TLS; tunnels to other hosts by CONNECT; and interim
//! responses. hyper's server cannot send `1xx` but for its own `100 Continue`:
//! that one it sends when the origin asks for the body, and those of the origin
//! end here, so none is passed on or stored.

mod access;
mod connection;
mod console;
mod demo;
mod fields;
mod flags;
mod forwarding;
mod hints;
mod logs;
mod origin;
mod pace;
mod proxy;
mod rate;
mod server;
mod trailers;
mod tunnel;
mod upload;
mod websocket;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tower::ServiceBuilder;
use tower_edge::Edge;
use tower_edge::breaker::{BreakerLayer, Trip, Window};
use tower_edge::cache::{CacheLayer, OnOutage, SetCookie, StaleOnError};
use tower_edge::compress::CompressLayer;
use tower_edge::core::Optional;
use tower_edge::limit::{self, RateLimitLayer};
use tower_edge::metrics::{EventCounters, LatencyLayer};
use tower_edge::redis::{RedisQuotas, RedisTier};
use tower_edge::sqlite::SqliteTier;

use crate::access::AccessLayer;
use crate::flags::{Flags, Misuse};
use crate::forwarding::Forwarding;
use crate::origin::Origin;
use crate::proxy::Proxy;
use crate::server::Patience;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::from_command_line()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(misuse) => misuse.tell(),
    }
}

async fn run(flags: Flags) -> Result<(), Misuse> {
    logs::init(flags.access_log)?;
    let stop = server::stop_signal()?;
    let (listener, address) = server::listen("--listen", flags.listen).await?;
    let console = console::start(flags.console).await?;
    let origin = match &flags.origin {
        Some(origin) => origin.clone(),
        None => demo::start().await?,
    };
    let origin = if flags.origin_http2 { Origin::http2(origin) } else { Origin::http1(origin) };
    let waits = upload::Patience { silence: flags.timeout, rate: flags.upload_rate };
    let proxy = Proxy::new(origin, waits);
    let latency = flags.latency().then(|| latency(&flags));
    let measured = latency.as_ref().map(LatencyLayer::handle);
    let events = Arc::new(EventCounters::new());
    let rate_limit = rate_limit(&flags)?.map(|rate_limit| rate_limit.observe(events.clone()));
    let cache = if flags.cache() { Some(cache(&flags, events.clone())?) } else { None };
    let stored = cache.as_ref().map(CacheLayer::handle);
    let compress = flags.compress().then(|| CompressLayer::new().observe(events.clone()));
    let breaker = flags.breaker().then(|| breaker(&flags, events));
    let edge = Edge::new().latency(latency).rate_limit(rate_limit).cache(cache);
    let edge = edge.compress(compress).breaker(breaker);
    let forwarding = Forwarding::trusting(&flags.trust);
    let clean = move |request| fields::clean_request(request, &forwarding);
    let access = flags.access_log.then(|| AccessLayer::trusting(&flags.trust));
    let access: Optional<AccessLayer> = access.into();
    let service = ServiceBuilder::new().map_request(clean).layer(access).layer(edge).service(proxy);

    hints::print(&flags, address, console);
    let patience = Patience { idle: flags.idle_timeout, grace: flags.shutdown_grace };
    server::serve(listener, service, stop, patience).await;
    if let Some(stored) = stored
        && let Ok(Err(error)) = timeout(flags.shutdown_grace, stored.flush()).await
    {
        tracing::warn!("not all that was stored was written: {error}");
    }
    if let Some(measured) = measured {
        hints::print_measured(&measured.snapshot().merged());
    }
    Ok(())
}

fn latency(flags: &Flags) -> LatencyLayer {
    let latency = LatencyLayer::new().server_timing(flags.server_timing);
    match flags.slow {
        Some(slow) => latency.log_slower_than(slow),
        None => latency,
    }
}

fn rate_limit(flags: &Flags) -> Result<Option<RateLimitLayer>, Misuse> {
    let rates = if flags.rate_limit() { &flags.rate[..] } else { &[] };
    let Some(layer) = rate::layer(rates, &flags.rate_key, &flags.trust) else { return Ok(None) };
    let Some(url) = &flags.redis else { return Ok(Some(rate::waiting(layer, flags.rate_wait))) };
    if let Some(wait) = flags.rate_wait {
        let wrong = "a quota that is shared by --redis does not let requests wait";
        return Err(Misuse::new("--rate-wait", wait.as_millis(), wrong));
    }
    let quotas = RedisQuotas::new(&url.0).map_err(|error| Misuse::hidden("--redis", error))?;
    let on_outage = match flags.on_outage_quota {
        flags::OnOutageQuota::Open => limit::OnOutage::Open,
        flags::OnOutageQuota::Closed => limit::OnOutage::Closed,
        flags::OnOutageQuota::Local => limit::OnOutage::Local,
    };
    Ok(Some(layer.store(quotas.deadline(flags.redis_timeout)).on_outage(on_outage)))
}

fn cache(flags: &Flags, events: Arc<EventCounters>) -> Result<CacheLayer, Misuse> {
    let cache = CacheLayer::new(flags.cache_memory).observe(events);
    let cache = match flags.cache_rfc {
        true => cache.set_cookie(SetCookie::Rfc).stale_on_error(StaleOnError::Rfc),
        false => cache,
    };
    if let Some(url) = &flags.redis {
        let tier = RedisTier::new(&url.0).map_err(|error| Misuse::hidden("--redis", error))?;
        let on_outage = match flags.on_outage_cache {
            flags::OnOutage::Miss => OnOutage::Miss,
            flags::OnOutage::Stale => OnOutage::Stale,
        };
        return Ok(cache.tier(tier.deadline(flags.redis_timeout)).on_outage(on_outage));
    }
    let Some(path) = &flags.cache_disk else { return Ok(cache) };
    let tier = SqliteTier::open(path, flags.cache_disk_size).map_err(|error| {
        let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
        Misuse::new("--cache-disk", path.display(), format!("{error}{cause}"))
    })?;
    if let Some(aside) = tier.set_aside() {
        let (path, aside) = (path.display(), aside.display());
        tracing::warn!("{path} was damaged or of another version, and is now {aside}");
    }
    Ok(cache.tier(tier))
}

fn breaker(flags: &Flags, events: Arc<EventCounters>) -> BreakerLayer {
    let window = Window::time(Duration::from_secs(10));
    BreakerLayer::new().trip_on([Trip::failure_rate(flags.breaker, window)]).observe(events)
}
