//! Random stories of requests, changes of the origin, and time; the cache is held
//! against a [`Model`].

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::sample::select;
use tower_edge_core::{Clock, RequestHead};
use tower_edge_testkit::Answer;

use crate::model::Model;
use crate::play::{Got, Play, answer, cache, request, seconds, start};
use crate::shelf::Shelf;

/// What a client asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) method: &'static str,
    pub(crate) control: &'static str,
    pub(crate) language: Option<&'static str>,
    pub(crate) authorized: bool,
}

/// What the origin answers, until it changes.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) control: &'static str,
    /// Seconds after `Date`; no date at all is `Some(None)`.
    pub(crate) expires: Option<Option<u64>>,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
    pub(crate) modified_at: u64,
    pub(crate) vary: Option<&'static str>,
    pub(crate) age: u64,
    pub(crate) dated_before: u64,
    pub(crate) cookie: bool,
    /// Whether it names its target in `Content-Location`.
    pub(crate) located: bool,
}

impl Wish {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.control.split(", ").any(|directive| directive == name)
    }

    /// The argument of a directive; for ever, if it has none.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        argument(self.control, name).or(self.has(name).then_some(u64::MAX))
    }

    fn fields(&self) -> Vec<(&'static str, &'static str)> {
        let control = (!self.control.is_empty()).then_some(("cache-control", self.control));
        let language = self.language.map(|language| ("accept-language", language));
        let token = self.authorized.then_some(("authorization", "Bearer x"));
        [control, language, token].into_iter().flatten().collect()
    }
}

impl Response {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.control.split(", ").any(|directive| directive == name)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        argument(self.control, name)
    }

    fn fields(&self, now: u64) -> Vec<(&'static str, String)> {
        let generated = START_SECONDS + now - self.dated_before;
        let expires =
            self.expires.map(|after| after.map_or("0".into(), |after| date(generated + after)));
        let age = (self.age > 0).then(|| self.age.to_string());
        let control = (!self.control.is_empty()).then(|| self.control.to_owned());
        let all = [
            ("date", Some(date(generated))),
            ("cache-control", control),
            ("expires", expires),
            ("etag", self.etag.clone()),
            ("last-modified", self.modified.clone()),
            ("vary", self.vary.map(str::to_owned)),
            ("age", age),
            ("set-cookie", self.cookie.then(|| "a=b".to_owned())),
            ("content-location", self.located.then(|| "/".to_owned())),
            ("x-user", Some("one".to_owned())),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask(Wish),
    Change(Response),
    Wait(u64),
    /// The cache starts anew, with nothing but the tier that was behind it.
    Restart,
}

/// An origin that notes what it answered last.
#[derive(Debug)]
struct Origin {
    response: Response,
    version: u64,
    now: u64,
    sent: Option<Sent>,
    answers: u64,
}

#[derive(Clone, Debug)]
struct Sent {
    number: u64,
    response: Response,
    not_modified: bool,
}

impl Origin {
    fn new(response: Response) -> Self {
        Self { response, version: 1, now: 0, sent: None, answers: 0 }
    }

    fn play(&mut self, number: u64, head: &RequestHead<'_>) -> Answer {
        let response =
            self.current(head.headers().get("accept-language").map(|l| l.to_str().unwrap()));
        let field = |name| head.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let known = match (field("if-none-match"), field("if-modified-since")) {
            (Some(tags), _) => response.etag.as_ref().is_some_and(|tag| tags.contains(tag)),
            (None, since) => since.is_some() && since == response.modified,
        };
        let not_modified = known && response.status == 200 && head.method() != "POST";
        let fields = response.fields(self.now);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let status = if not_modified { 304 } else { response.status };
        let body =
            if not_modified || head.method() == "HEAD" { "".into() } else { number.to_string() };
        self.sent = Some(Sent { number, response, not_modified });
        self.answers += 1;
        answer(status, &fields, &body)
    }

    /// The response with the validators of this version and language.
    fn current(&self, language: Option<&str>) -> Response {
        let version = self.version;
        let modified_at = START_SECONDS - 1_000 + version;
        let tag = |_| format!("\"{version}-{}\"", language.unwrap_or("any"));
        let response = self.response.clone();
        Response {
            etag: response.etag.map(tag),
            modified: response.modified.map(|_| date(modified_at)),
            modified_at,
            ..response
        }
    }
}

/// Plays one story, and holds each answer against the model.
async fn play(first: Response, steps: Vec<Step>) -> Result<u64, TestCaseError> {
    let origin = Arc::new(Mutex::new(Origin::new(first)));
    let shelf = Shelf::new();
    let begin = |now| {
        let (script, sent) = (origin.clone(), origin.lock().unwrap().answers);
        let clock = Clock::anchored(start() + Duration::from_secs(now));
        let layer = cache().clock(clock).tier(shelf.clone());
        Play::with(layer, move |number, head| script.lock().unwrap().play(sent + number, head))
    };
    let mut play = begin(0);
    let (mut model, mut now, mut hits) = (Model::default(), 0, 0);
    for step in steps {
        match step {
            Step::Wait(time) => {
                seconds(time).await;
                now += time;
                origin.lock().unwrap().now = now;
            }
            Step::Change(response) => {
                let mut origin = origin.lock().unwrap();
                origin.version += 1;
                origin.response = response;
            }
            Step::Restart => {
                play.cache.flush().await.unwrap();
                play = begin(now);
            }
            Step::Ask(wish) => {
                let got = play.ask(request(wish.method, "/", &wish.fields())).await;
                let sent = origin.lock().unwrap().sent.take();
                hits += u64::from(sent.is_none());
                judge(&mut model, &wish, &got, sent, now)?;
            }
        }
    }
    Ok(hits)
}

fn judge(
    model: &mut Model,
    wish: &Wish,
    got: &Got,
    sent: Option<Sent>,
    now: u64,
) -> Result<(), TestCaseError> {
    let verdict = model.verdict(wish, now);
    let safe = wish.method != "POST";
    let Some(sent) = sent else {
        prop_assert!(safe, "an unsafe request was not written through (§4)");
        if got.status == 504 && wish.has("only-if-cached") {
            prop_assert!(!verdict.must, "there was a response: {verdict:?}");
            return Ok(());
        }
        let age: u64 = got.field("age").parse().unwrap();
        let number = got.text().parse::<u64>().ok();
        let allowed = |&(stored, old): &(u64, u64)| {
            old == age && (wish.method == "HEAD" || number == Some(stored))
        };
        prop_assert!(verdict.may.iter().any(allowed), "{number:?} aged {age}: {verdict:?}");
        let excluded = ["private=\"x-user\"", "no-cache=\"x-user\""];
        let named = excluded.iter().any(|named| got.field("cache-control").contains(named));
        prop_assert!(got.fields.contains_key("x-user") != named, "§§5.2.2.4, 5.2.2.7");
        return Ok(());
    };
    prop_assert!(!wish.has("only-if-cached") || !safe, "§5.2.1.7");
    prop_assert!(!(safe && verdict.must), "it was fresh, and not served: {verdict:?}");
    if sent.not_modified && wish.method == "GET" {
        let number = got.text().parse().unwrap();
        let meant = model.validated(wish, &sent.response, number, now);
        prop_assert!(meant, "{number} is not what the origin was asked about");
    } else if !sent.not_modified {
        let text = if wish.method == "HEAD" { String::new() } else { sent.number.to_string() };
        prop_assert_eq!((got.status.as_u16(), got.text()), (sent.response.status, text));
        model.answered(wish, &sent.response, sent.number, now);
    }
    Ok(())
}

fn argument(control: &str, name: &str) -> Option<u64> {
    let pairs = control.split(", ").filter_map(|directive| directive.split_once('='));
    pairs.filter(|(found, _)| *found == name).find_map(|(_, argument)| argument.parse().ok())
}

fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn wishes() -> impl Strategy<Value = Wish> {
    let method = select(vec!["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST"]);
    let language = select(vec![None, Some("de"), Some("en")]);
    let wish = (method, select(WISHES), language, prop::bool::weighted(0.1));
    wish.prop_map(|(method, control, language, authorized)| Wish {
        method,
        control,
        language,
        authorized,
    })
}

fn responses() -> impl Strategy<Value = Response> {
    let status = select(vec![200, 200, 200, 200, 302, 404, 500]);
    let expires = prop::option::weighted(0.2, prop::option::of(0_u64..40));
    let validators = (prop::bool::ANY, prop::bool::ANY);
    let vary = select(vec![None, None, Some("accept-language"), Some("*")]);
    let times = (select(vec![0, 0, 0, 3, 20]), select(vec![0, 0, 0, 5, 30]));
    let flags = (prop::bool::weighted(0.05), prop::bool::weighted(0.3));
    let all = (status, select(CONTROLS), expires, validators, vary, times, flags);
    all.prop_map(|(status, control, expires, (tag, date), vary, (age, dated_before), flags)| {
        let (cookie, located) = flags;
        let (etag, modified) = (tag.then(String::new), date.then(String::new));
        let modified_at = 0;
        Response {
            status,
            control,
            expires,
            etag,
            modified,
            modified_at,
            vary,
            age,
            dated_before,
            cookie,
            located,
        }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => wishes().prop_map(Step::Ask),
        2 => (0_u64..25).prop_map(Step::Wait),
        1 => responses().prop_map(Step::Change),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

fn tried(cases: u32) -> u64 {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let hits = std::cell::Cell::new(0);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&(responses(), steps()), |(first, steps)| {
        hits.set(hits.get() + runtime().block_on(play(first, steps))?);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    hits.get()
}

#[test]
fn the_cache_agrees_with_the_text_in_any_story() {
    let long = std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1");
    let cases = if long { 50_000 } else { 400 };
    let hits = tried(cases);
    assert!(hits > u64::from(cases), "stories that hit nothing tell nothing: {hits}");
}

/// Sun, 06 Nov 1994 08:49:37 GMT, in seconds.
pub(crate) const START_SECONDS: u64 = 784_111_777;

const WISHES: &[&str] = &[
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "no-cache",
    "no-store",
    "max-age=10",
    "min-fresh=5",
    "max-stale",
    "max-stale=10",
    "only-if-cached",
    "max-age=0, max-stale=5",
];

const CONTROLS: &[&str] = &[
    "",
    "max-age=10",
    "max-age=60",
    "max-age=0",
    "s-maxage=20",
    "max-age=5, s-maxage=40",
    "public",
    "public, max-age=30",
    "no-cache",
    "no-cache, max-age=60",
    "no-store",
    "no-store, max-age=30",
    "no-store, must-understand, max-age=30",
    "private, max-age=60",
    "must-revalidate, max-age=15",
    "proxy-revalidate, max-age=15",
    "private=\"x-user\", max-age=30",
    "no-cache=\"x-user\", max-age=30",
];
