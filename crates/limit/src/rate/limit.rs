use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tower_edge_core::{ExtractKey, Key, RequestHead, ResponseHead};

use super::quota::Quota;

/// One quota of a layer: its name, what requests are told apart by, and what
/// they cost.
///
/// At first everybody shares it, a request costs one permit, and there is room for
/// 65,536 keys in use at a time, which takes 1 MiB.
///
/// ```
/// use tower_edge_core::{ClientIp, HeaderKey};
/// use tower_edge_limit::{Limit, Quota, Tier, nonzero};
///
/// let clients = Limit::new("client", Quota::per_second(nonzero!(100)))
///     .keyed(ClientIp::peer())
///     .keys(nonzero!(1_000_000))
///     .tier("partner", Quota::per_second(nonzero!(1_000)))
///     .tier_by(|head, _| match head.headers().contains_key("x-partner") {
///         true => Tier::Named("partner"),
///         false => Tier::Own,
///     });
/// let tokens = Limit::new("tokens", Quota::per_minute(nonzero!(50_000)))
///     .keyed(HeaderKey::new("authorization".parse()?))
///     .cost(|_| 0)
///     .charged();
/// # Ok::<(), http::header::InvalidHeaderName>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Limit {
    pub(super) tiers: Vec<(Arc<str>, Quota)>,
    pub(super) key: Option<Arc<dyn ExtractKey>>,
    pub(super) keyless: Keyless,
    pub(super) keys: usize,
    pub(super) tier_by: Option<TierBy>,
    pub(super) cost: Option<CostOf>,
    pub(super) charge: Option<ChargeOf>,
    pub(super) charged: bool,
}

/// What becomes of requests that have no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keyless {
    /// The limit does not apply to them.
    #[default]
    Admit,
    /// They are refused.
    Refuse,
    /// They share one key.
    Share,
}

/// The quota of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tier<'a> {
    /// That of the limit itself.
    #[default]
    Own,
    /// That of the [tier](Limit::tier) by this name; the limit's own where there is
    /// none.
    Named(&'a str),
    /// None: the limit does not apply.
    Exempt,
}

impl Limit {
    /// A quota that everybody shares.
    ///
    /// Clients see the name in the response fields.
    ///
    /// # Panics
    ///
    /// If the name is empty or has a character that is not printable ASCII, a quote
    /// or a backslash.
    pub fn new(name: impl Into<Arc<str>>, quota: Quota) -> Self {
        Self {
            tiers: vec![(valid(name.into()), quota)],
            key: None,
            keyless: Keyless::default(),
            keys: 65_536,
            tier_by: None,
            cost: None,
            charge: None,
            charged: false,
        }
    }

    /// Counts for each key apart; requests without one are as
    /// [`keyless`](Self::keyless) says.
    pub fn keyed(mut self, key: impl ExtractKey + 'static) -> Self {
        self.key = Some(Arc::new(key));
        self
    }

    /// As [`keyed`](Self::keyed), by a closure.
    pub fn keyed_by<F>(self, key: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> Option<Key> + Send + Sync + 'static,
    {
        self.keyed(key)
    }

    /// What becomes of requests without a key; they are admitted at first.
    pub fn keyless(mut self, keyless: Keyless) -> Self {
        self.keyless = keyless;
        self
    }

    /// Room for so many keys in use at a time, 16 bytes each, taken at once and for
    /// each tier; from Linux in pages of 2 MiB, if it gives such to who asks. A layer
    /// that there is no memory for panics when the limit is added to it.
    ///
    /// A key is in use until it has all its permits back. With more of them than
    /// there is room for, the one that would have them back the soonest is
    /// forgotten: [`Event::KeyEvicted`](tower_edge_core::Event::KeyEvicted).
    pub fn keys(mut self, keys: NonZeroUsize) -> Self {
        self.keys = keys.get();
        self
    }

    /// Another quota, for the keys that [`tier_by`](Self::tier_by) gives it to.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn tier(mut self, name: impl Into<Arc<str>>, quota: Quota) -> Self {
        self.tiers.push((valid(name.into()), quota));
        self
    }

    /// Chooses the quota of a key, or exempts it.
    ///
    /// What a key has used counts in its tier only.
    pub fn tier_by<F>(mut self, tier: F) -> Self
    where
        F: for<'a> Fn(&RequestHead<'a>, &Key) -> Tier<'a> + Send + Sync + 'static,
    {
        self.tier_by = Some(Arc::new(tier));
        self
    }

    /// What a request costs, in permits; one at first.
    ///
    /// More than the burst is never admitted. What costs nothing is admitted as
    /// long as the key owes nothing.
    pub fn cost<F>(mut self, cost: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> u32 + Send + Sync + 'static,
    {
        self.cost = Some(Arc::new(cost));
        self
    }

    /// Charges so many permits more for a response, by its head.
    ///
    /// What a key has not got is a [debt](Quota::debt), which delays its next
    /// admission.
    pub fn charge<F>(mut self, charge: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> u32 + Send + Sync + 'static,
    {
        self.charge = Some(Arc::new(charge));
        self
    }

    /// Charges what the [`Charge`](crate::Charge) in the extensions of a response says, which is
    /// taken off: what it has at the head at once, the rest at the end of the body,
    /// whole or not.
    pub fn charged(mut self) -> Self {
        self.charged = true;
        self
    }

    /// What requests are told apart by: none if the limit does not apply, or refuses
    /// who has none.
    pub(super) fn key_of(&self, head: &RequestHead<'_>) -> Option<Key> {
        let Some(extract) = &self.key else { return Some(Key::GLOBAL) };
        extract.key(head).or((self.keyless == Keyless::Share).then_some(Key::GLOBAL))
    }

    pub(super) fn cost_of(&self, head: &RequestHead<'_>) -> u32 {
        self.cost.as_ref().map_or(1, |cost| cost(head))
    }

    /// What becomes of a request of this key, by its quota's place among the tiers;
    /// none if the limit does not apply.
    pub(super) fn tier_of(&self, head: &RequestHead<'_>, key: &Key) -> Option<usize> {
        let tier = self.tier_by.as_ref().map_or(Tier::Own, |tier| tier(head, key));
        match tier {
            Tier::Own => Some(0),
            Tier::Named(name) => {
                Some(self.tiers.iter().position(|(known, _)| **known == *name).unwrap_or(0))
            }
            Tier::Exempt => None,
        }
    }

    /// Whether a response may be charged.
    pub(super) fn charges(&self) -> bool {
        self.charge.is_some() || self.charged
    }

    pub(super) fn charge_of(&self, response: &ResponseHead<'_>) -> u32 {
        self.charge.as_ref().map_or(0, |charge| charge(response))
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("tiers", &self.tiers)
            .field("keyless", &self.keyless)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

type TierBy = Arc<dyn for<'a> Fn(&RequestHead<'a>, &Key) -> Tier<'a> + Send + Sync>;
type CostOf = Arc<dyn Fn(&RequestHead<'_>) -> u32 + Send + Sync>;
type ChargeOf = Arc<dyn Fn(&ResponseHead<'_>) -> u32 + Send + Sync>;

/// A name goes into a quoted string of a field and of JSON as it is.
fn valid(name: Arc<str>) -> Arc<str> {
    let plain = |c: u8| matches!(c, b' '..=b'~') && !matches!(c, b'"' | b'\\');
    let valid = !name.is_empty() && name.bytes().all(plain);
    assert!(valid, "a name is printable ASCII without quotes");
    name
}
