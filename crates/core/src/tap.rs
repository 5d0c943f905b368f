use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};

use crate::ResponseHead;

/// Watches a body: each data frame, then the end.
pub trait Tap<D> {
    /// Sees a data frame on its way out.
    fn data(&mut self, data: &D);

    /// Sees that the body has nothing to give for now, each time that it is asked
    /// in vain; does nothing by default.
    fn pending(&mut self) {}

    /// Sees the end; called exactly once, also when the body is dropped.
    fn end(&mut self, end: End<'_>);
}

/// Watches where there is somebody who does: a layer need not have two bodies for
/// what it watches and what it lets pass.
impl<D, T: Tap<D>> Tap<D> for Option<T> {
    fn data(&mut self, data: &D) {
        if let Some(tap) = self {
            tap.data(data);
        }
    }

    fn pending(&mut self) {
        if let Some(tap) = self {
            tap.pending();
        }
    }

    fn end(&mut self, end: End<'_>) {
        if let Some(tap) = self {
            tap.end(end);
        }
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// It came to its end; with its trailers, if it had any. Who stores it still
    /// compares its length with what was announced.
    Complete(Option<&'a HeaderMap>),
    /// It broke off with an error.
    Failed,
    /// It was dropped before its end.
    Dropped,
}

/// The number of bytes after which a response body is whole even though nobody
/// polled it to its end.
///
/// hyper drops an HTTP/1 body once `Content-Length` bytes are written, and never
/// polls one for HEAD. The number decides only what a *drop* means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected(u64);

impl Expected {
    /// Not known: a body is whole when it was read to its end. More than any body has:
    /// in a word, because each layer's body holds one.
    pub const UNKNOWN: Self = Self(u64::MAX);

    /// None for HEAD, 1xx, 204 and 304 and for 2xx to CONNECT (RFC 9110 §6.4.1);
    /// else `Content-Length`; else the exact size that the body itself reports.
    #[inline]
    pub fn of(method: &Method, response: &ResponseHead<'_>, size: &SizeHint) -> Self {
        let status = response.status();
        let bodiless = method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || (method == Method::CONNECT && status.is_success());
        if bodiless {
            return Self(0);
        }
        let fields = response.headers();
        let announced = if fields.is_empty() { None } else { content_length(fields) };
        Self::from(announced.or_else(|| size.exact()))
    }

    /// Known only from the body itself, as for requests.
    pub fn by_size(size: &SizeHint) -> Self {
        Self::from(size.exact())
    }

    /// The number of bytes, where it is known.
    pub fn bytes(self) -> Option<u64> {
        (self != Self::UNKNOWN).then_some(self.0)
    }

    fn from(bytes: Option<u64>) -> Self {
        bytes.map_or(Self::UNKNOWN, Self)
    }
}

/// Lets a [`Tap`] watch a body; the only way a layer does.
///
/// Frames, trailers, errors, `size_hint` and `is_end_stream` pass unchanged, and
/// the body is not polled again after its end. A body that knows that a frame is
/// its last has ended with it. Allocates nothing. Dropping it tells the tap at once: [`End::Complete`] when all expected bytes were read,
/// else [`End::Dropped`].
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct TapBody<B: Body, T: Tap<B::Data>> {
    #[pin]
    body: B,
    /// Taken when the end is told.
    tap: Option<T>,
    /// What is still to come of the expected bytes.
    left: Expected,
}

impl<B: Body, T: Tap<B::Data>> TapBody<B, T> {
    /// Shows `body` to `tap`.
    pub fn new(body: B, tap: T, expected: Expected) -> Self {
        Self { body, tap: Some(tap), left: expected }
    }

    /// The tap; none once it was told the end.
    pub fn tap(self: Pin<&mut Self>) -> Option<&mut T> {
        self.project().tap.as_mut()
    }
}

impl<B: Body, T: Tap<B::Data>> Body for TapBody<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        if this.tap.is_none() {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
            if let Some(tap) = this.tap {
                tap.pending();
            }
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(tap)) = (frame.data_ref(), this.tap.as_mut()) {
                    this.left.0 = this.left.0.saturating_sub(data.remaining() as u64);
                    tap.data(data);
                    if this.body.is_end_stream() {
                        tell(this.tap, End::Complete(None));
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    tell(this.tap, End::Complete(Some(trailers)));
                }
            }
            Some(Err(_)) => tell(this.tap, End::Failed),
            None => tell(this.tap, End::Complete(None)),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.tap.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.tap {
            Some(_) => self.body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

#[pinned_drop]
impl<B: Body, T: Tap<B::Data>> PinnedDrop for TapBody<B, T> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if this.tap.is_none() {
            return;
        }
        let whole = this.left.0 == 0 || this.body.is_end_stream();
        tell(this.tap, if whole { End::Complete(None) } else { End::Dropped });
    }
}

/// `Content-Length`, which is digits only (RFC 9110 §8.6); none if two differ.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let value = values.next()?;
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|c| c.is_ascii_digit()))?;
    values.all(|other| other == value).then(|| digits.parse().ok())?
}

/// Tells the end where the tap is: it may be large.
fn tell<D, T: Tap<D>>(tap: &mut Option<T>, end: End<'_>) {
    let told = Told(tap);
    if let Some(tap) = told.0.as_mut() {
        tap.end(end);
    }
}

/// Drops the tap, also when it panics: it is told once.
struct Told<'a, T>(&'a mut Option<T>);

impl<T> Drop for Told<'_, T> {
    fn drop(&mut self) {
        // Where it is: to take it would move it.
        *self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use bytes::Bytes;
    use futures_util::FutureExt;
    use http::Response;
    use http_body_util::{BodyExt, Full, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    const UNKNOWN: Expected = Expected::UNKNOWN;

    #[derive(Debug, PartialEq)]
    enum Seen {
        Data(usize),
        Pending,
        Complete { trailers: bool },
        Failed,
        Dropped,
    }

    struct Note(mpsc::UnboundedSender<Seen>);

    impl Tap<Bytes> for Note {
        fn data(&mut self, data: &Bytes) {
            let _ = self.0.send(Seen::Data(data.len()));
        }

        fn pending(&mut self) {
            let _ = self.0.send(Seen::Pending);
        }

        fn end(&mut self, end: End<'_>) {
            let _ = self.0.send(match end {
                End::Complete(trailers) => Seen::Complete { trailers: trailers.is_some() },
                End::Failed => Seen::Failed,
                End::Dropped => Seen::Dropped,
            });
        }
    }

    type Item = Result<Frame<Bytes>, &'static str>;

    /// Reads `polls` frames of `items`, drops the body, and tells what was seen.
    async fn watched(items: Vec<Item>, expected: Expected, polls: usize) -> Vec<Seen> {
        let (sender, mut seen) = mpsc::unbounded_channel();
        let items = items.into_iter();
        let stream = futures_util::stream::iter(items);
        let mut body = TapBody::new(StreamBody::new(stream), Note(sender), expected);
        for _ in 0..polls {
            let _ = body.frame().await;
        }
        drop(body);
        let mut all = Vec::new();
        while let Some(one) = seen.recv().await {
            all.push(one);
        }
        all
    }

    fn data(bytes: &'static str) -> Item {
        Ok(Frame::data(Bytes::from_static(bytes.as_bytes())))
    }

    fn expected(method: Method, response: http::response::Builder, size: &SizeHint) -> Expected {
        Expected::of(&method, &ResponseHead::new(&response.body(()).unwrap()), size)
    }

    #[tokio::test]
    async fn the_end_is_told_once() {
        let trailers = || Ok(Frame::trailers(HeaderMap::new()));
        let complete = |trailers| Seen::Complete { trailers };
        let two = || vec![data("ab"), data("c")];
        for (items, expected, polls, seen) in [
            (two(), UNKNOWN, 3, vec![Seen::Data(2), Seen::Data(1), complete(false)]),
            (two(), UNKNOWN, 9, vec![Seen::Data(2), Seen::Data(1), complete(false)]),
            (two(), UNKNOWN, 2, vec![Seen::Data(2), Seen::Data(1), Seen::Dropped]),
            (two(), Expected(3), 2, vec![Seen::Data(2), Seen::Data(1), complete(false)]),
            (two(), Expected(3), 1, vec![Seen::Data(2), Seen::Dropped]),
            (two(), Expected(0), 0, vec![complete(false)]),
            (vec![data("a"), trailers()], UNKNOWN, 2, vec![Seen::Data(1), complete(true)]),
            (vec![data("a"), Err("broken")], UNKNOWN, 9, vec![Seen::Data(1), Seen::Failed]),
        ] {
            assert_eq!(watched(items, expected, polls).await, seen);
        }
    }

    #[tokio::test]
    async fn a_body_that_nobody_watches_passes_to_its_end() {
        let (sender, mut seen) = mpsc::unbounded_channel();
        for (tap, told) in [(Some(Note(sender)), 2), (None, 0)] {
            let frames = futures_util::stream::iter([data("ab"), data("c")]);
            let body = TapBody::new(StreamBody::new(frames), tap, UNKNOWN);
            assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
            for _ in 0..told {
                assert!(matches!(seen.try_recv(), Ok(Seen::Data(_))));
            }
            assert_eq!(seen.try_recv().is_ok(), told > 0, "the end");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_waited_for_is_seen_to_be() {
        let (sender, mut seen) = mpsc::unbounded_channel();
        let frames = futures_util::stream::pending::<Item>();
        let mut body = TapBody::new(StreamBody::new(frames), Note(sender), UNKNOWN);
        for _ in 0..2 {
            let frame = futures_util::FutureExt::now_or_never(body.frame());
            assert!(frame.is_none());
            assert_eq!(seen.recv().await, Some(Seen::Pending));
        }
        drop(body);
        assert_eq!(seen.recv().await, Some(Seen::Dropped));
    }

    #[tokio::test]
    async fn a_body_known_to_be_at_its_end_is_complete_when_dropped() {
        let (sender, mut seen) = mpsc::unbounded_channel();
        drop(TapBody::new(Full::<Bytes>::default(), Note(sender), UNKNOWN));
        assert_eq!(seen.recv().await, Some(Seen::Complete { trailers: false }));
    }

    #[tokio::test]
    async fn a_frame_that_is_known_to_be_the_last_ends_the_body() {
        let (sender, mut seen) = mpsc::unbounded_channel();
        let mut body = TapBody::new(Full::new(Bytes::from("ab")), Note(sender), UNKNOWN);
        assert!(Pin::new(&mut body).tap().is_some());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert_eq!(seen.recv().await, Some(Seen::Data(2)));
        assert_eq!(seen.recv().await, Some(Seen::Complete { trailers: false }));
        assert!(Pin::new(&mut body).tap().is_none() && body.is_end_stream());
        assert!(body.frame().await.is_none());
        drop(body);
        assert_eq!(seen.recv().await, None);
    }

    #[test]
    fn a_tap_that_panics_is_not_told_again() {
        struct Broken(mpsc::UnboundedSender<()>);
        impl Tap<Bytes> for Broken {
            fn data(&mut self, _: &Bytes) {}
            fn end(&mut self, _: End<'_>) {
                let _ = self.0.send(());
                panic!("on purpose");
            }
        }
        let (sender, mut told) = mpsc::unbounded_channel();
        let mut body = TapBody::new(Full::new(Bytes::from("ab")), Broken(sender), UNKNOWN);
        let polled = catch_unwind(AssertUnwindSafe(|| drop(body.frame().now_or_never())));
        assert!(polled.is_err());
        drop(body);
        assert_eq!((told.try_recv().is_ok(), told.try_recv().is_err()), (true, true));
    }

    #[test]
    fn the_expected_length_is_fixed_by_the_head() {
        let ok = Response::builder;
        let (none, five) = (SizeHint::new(), SizeHint::with_exact(5));
        let length = || ok().header("content-length", "7");
        for (method, response, size, bytes) in [
            (Method::GET, ok(), &none, None),
            (Method::GET, ok(), &five, Some(5)),
            (Method::GET, length(), &five, Some(7)),
            (Method::HEAD, length(), &none, Some(0)),
            (Method::GET, length().status(304), &none, Some(0)),
            (Method::GET, ok().status(204), &none, Some(0)),
            (Method::GET, ok().status(101), &none, Some(0)),
            (Method::CONNECT, ok(), &none, Some(0)),
            (Method::CONNECT, ok().status(407), &five, Some(5)),
            (Method::GET, ok().header("content-length", "x"), &none, None),
            (Method::GET, ok().header("content-length", "+7"), &none, None),
            (Method::GET, length().header("content-length", "7"), &none, Some(7)),
            (Method::GET, length().header("content-length", "8"), &none, None),
        ] {
            assert_eq!(expected(method, response, size).bytes(), bytes);
        }
    }

    #[tokio::test]
    async fn size_and_frames_pass_unchanged() {
        struct Deaf;
        impl<D> Tap<D> for Deaf {
            fn data(&mut self, _: &D) {}
            fn end(&mut self, _: End<'_>) {}
        }
        let body = TapBody::new(Full::new(Bytes::from_static(b"abc")), Deaf, UNKNOWN);
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        let read: Result<_, Infallible> = body.collect().await;
        assert_eq!(read.unwrap().to_bytes(), "abc");
    }
}
