use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a response costs, in permits, as its handler finds out: rows, bytes,
/// tokens.
///
/// Put it into the extensions of a response; a clone may go on adding while the
/// body is made. It is charged by the limits that are
/// [`charged`](crate::Limit::charged).
///
/// ```
/// use http::Response;
/// use tower_edge_limit::Charge;
///
/// let charge = Charge::new(12);
/// let response = Response::builder().extension(charge.clone()).body(());
/// charge.add(30);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Charge(Arc<AtomicU32>);

impl Charge {
    /// Costs so many permits by now.
    pub fn new(permits: u32) -> Self {
        Self(Arc::new(AtomicU32::new(permits)))
    }

    /// Costs so many more.
    pub fn add(&self, permits: u32) {
        let add = |before: u32| Some(before.saturating_add(permits));
        // It never gives up: there is always a sum.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// What was added since it was last taken.
    pub(super) fn take(&self) -> u32 {
        self.0.swap(0, Ordering::Relaxed)
    }
}
