use http::{HeaderMap, StatusCode};
use tower_edge_core::{Classify, Outcome, ResponseHead, ServerErrors, Verdict};

/// The default of the breaker: [`ServerErrors`], but for those that any client
/// gets who asks for a method or a version that there is not, or feigns a loop of
/// proxies: nobody is to open the circuit of all others with them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blame;

impl Classify for Blame {
    #[inline]
    fn head(&self, response: &ResponseHead<'_>) -> Verdict {
        match response.status() {
            StatusCode::NOT_IMPLEMENTED
            | StatusCode::HTTP_VERSION_NOT_SUPPORTED
            | StatusCode::LOOP_DETECTED => Verdict::Settled(Outcome::Success),
            _ => ServerErrors.head(response),
        }
    }

    #[inline]
    fn trailers(&self, trailers: Option<&HeaderMap>) -> Outcome {
        ServerErrors.trailers(trailers)
    }
}
