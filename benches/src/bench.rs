use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};

use crate::args::{Mode, UsageError};
use crate::meter::Meter;
use crate::within::Within;
use crate::{Beside, Calls, Clones, Reply, Requests, Stage, Upstream, Work};

/// A group of scenarios, each done by several implementations.
#[derive(Debug)]
pub struct Bench {
    group: &'static str,
    cases: Vec<Case>,
}

impl Bench {
    /// An empty group; its name is the first part of each id.
    pub fn new(group: &'static str) -> Self {
        Self { group, cases: Vec::new() }
    }

    /// Adds one implementation of one scenario.
    ///
    /// It is set up only if it is asked for, within a runtime of its own.
    pub fn case<W: Work + 'static>(
        &mut self,
        scenario: &'static str,
        implementation: &'static str,
        set_up: impl Fn() -> W + 'static,
    ) {
        self.add(scenario, implementation, 1, set_up);
    }

    fn add<W: Work + 'static>(
        &mut self,
        scenario: &'static str,
        implementation: &'static str,
        weight: u64,
        set_up: impl Fn() -> W + 'static,
    ) {
        let id = format!("{}/{scenario}/{implementation}", self.group);
        let set_up = Box::new(move || Box::new(set_up()) as Box<dyn Work>);
        self.cases.push(Case { id, scenario, implementation, weight, set_up });
    }

    /// Adds one implementation of a scenario: the layer that goes around the
    /// upstream, and what it replies once it is warm.
    pub fn calls<S>(
        &mut self,
        scenario: &Scenario,
        implementation: &'static str,
        reply: Reply,
        layer: impl Fn(Upstream) -> S + 'static,
    ) where
        Calls<S>: Work + 'static,
    {
        self.calls_within(scenario, implementation, reply, |work| work(), layer);
    }

    /// As [`calls`](Self::calls), where `within` runs what it is given, once: with
    /// a recorder of metrics of its own, say.
    pub fn calls_within<S>(
        &mut self,
        scenario: &Scenario,
        implementation: &'static str,
        reply: Reply,
        within: impl Fn(&mut dyn FnMut()) + Clone + 'static,
        layer: impl Fn(Upstream) -> S + 'static,
    ) where
        Calls<S>: Work + 'static,
    {
        let Scenario { name, requests, upstream, weight } = scenario.clone();
        self.add(name, implementation, weight, move || {
            Within::new(Calls::new(layer(upstream), requests.clone(), reply), within.clone())
        });
    }

    /// As [`calls`](Self::calls), while another thread does the same with a clone of
    /// the service.
    pub fn calls_beside<S>(
        &mut self,
        scenario: &Scenario,
        implementation: &'static str,
        reply: Reply,
        layer: impl Fn(Upstream) -> S + 'static,
    ) where
        S: Clone,
        Calls<S>: Work + Send + 'static,
    {
        let Scenario { name, requests, upstream, weight } = scenario.clone();
        self.add(name, implementation, weight, move || {
            let service = layer(upstream);
            let other = Calls::new(service.clone(), requests.clone(), reply);
            Beside::new(Calls::new(service, requests.clone(), reply), other)
        });
    }

    /// Adds clones of a service.
    pub fn clones<S: Clone + 'static>(
        &mut self,
        scenario: &'static str,
        implementation: &'static str,
        service: impl Fn() -> S + 'static,
    ) {
        self.case(scenario, implementation, move || Clones::new(service()));
    }

    /// Does what the program's arguments ask for.
    pub fn run(&self) -> ExitCode {
        let done = Mode::parse(std::env::args().skip(1)).and_then(|mode| match mode {
            Mode::Timings => {
                self.timings();
                Ok(())
            }
            Mode::Counts { part } => self.counts(&part, &mut io::stdout().lock()),
            Mode::Only { id, times } => self.only(&id, times),
        });
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(2)
            }
        }
    }

    fn timings(&self) {
        let mut criterion = Criterion::default()
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(3))
            .configure_from_args();
        let mut group = criterion.benchmark_group(self.group);
        for case in &self.cases {
            // Criterion calls the function once a sample: what is set up stays.
            let mut ready = None;
            let id = BenchmarkId::new(case.scenario, case.implementation);
            group.bench_function(id, |bencher| {
                let (stage, work) = ready.get_or_insert_with(|| case.set_up());
                bencher.iter_custom(|times| stage.run(&mut **work, times, Meter::time()).elapsed());
            });
        }
        group.finish();
        criterion.final_summary();
    }

    fn counts(&self, part: &str, out: &mut impl Write) -> Result<(), UsageError> {
        let mut chosen = self.cases.iter().filter(|case| case.id.contains(part)).peekable();
        if chosen.peek().is_none() {
            return Err(self.unknown(part));
        }
        for case in chosen {
            let (mut stage, mut work) = case.set_up();
            stage.run(&mut *work, WARM_UP / case.weight, Meter::off());
            let counted = COUNTED / case.weight;
            let counts = stage.run(&mut *work, counted, Meter::allocations()).counts();
            // Who closed the pipe has seen enough.
            if writeln!(out, "{} {} {}", case.id, counts.allocations_each(), counts.bytes_each())
                .is_err()
            {
                break;
            }
        }
        Ok(())
    }

    fn only(&self, id: &str, times: u64) -> Result<(), UsageError> {
        let case = self.cases.iter().find(|case| case.id == id);
        let (mut stage, mut work) = case.ok_or_else(|| self.unknown(id))?.set_up();
        stage.run(&mut *work, times, Meter::profiled());
        Ok(())
    }

    fn unknown(&self, id: &str) -> UsageError {
        UsageError::unknown(id, self.cases.iter().map(|case| case.id.as_str()))
    }
}

/// Requests, and the upstream that they are meant for.
#[derive(Clone, Debug)]
pub struct Scenario {
    name: &'static str,
    requests: Requests,
    upstream: Upstream,
    weight: u64,
}

impl Scenario {
    /// A scenario by this name.
    pub fn new(name: &'static str, requests: Requests, upstream: Upstream) -> Self {
        Self { name, requests, upstream, weight: 1 }
    }

    /// Says that a request takes milliseconds: fewer of them are counted.
    #[must_use]
    pub fn heavy(self) -> Self {
        Self { weight: 256, ..self }
    }
}

struct Case {
    id: String,
    scenario: &'static str,
    implementation: &'static str,
    /// What is counted is so many times less.
    weight: u64,
    set_up: Box<dyn Fn() -> Box<dyn Work>>,
}

impl Case {
    fn set_up(&self) -> (Stage, Box<dyn Work>) {
        let mut stage = Stage::new();
        let mut work = stage.enter(&self.set_up);
        work.prove(&mut stage);
        (stage, work)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.id).finish()
    }
}

/// Enough to fill the caches of all cases, so that what is counted evicts.
const WARM_UP: u64 = 8_192;
const COUNTED: u64 = 4_096;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use http::StatusCode;

    use super::*;

    fn bench() -> Bench {
        let mut bench = Bench::new("group");
        let upstream = Upstream::new(8).field(("a", "b"));
        let call = Scenario::new("call", Requests::get("http://bench.test/"), upstream);
        bench.calls(&call, "bare", Reply::new(StatusCode::OK, 8), |upstream| upstream);
        bench.clones("clone", "bare", || [0_u8; 8]);
        bench.clones("clone", "box", || Box::new([0_u8; 8]));
        bench.clones("clone", "panics", || -> () { panic!("set up though not asked for") });
        bench
    }

    #[test]
    fn counts_are_a_line_for_each_case_that_was_chosen() {
        let counted = |part| {
            let mut out = Vec::new();
            bench().counts(part, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(counted("clone/b"), "group/clone/bare 0 0\ngroup/clone/box 1 8\n");
    }

    #[test]
    fn only_one_case_runs_and_so_often() {
        let before = Upstream::calls();
        bench().only("group/call/bare", 100).unwrap();
        let proof = 2;
        assert_eq!(Upstream::calls() - before, 100 + proof);
    }

    #[test]
    fn all_requests_are_sent_within_what_was_asked_for() {
        thread_local! { static RUNS: Cell<(u64, u64)> = const { Cell::new((0, 0)) } }
        let mut bench = Bench::new("group");
        let call = Scenario::new("call", Requests::get("http://bench.test/"), Upstream::new(8));
        let within = |work: &mut dyn FnMut()| {
            let before = Upstream::calls();
            work();
            let (runs, calls) = RUNS.get();
            RUNS.set((runs + 1, calls + Upstream::calls() - before));
        };
        let reply = Reply::new(StatusCode::OK, 8);
        bench.calls_within(&call, "within", reply, within, |upstream| upstream);
        bench.only("group/call/within", 100).unwrap();
        assert_eq!(RUNS.get(), (2, 102));
    }

    #[test]
    fn an_unknown_id_is_an_error_that_names_the_nearest() {
        let error = bench().only("group/clone/bex", 1).unwrap_err().to_string();
        assert_eq!(error, "no case `group/clone/bex`; the nearest is `group/clone/box`");
        assert!(bench().counts("nothing", &mut Vec::new()).is_err());
        // A part of an id is no id.
        assert!(bench().only("group/clone", 1).is_err());
    }
}
