use std::time::Duration;

/// How a call ended, for all who judge it: histograms, circuits and limits.
///
/// It is made by a [`Judge`](crate::Judge), at the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It did what was asked, or the client was at fault.
    Success,
    /// The service failed: an error, a 5xx, a gRPC status, a body that broke off.
    Failure,
    /// A success that took longer than the judge's threshold.
    Slow,
    /// Somebody dropped the future or the body before its end. Neither success
    /// nor failure, but never forgotten: a service so slow that its clients
    /// leave shows here only.
    Abandoned {
        /// How long the call had lasted by then.
        elapsed: Duration,
    },
    /// Nothing that the service did: a refusal by one of our own layers.
    Ignored,
}
