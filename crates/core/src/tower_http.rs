use http::{HeaderMap, Response};
use tower_http::classify::{ClassifiedResponse, ClassifyEos, ClassifyResponse};

use crate::{Classify, Outcome, ResponseHead, Verdict};

/// Judges by a response classifier of tower-http.
///
/// Those classifiers want a whole response, so each call copies the header
/// fields; a classifier that waits for the end of the stream costs a box more.
#[derive(Clone, Copy, Debug)]
pub struct TowerHttpClassify<C>(C);

impl<C> TowerHttpClassify<C> {
    /// Judges by `classifier`, cloned for each response.
    pub const fn new(classifier: C) -> Self {
        Self(classifier)
    }
}

impl<C> Classify for TowerHttpClassify<C>
where
    C: ClassifyResponse + Clone + Send + Sync,
    C::ClassifyEos: Send + Sync + 'static,
{
    fn head(&self, head: &ResponseHead<'_>) -> Verdict {
        let mut response = Response::new(());
        *response.status_mut() = head.status();
        *response.version_mut() = head.version();
        response.headers_mut().clone_from(head.headers());
        match self.0.clone().classify_response(&response) {
            ClassifiedResponse::Ready(Err(_)) => Verdict::Settled(Outcome::Failure),
            ClassifiedResponse::Ready(Ok(())) => Verdict::Open,
            ClassifiedResponse::RequiresEos(eos) => {
                Verdict::Deferred(Box::new(|trailers| outcome(eos.classify_eos(trailers).is_ok())))
            }
        }
    }

    fn trailers(&self, _: Option<&HeaderMap>) -> Outcome {
        Outcome::Success
    }
}

fn outcome(success: bool) -> Outcome {
    match success {
        true => Outcome::Success,
        false => Outcome::Failure,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower_http::classify::{GrpcErrorsAsFailures, ServerErrorsAsFailures};

    use super::*;
    use crate::{End, Judge};

    fn judged(classify: &dyn Classify, response: http::response::Builder, end: End<'_>) -> Outcome {
        let response = response.body(()).unwrap();
        Judge::new(classify, &ResponseHead::new(&response)).end(classify, &end, Duration::ZERO)
    }

    #[test]
    fn the_classifiers_of_tower_http_judge_heads_and_trailers() {
        let http = TowerHttpClassify::new(ServerErrorsAsFailures::new());
        let grpc = TowerHttpClassify::new(GrpcErrorsAsFailures::new());
        let mut internal = HeaderMap::new();
        internal.insert("grpc-status", "13".parse().unwrap());
        let (complete, failed) = (End::Complete(None), End::Complete(Some(&internal)));
        let head = Response::builder;
        assert_eq!(judged(&http, head(), complete), Outcome::Success);
        assert_eq!(judged(&http, head().status(500), complete), Outcome::Failure);
        assert_eq!(judged(&http, head(), End::Failed), Outcome::Failure);
        assert_eq!(judged(&grpc, head(), failed), Outcome::Failure);
        assert_eq!(judged(&grpc, head().header("grpc-status", "0"), complete), Outcome::Success);
    }
}
