//! Parts, held against a naive array of bytes: random ranges and conditions, an
//! origin whose content changes, and that has strong tags, weak ones, or none.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use tower_edge_core::RequestHead;
use tower_edge_testkit::{Answer, MockBody};

use crate::play::{Got, Play, request, respond, seconds, tasks};

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { range: Option<(usize, usize)>, if_range: Tag, knows: Tag, reload: bool },
    Change,
    Wait(u64),
}

/// What a client has in `If-Range`, and in `If-None-Match`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tag {
    None,
    Current,
    Former,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Strong,
    Weak,
    Untagged,
}

/// Each byte tells its version and its place.
fn content(version: usize, range: Range<usize>) -> Bytes {
    range.map(|at| (version % 5 * LENGTH + at) as u8).collect::<Vec<_>>().into()
}

fn tag(kind: Kind, version: usize) -> Option<String> {
    match kind {
        Kind::Strong => Some(format!("\"{version}\"")),
        Kind::Weak => Some(format!("W/\"{version}\"")),
        Kind::Untagged => None,
    }
}

fn answered(kind: Kind, version: usize, head: &RequestHead<'_>) -> Answer {
    let field = |name| head.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let tag = tag(kind, version);
    let content_range = asked(field("range")).map(|part| (part.clone(), shown(&part)));
    let control = Some(("cache-control", format!("max-age={FRESH}")));
    let fields = |more: Option<(&'static str, String)>| -> Vec<_> {
        [control.clone(), tag.clone().map(|tag| ("etag", tag)), more]
            .into_iter()
            .flatten()
            .collect()
    };
    let respond = |status, fields: Vec<(&str, String)>, body| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        respond(status, &fields, body)
    };
    if field("if-none-match").is_some_and(|tags| tag.as_ref().is_some_and(|tag| tags.contains(tag)))
    {
        return respond(304, fields(None), MockBody::new());
    }
    let same = field("if-range").is_none_or(|tag_| kind == Kind::Strong && Some(tag_) == tag);
    match content_range.filter(|_| same) {
        Some((part, shown)) => {
            let body = MockBody::new().data(content(version, part));
            respond(206, fields(Some(("content-range", shown))), body)
        }
        None => respond(200, fields(None), MockBody::new().data(content(version, 0..LENGTH))),
    }
}

fn asked(range: Option<String>) -> Option<Range<usize>> {
    let range = range?;
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<usize>().ok()?.min(LENGTH - 1) + 1)
}

fn shown(part: &Range<usize>) -> String {
    format!("bytes {}-{}/{LENGTH}", part.start, part.end - 1)
}

/// What a cache may know: of one version, and which of its bytes.
#[derive(Clone, Debug)]
struct Known {
    version: usize,
    bytes: [bool; LENGTH],
    since: u64,
}

impl Known {
    fn new(version: usize, part: Range<usize>, since: u64) -> Self {
        let mut bytes = [false; LENGTH];
        bytes[part].fill(true);
        Self { version, bytes, since }
    }

    fn is_whole(&self) -> bool {
        self.bytes.iter().all(|known| *known)
    }

    /// The bytes that it has for a request; none if it lacks one.
    fn answer(&self, kind: Kind, wish: &Wish) -> Option<Range<usize>> {
        let part = wish.part(kind, self.version);
        self.bytes[part.clone()].iter().all(|known| *known).then_some(part)
    }
}

struct Wish {
    range: Option<Range<usize>>,
    if_range: Option<String>,
    knows: Option<String>,
    reload: bool,
}

impl Wish {
    /// What a response of this version has for it, of which all is there.
    fn part(&self, kind: Kind, version: usize) -> Range<usize> {
        let same = self.if_range.as_ref().is_none_or(|if_range| {
            kind == Kind::Strong && tag(kind, version).as_ref() == Some(if_range)
        });
        self.range.clone().filter(|_| same).unwrap_or(0..LENGTH)
    }

    /// Whether the client has this version.
    fn has(&self, kind: Kind, version: usize) -> bool {
        self.knows.is_some() && self.knows == tag(kind, version)
    }
}

/// Plays one story; gives how many requests were answered from the store.
async fn play(kind: Kind, steps: Vec<Step>) -> Result<u64, TestCaseError> {
    let origin = Arc::new(Mutex::new(0));
    let script = origin.clone();
    let cache = Play::new(move |_, head| answered(kind, *script.lock().unwrap(), head));
    let (mut known, mut now, mut hits): (Option<Known>, _, _) = (None, 0, 0);
    for step in steps {
        let current = *origin.lock().unwrap();
        match step {
            Step::Wait(time) => {
                seconds(time).await;
                now += time;
            }
            Step::Change => *origin.lock().unwrap() += 1,
            Step::Ask { range, if_range, knows, reload } => {
                let range = range.map(|(first, more)| first..(first + more + 1).min(LENGTH));
                let tagged = |which| match which {
                    Tag::Current => tag(kind, current),
                    Tag::Former => tag(kind, current.wrapping_sub(1)),
                    Tag::None => None,
                };
                let if_range = tagged(if_range).filter(|_| range.is_some());
                let wish = Wish { range, if_range, knows: tagged(knows), reload };
                let calls = cache.origin.calls();
                let got = ask(&cache, &wish).await;
                tasks().await;
                let asked = cache.origin.requests().split_off(calls as usize);
                let asked = asked.last().map(|asked| asked.headers.contains_key("if-none-match"));
                hits += u64::from(asked.is_none());
                known = judge(kind, known, &wish, &got, asked, current, now)?;
            }
        }
    }
    Ok(hits)
}

async fn ask(cache: &Play, wish: &Wish) -> Got {
    let range = wish.range.as_ref().map(|part| format!("bytes={}-{}", part.start, part.end - 1));
    let fields = [
        range.as_deref().map(|range| ("range", range)),
        wish.if_range.as_deref().map(|tag| ("if-range", tag)),
        wish.knows.as_deref().map(|tag| ("if-none-match", tag)),
        wish.reload.then_some(("cache-control", "no-cache")),
    ];
    let fields: Vec<_> = fields.into_iter().flatten().collect();
    cache.ask(request("GET", "/", &fields)).await
}

/// Holds an answer against what is known, and gives what is known then; `asked` is
/// whether the origin was asked, and that under a condition.
fn judge(
    kind: Kind,
    known: Option<Known>,
    wish: &Wish,
    got: &Got,
    asked: Option<bool>,
    current: usize,
    now: u64,
) -> Result<Option<Known>, TestCaseError> {
    let hit = asked.is_none();
    let within = known.as_ref().and_then(|known| known.answer(kind, wish));
    let fresh = known.as_ref().is_some_and(|known| now - known.since < FRESH);
    prop_assert_eq!(hit, within.is_some() && fresh && !wish.reload, "{:?}", known);
    let validated = got.did().ends_with("fwd-status=304");
    let stored = (hit || validated).then(|| known.clone().unwrap());
    let version = stored.as_ref().map_or(current, |known| known.version);
    let part = wish.part(kind, version);
    let asked_about = kind != Kind::Untagged && within.is_some();
    // What is not stored may go out though the client has it.
    let passes = stored.is_none() && asked_about && wish.if_range.is_some() && got.status != 304;
    if wish.has(kind, version) && !passes {
        prop_assert_eq!((got.status.as_u16(), got.body.bytes()), (304, Bytes::new()));
    } else {
        prop_assert_eq!(got.body.bytes(), content(version, part.clone()));
        let ranged =
            wish.range.is_some() && wish.part(kind, version) == wish.range.clone().unwrap();
        prop_assert_eq!(got.status.as_u16(), if ranged { 206 } else { 200 });
        prop_assert_eq!(got.field("content-range") == shown(&part), ranged);
    }
    if let Some(stored) = stored {
        prop_assert_eq!(within, Some(part));
        prop_assert!(hit || stored.version == current);
        let since = if hit { stored.since } else { now };
        return Ok(Some(Known { since, ..stored }));
    }
    if wish.has(kind, current) && !asked_about && asked == Some(true) {
        // The origin has answered what the client asked: there is nothing to store.
        return Ok(known);
    }
    let new = Known::new(current, part, now);
    let Some(old) = known.filter(|_| !new.is_whole()) else {
        return Ok(Some(new).filter(|new| new.is_whole() || wish.if_range.is_none()));
    };
    if kind == Kind::Strong && old.version == current {
        let bytes = std::array::from_fn(|at| old.bytes[at] || new.bytes[at]);
        return Ok(Some(Known { bytes, ..new }));
    }
    let stays = wish.if_range.is_some() || (old.is_whole() && !asked_about);
    Ok(Some(if stays { old } else { new }))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = prop::option::weighted(0.85, (0..LENGTH, 0..LENGTH / 2));
    let tag = || select(vec![Tag::None, Tag::None, Tag::None, Tag::Current, Tag::Former]);
    let ask = (range, tag(), tag(), prop::bool::weighted(0.1));
    let step = prop_oneof![
        12 => ask.prop_map(|(range, if_range, knows, reload)| Step::Ask { range, if_range, knows, reload }),
        1 => Just(Step::Change),
        2 => (0..FRESH).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

#[test]
fn parts_agree_with_a_naive_array_of_bytes_in_any_story() {
    let long = std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1");
    let cases = if long { 20_000 } else { 400 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let hits = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let kinds = select(vec![Kind::Strong, Kind::Strong, Kind::Weak, Kind::Untagged]);
    let result = runner.run(&(kinds, steps()), |(kind, steps)| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        hits.set(hits.get() + runtime.block_on(play(kind, steps))?);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(hits.get() > u64::from(cases), "stories that hit nothing tell nothing: {hits:?}");
}

const LENGTH: usize = 40;
const FRESH: u64 = 10;
