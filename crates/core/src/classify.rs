use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::{End, Outcome, Refusal, ResponseHead};

/// Judges responses; object-safe, so that a layer holds it as `Arc<dyn Classify>`.
pub trait Classify: Send + Sync {
    /// Judges the head.
    fn head(&self, response: &ResponseHead<'_>) -> Verdict;

    /// Judges a body that came to its end, when the head left it open.
    fn trailers(&self, trailers: Option<&HeaderMap>) -> Outcome;
}

/// What the head of a response says about the outcome.
#[non_exhaustive]
pub enum Verdict {
    /// The outcome, whatever becomes of the body.
    Settled(Outcome),
    /// The end of the body decides, by [`Classify::trailers`].
    Open,
    /// The end of the body decides, by a function that knows this head.
    Deferred(Decide),
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled(outcome) => f.debug_tuple("Settled").field(outcome).finish(),
            Self::Open => f.write_str("Open"),
            Self::Deferred(_) => f.write_str("Deferred"),
        }
    }
}

/// The default: 5xx and failed gRPC statuses, in head or trailers, are failures.
///
/// The gRPC statuses that count are those that blame the server: UNKNOWN,
/// DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and DATA_LOSS. UNIMPLEMENTED does
/// not: any client gets it that calls a method which does not exist.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerErrors;

impl Classify for ServerErrors {
    #[inline]
    fn head(&self, response: &ResponseHead<'_>) -> Verdict {
        if response.status().is_server_error() || grpc_failed(response.headers()) {
            Verdict::Settled(Outcome::Failure)
        } else {
            Verdict::Open
        }
    }

    #[inline]
    fn trailers(&self, trailers: Option<&HeaderMap>) -> Outcome {
        match trailers {
            Some(trailers) if grpc_failed(trailers) => Outcome::Failure,
            _ => Outcome::Success,
        }
    }
}

/// Judges as a layer does: by its default, or by what the user chose instead.
///
/// The default is known when this is compiled, and costs no call through a table.
#[derive(Clone)]
pub struct Classifier<D> {
    default: D,
    own: Option<Arc<dyn Classify>>,
}

impl<D> Classifier<D> {
    /// Judges by the default of a layer.
    pub const fn new(default: D) -> Self {
        Self { default, own: None }
    }

    /// Judges by `classify` from now on.
    pub fn replace(&mut self, classify: impl Classify + 'static) {
        self.own = Some(Arc::new(classify));
    }
}

impl<D: Classify> Classify for Classifier<D> {
    #[inline]
    fn head(&self, response: &ResponseHead<'_>) -> Verdict {
        match &self.own {
            None => self.default.head(response),
            Some(own) => own.head(response),
        }
    }

    #[inline]
    fn trailers(&self, trailers: Option<&HeaderMap>) -> Outcome {
        match &self.own {
            None => self.default.trailers(trailers),
            Some(own) => own.trailers(trailers),
        }
    }
}

impl<D> fmt::Debug for Classifier<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classifier").field("replaced", &self.own.is_some()).finish()
    }
}

/// Makes an [`Outcome`] of a verdict on the head, the end of the body and the
/// time it took.
#[derive(Debug)]
pub struct Judge(Held);

impl Judge {
    /// Judges a response by its head, to be finished by [`end`](Self::end).
    ///
    /// A [`Refusal`] of one of our layers is ignored, whatever `classify` is.
    #[inline]
    pub fn new(classify: &(impl Classify + ?Sized), response: &ResponseHead<'_>) -> Self {
        let verdict = match response.extensions().get::<Refusal>() {
            Some(_) => Verdict::Settled(Outcome::Ignored),
            None => classify.head(response),
        };
        Self(match verdict {
            Verdict::Open => Held::Open,
            Verdict::Settled(Outcome::Success) => Held::Success,
            Verdict::Settled(Outcome::Failure) => Held::Failure,
            Verdict::Settled(Outcome::Ignored) => Held::Ignored,
            other => Held::Other(Box::new(other)),
        })
    }

    /// The outcome, `elapsed` after the call began.
    #[inline]
    pub fn end(
        self,
        classify: &(impl Classify + ?Sized),
        end: &End<'_>,
        elapsed: Duration,
    ) -> Outcome {
        match (self.0, end) {
            (Held::Success, _) => Outcome::Success,
            (Held::Failure, _) => Outcome::Failure,
            (Held::Ignored, _) => Outcome::Ignored,
            (Held::Other(verdict), _) => finally(*verdict, classify, end, elapsed),
            (Held::Open, _) => finally(Verdict::Open, classify, end, elapsed),
        }
    }
}

/// A verdict in two words, as almost all are: each layer's body holds one.
#[derive(Debug)]
enum Held {
    Open,
    Success,
    Failure,
    Ignored,
    Other(Box<Verdict>),
}

#[inline(always)]
fn finally(
    verdict: Verdict,
    classify: &(impl Classify + ?Sized),
    end: &End<'_>,
    elapsed: Duration,
) -> Outcome {
    match (verdict, end) {
        (Verdict::Settled(outcome), _) => outcome,
        (_, End::Failed) => Outcome::Failure,
        (_, End::Dropped) => Outcome::Abandoned { elapsed },
        (Verdict::Open, End::Complete(trailers)) => classify.trailers(*trailers),
        (Verdict::Deferred(decide), End::Complete(trailers)) => decide(*trailers),
    }
}

type Decide = Box<dyn FnOnce(Option<&HeaderMap>) -> Outcome + Send + Sync>;

#[inline]
fn grpc_failed(fields: &HeaderMap) -> bool {
    !fields.is_empty() && grpc_status_failed(fields)
}

fn grpc_status_failed(fields: &HeaderMap) -> bool {
    let status = fields.get(&GRPC_STATUS).and_then(|status| status.to_str().ok());
    matches!(status.map(str::trim), Some("2" | "4" | "13" | "14" | "15"))
}

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;
    use crate::Reason;

    const ELAPSED: Duration = Duration::from_millis(30);

    fn judged(response: http::response::Builder, end: End<'_>) -> Outcome {
        let response = response.body(()).unwrap();
        let judge = Judge::new(&ServerErrors, &ResponseHead::new(&response));
        judge.end(&ServerErrors, &end, ELAPSED)
    }

    #[test]
    fn the_head_and_the_end_decide_together() {
        let mut unavailable = HeaderMap::new();
        unavailable.insert("grpc-status", "14".parse().unwrap());
        let mut not_found = HeaderMap::new();
        not_found.insert("grpc-status", "5".parse().unwrap());
        let abandoned = Outcome::Abandoned { elapsed: ELAPSED };
        let head = Response::builder;
        for (response, end, outcome) in [
            (head(), End::Complete(None), Outcome::Success),
            (head(), End::Complete(Some(&not_found)), Outcome::Success),
            (head(), End::Complete(Some(&unavailable)), Outcome::Failure),
            (head(), End::Failed, Outcome::Failure),
            (head(), End::Dropped, abandoned),
            (head().status(404), End::Complete(None), Outcome::Success),
            (head().status(503), End::Complete(None), Outcome::Failure),
            (head().status(500), End::Dropped, Outcome::Failure),
            (head().header("grpc-status", "13"), End::Complete(None), Outcome::Failure),
            (head().header("grpc-status", "0"), End::Complete(None), Outcome::Success),
            (head().header("grpc-status", "12"), End::Complete(None), Outcome::Success),
        ] {
            let shown = format!("{response:?} {end:?}");
            assert_eq!(judged(response, end), outcome, "{shown}");
        }
    }

    #[test]
    fn what_a_head_settles_no_end_changes() {
        struct Always(Outcome);
        impl Classify for Always {
            fn head(&self, _: &ResponseHead<'_>) -> Verdict {
                Verdict::Settled(self.0)
            }

            fn trailers(&self, _: Option<&HeaderMap>) -> Outcome {
                unreachable!("nobody asks about trailers")
            }
        }
        let (response, abandoned) = (Response::new(()), Outcome::Abandoned { elapsed: ELAPSED });
        for outcome in
            [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Slow, abandoned]
        {
            let mut always = Classifier::new(ServerErrors);
            always.replace(Always(outcome));
            for end in [End::Complete(None), End::Failed, End::Dropped] {
                let judge = Judge::new(&always, &ResponseHead::new(&response));
                assert_eq!(judge.end(&always, &end, Duration::ZERO), outcome, "{end:?}");
            }
        }
    }

    #[test]
    fn a_refusal_of_ours_is_ignored() {
        let refused = Response::builder().status(503).extension(Refusal::new(Reason::Overloaded));
        assert_eq!(judged(refused, End::Complete(None)), Outcome::Ignored);
    }
}
