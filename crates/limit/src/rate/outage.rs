/// What becomes of requests that cannot be decided, since the
/// [store](crate::RateLimitLayer::store) of their quota gives no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// They are admitted.
    Open,
    /// They are refused with 503: it is not the client's fault.
    Closed,
    /// This node decides by its part: the quota divided by the last known number of
    /// nodes.
    #[default]
    Local,
}

impl OnOutage {
    /// What it is called in events.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Local => "local",
        }
    }
}
