//! Nodes that share a quota, in virtual time: what is admitted, what is left unused
//! and how often they ask, whatever they are asked for and their clocks show.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::key::{Answer, Ask, Lease, Step};
use super::terms::Terms;
use super::{AHEAD, BEAT};
use crate::Quota;

/// A quota as a store counts it, exactly and at once.
struct Store {
    terms: Terms,
    used: u64,
    at: u64,
    asked: u64,
}

impl Store {
    fn used(&mut self, now: u64) -> u64 {
        self.used = self.used.saturating_sub(now - self.at);
        self.at = now;
        self.used
    }

    fn take(&mut self, now: u64, ask: Ask) -> Answer {
        self.asked += 1;
        let charged = self.used(now) + self.terms.time_for(ask.charge);
        let fits = |permits: u32| self.terms.wait(charged, permits) <= AHEAD;
        // The most that fit.
        let (mut granted, mut beyond) = (0, ask.permits + 1);
        while granted + 1 < beyond {
            let middle = granted.midpoint(beyond);
            if fits(middle) { granted = middle } else { beyond = middle }
        }
        self.used = charged + self.terms.time_for(granted);
        Answer { granted, used: self.used }
    }

    fn give(&mut self, now: u64, permits: u32) {
        self.used = self.used(now).saturating_sub(self.terms.time_for(permits));
    }
}

/// A node, and how its clock goes.
struct Node {
    lease: Lease,
    offset: u64,
    /// How much faster it is, in millionths, and half a thousand at most.
    drift: i64,
    /// Nanoseconds between requests, on average; none while it is idle.
    pause: Option<u64>,
}

impl Node {
    fn clock(&self, now: u64) -> u64 {
        let gained = (i128::from(now) * i128::from(self.drift) / 1_000_000) as i64;
        self.offset.saturating_add(now).saturating_add_signed(gained)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Request {
        node: usize,
    },
    Asked {
        node: usize,
        charge: u32,
        permits: u32,
    },
    Answered {
        node: usize,
        charge: u32,
        permits: u32,
        granted: u32,
        used: u64,
    },
    Back {
        node: usize,
    },
    Given {
        permits: u32,
    },
    /// With all that it has.
    Dies {
        node: usize,
    },
    /// The store begins anew, with nothing in it.
    Lost,
}

struct World {
    quota: Quota,
    store: Store,
    nodes: Vec<Node>,
    seed: u64,
    admitted: Vec<u64>,
    requests: u64,
    /// The most that all had in hand at once, what is on its way included.
    held: u32,
}

impl World {
    fn new(quota: Quota, pauses: &[Option<u64>], seed: u64) -> Self {
        let terms = Terms::new(&quota, pauses.len() as u32).unwrap();
        let node = |(at, pause): (usize, &Option<u64>)| Node {
            lease: Lease::default(),
            offset: seed.rotate_left(at as u32 * 7) >> 4,
            drift: (seed.rotate_right(at as u32 * 5) % 1_000) as i64 - 500,
            pause: *pause,
        };
        Self {
            quota,
            store: Store { terms, used: 0, at: 0, asked: 0 },
            nodes: pauses.iter().enumerate().map(node).collect(),
            seed,
            admitted: Vec::new(),
            requests: 0,
            held: 0,
        }
    }

    /// Up to `most`, evenly.
    fn random(&mut self, most: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let high = self.seed >> 20;
        high % most.max(1)
    }

    fn run(&mut self, lasts: u64) {
        self.run_with(lasts, []);
    }

    fn run_with<const N: usize>(&mut self, lasts: u64, planned: [(u64, Happening); N]) {
        let mut to_come: BinaryHeap<_> = planned.into_iter().map(Reverse).collect();
        for node in 0..self.nodes.len() {
            to_come.push(Reverse((self.random(BEAT), Happening::Request { node })));
            to_come.push(Reverse((self.random(10 * BEAT), Happening::Back { node })));
        }
        while let Some(Reverse((now, happens))) = to_come.pop() {
            if now >= lasts {
                return;
            }
            if let Some(next) = self.happen(now, happens) {
                for (after, next) in next {
                    to_come.push(Reverse((now + after, next)));
                }
            }
            let held = self.nodes.iter().map(|node| node.lease.left(node.clock(now)));
            self.held = self.held.max(held.sum());
        }
    }

    fn happen(&mut self, now: u64, happens: Happening) -> Option<Vec<(u64, Happening)>> {
        let terms = self.store.terms;
        // A way to Redis or back.
        let way = 20_000 + self.random(2_000_000);
        match happens {
            Happening::Request { node: at } => {
                let pause = self.nodes[at].pause?;
                let again = (1 + self.random(2 * pause), happens);
                self.requests += 1;
                let node = &mut self.nodes[at];
                let here = node.clock(now);
                let step = node.lease.request(&terms, here, 1);
                if step == Step::Admit {
                    self.admitted.push(now);
                }
                let ask = node.lease.ask(&terms, here, step, 1);
                let asked = ask.map(|Ask { charge, permits }| {
                    (way, Happening::Asked { node: at, charge, permits })
                });
                // Who waits is admitted when the answer is there, as one that comes then.
                Some(asked.into_iter().chain([again]).collect())
            }
            Happening::Asked { node, charge, permits } => {
                let Answer { granted, used } = self.store.take(now, Ask { charge, permits });
                Some(vec![(way, Happening::Answered { node, charge, permits, granted, used })])
            }
            Happening::Answered { node: at, charge, permits, granted, used } => {
                let node = &mut self.nodes[at];
                let (here, ask) = (node.clock(now), Ask { charge, permits });
                node.lease.answered(&terms, here, ask, Answer { granted, used });
                None
            }
            Happening::Back { node: at } => {
                let node = &mut self.nodes[at];
                let permits = node.lease.tend(&terms, node.clock(now));
                let given = (permits > 0).then_some((way, Happening::Given { permits }));
                Some(given.into_iter().chain([(10 * BEAT, happens)]).collect())
            }
            Happening::Given { permits } => {
                self.store.give(now, permits);
                None
            }
            Happening::Dies { node: at } => {
                let node = &mut self.nodes[at];
                (node.lease, node.pause) = (Lease::default(), None);
                None
            }
            Happening::Lost => {
                self.store.used = 0;
                None
            }
        }
    }

    /// By how many permits the admitted go beyond burst and rate, in the span of
    /// time in which it is most.
    fn beyond(&self) -> u64 {
        let terms = &self.store.terms;
        let (mut used, mut at, mut most) = (0_u64, 0, 0);
        for time in &self.admitted {
            used = used.saturating_sub(time - at) + terms.time_for(1);
            at = *time;
            most = most.max(used);
        }
        u64::from(terms.owed(most))
    }

    /// What the rate gives in a time.
    fn rate(&self, time: u64) -> f64 {
        let a_nano = f64::from(self.quota.permits().get()) / self.quota.nanos() as f64;
        a_nano * time as f64
    }

    /// How much of the rate is admitted in all spans of so long from a time on: the
    /// least and the most of it.
    fn shares(&self, from: u64, to: u64, span: u64) -> (f64, f64) {
        let (mut least, mut most) = (f64::MAX, 0_f64);
        let mut begin = from;
        while begin + span <= to {
            let before = |time| self.admitted.partition_point(|at| *at < time);
            let admitted = before(begin + span) - before(begin);
            let share = admitted as f64 / self.rate(span);
            (least, most) = (least.min(share), most.max(share));
            begin += span / 50;
        }
        (least, most)
    }

    /// What the nodes may have in hand as it is documented, for demands that come
    /// at random: up to twice the average in a beat.
    fn bound(&self) -> u64 {
        let of = |node: &Node| {
            let beat = node.pause.map_or(0, |pause| 2 * BEAT / pause + 20);
            (2 * beat).max(self.store.terms.least.into())
        };
        self.nodes.iter().map(of).sum()
    }
}

fn cases() -> u32 {
    if std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1") { 200 } else { 16 }
}

fn quotas() -> impl Strategy<Value = Quota> {
    let burst = |permits: u32| {
        let burst = prop_oneof![Just(1), 1..permits / 2, permits..2 * permits];
        (Just(permits), burst)
    };
    (100..4_000_u32).prop_flat_map(burst).prop_map(|(permits, burst)| quota(permits, burst))
}

fn quota(permits: u32, burst: u32) -> Quota {
    Quota::per_second(permits.try_into().unwrap()).burst(burst.try_into().unwrap())
}

/// When a burst is used up, by a demand that is so many tenths of the rate: twice the
/// time that it takes on average, for who comes at random may come late.
fn steady(quota: &Quota, tenths: u64) -> u64 {
    let terms = Terms::new(quota, 1).unwrap();
    SECOND + terms.time_for(quota.bursts().unwrap().permits()) * 20 / (tenths - 10)
}

/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn never_more_is_admitted_than_the_quota_and_what_was_in_hand(
        quota in quotas(), seed: u64,
        pauses in prop::collection::vec(prop::option::weighted(0.8, 200_000..200_000_000_u64), 1..12),
    ) {
        let mut world = World::new(quota, &pauses, seed);
        world.run(8 * SECOND);
        prop_assert!(world.beyond() <= u64::from(world.held), "{} {}", world.beyond(), world.held);
        prop_assert!(u64::from(world.held) <= world.bound(), "{} {}", world.held, world.bound());
    }

    #[test]
    fn what_is_asked_for_is_used_where_it_is_more_than_the_quota(
        quota in quotas(), seed: u64, weights in prop::collection::vec(1..100_u64, 1..12),
        tenths in 12..40_u64,
    ) {
        // Each node is asked for its part.
        let (all, rate): (u64, _) = (weights.iter().sum(), u64::from(quota.permits().get()));
        let pause = |weight: &u64| Some(SECOND * 10 * all / (rate * tenths * weight));
        let pauses: Vec<_> = weights.iter().map(pause).collect();
        let mut world = World::new(quota, &pauses, seed);
        let steady = steady(&quota, tenths);
        world.run(steady + 10 * SECOND);
        let (least, most) = world.shares(steady, steady + 10 * SECOND, 5 * SECOND);
        prop_assert!(least >= 0.95 && most <= 1.02, "{} {}", least, most);
    }

    #[test]
    fn one_hot_node_uses_all_beside_nine_idle_ones(quota in quotas(), seed: u64, idle in 0..3_u64) {
        let rate = u64::from(quota.permits().get());
        let mut pauses = vec![Some(SECOND * 2 / (rate * 3))];
        // Idle, or asked for something now and then.
        pauses.resize(10, (idle > 0).then_some(idle * SECOND));
        let mut world = World::new(quota, &pauses, seed);
        let steady = steady(&quota, 15);
        world.run(steady + 10 * SECOND);
        let (least, most) = world.shares(steady, steady + 10 * SECOND, 5 * SECOND);
        prop_assert!(least >= 0.95 && most <= 1.02, "{} {}", least, most);
    }

    #[test]
    fn a_thousand_requests_a_second_take_ten_questions_at_the_most(
        permits in prop_oneof![1..1_000_u32, 1_000..20_000_u32], burst in 1..20_000_u32, seed: u64,
    ) {
        let mut world = World::new(quota(permits, burst), &[Some(SECOND / 1_000)], seed);
        world.run(20 * SECOND);
        prop_assert!(world.requests > 18_000);
        let asked = world.store.asked as f64 / world.requests as f64;
        prop_assert!(asked <= 0.01, "{}", asked);
    }

    #[test]
    fn a_node_that_dies_takes_no_more_with_it_than_was_in_hand(quota in quotas(), seed: u64) {
        let rate = u64::from(quota.permits().get());
        let mut world = World::new(quota, &[Some(SECOND / (rate * 2)); 2], seed);
        let steady = steady(&quota, 40);
        let dies = steady + 5 * SECOND;
        world.run_with(dies + 6 * SECOND, [(dies, Happening::Dies { node: 0 })]);
        prop_assert!(world.beyond() <= u64::from(world.held), "{} {}", world.beyond(), world.held);
        let (least, _) = world.shares(dies - SECOND, dies + SECOND, 2 * SECOND);
        let lost = f64::from(world.held) + world.rate(SECOND) * 0.1;
        prop_assert!(least * world.rate(2 * SECOND) >= world.rate(2 * SECOND) - lost, "{}", least);
        let (least, most) = world.shares(dies + SECOND, dies + 6 * SECOND, 5 * SECOND);
        prop_assert!(least >= 0.95 && most <= 1.02, "{} {}", least, most);
    }

    #[test]
    fn a_store_that_loses_its_data_gives_one_burst_more(quota in quotas(), seed: u64) {
        let rate = u64::from(quota.permits().get());
        let mut world = World::new(quota, &[Some(SECOND / rate); 3], seed);
        let lost = steady(&quota, 30) + SECOND;
        world.run_with(lost + 3 * SECOND, [(lost, Happening::Lost)]);
        // Of those that were taken ahead the slots are given once more, too.
        let burst = quota.bursts().unwrap().permits();
        let ahead = (world.rate(AHEAD) as u64) + 1;
        let most = u64::from(world.held) + u64::from(burst) + ahead;
        prop_assert!(world.beyond() <= most, "{} {}", world.beyond(), most);
        let (_, share) = world.shares(lost, lost + 2 * SECOND, 2 * SECOND);
        let more = (share - 1.0) * world.rate(2 * SECOND);
        prop_assert!(more > f64::from(burst) * 0.8 - 10.0, "{} {}", more, burst);
    }
}
