use std::time::Duration;

/// How a call ended, for all who judge it: histograms, circuits and limits.
///
/// It is made by a [`Judge`](crate::Judge), at the end of the body; who times calls
/// makes [`slow`](Self::slow_if) ones of successes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It did what was asked, or the client was at fault.
    Success,
    /// The service failed: an error, a 5xx, a gRPC status, a body that broke off.
    Failure,
    /// A success that took longer than the layer's threshold.
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

impl Outcome {
    /// Calls a success slow, if it is; a failure stays one.
    #[must_use]
    pub fn slow_if(self, is_slow: bool) -> Self {
        match self {
            Self::Success if is_slow => Self::Slow,
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_is_slow() {
        let success = Outcome::Success;
        assert_eq!((success.slow_if(true), success.slow_if(false)), (Outcome::Slow, success));
        for other in [Outcome::Failure, Outcome::Ignored] {
            assert_eq!(other.slow_if(true), other);
        }
    }
}
