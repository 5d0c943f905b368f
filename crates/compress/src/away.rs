use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tower_edge_core::{Clock, Coding};

use crate::codec::{Kind, Scratch, Then};
use crate::pool::Pool;

/// Encodes bodies on threads that may be held up, a few at a time and in the order in
/// which they came.
///
/// So the workers of a runtime go on with others, and what is encoded at the same time
/// takes bounded memory.
#[derive(Debug)]
pub(crate) struct Away {
    queue: Mutex<Queue>,
    most: usize,
}

/// A body to be encoded.
pub(crate) struct Job {
    pub(crate) pool: Arc<Pool>,
    pub(crate) coding: Coding,
    pub(crate) level: u8,
    pub(crate) plain: Bytes,
    pub(crate) clock: Clock,
}

/// What a body was encoded to, if it went, and how long it took.
pub(crate) type Done = (Option<Bytes>, Duration);

/// What comes of a job; an error if the runtime ends before.
pub(crate) type Coming = oneshot::Receiver<Done>;

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Job, oneshot::Sender<Done>)>,
    /// Threads that are at it, or soon will be.
    threads: usize,
}

impl Away {
    /// With up to so many threads.
    pub(crate) fn new(most: usize) -> Self {
        Self { queue: Mutex::default(), most }
    }

    /// Encodes a body in its turn; here and now where there is no runtime, and no
    /// worker to hold up.
    pub(crate) fn encode(self: &Arc<Self>, job: Job) -> Result<Coming, Done> {
        let Ok(runtime) = Handle::try_current() else { return Err(job.done()) };
        let (tell, coming) = oneshot::channel();
        // A runtime that has ended drops what it is to run, which asks for the queue.
        let further = self.queue().push(self, (job, tell));
        if let Some(worker) = further {
            drop(runtime.spawn_blocking(move || worker.work()));
        }
        Ok(coming)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Adds what waits; a further thread if it wants one.
    fn push(&mut self, away: &Arc<Away>, next: (Job, oneshot::Sender<Done>)) -> Option<Worker> {
        self.waiting.push_back(next);
        if self.threads == away.most {
            return None;
        }
        self.threads += 1;
        Some(Worker(Some(away.clone())))
    }
}

/// A thread that encodes until nothing waits any more, and is counted until then.
struct Worker(Option<Arc<Away>>);

impl Worker {
    fn work(mut self) {
        while let Some((job, tell)) = self.next() {
            // Nobody wants what nobody waits for.
            if !tell.is_closed() {
                let _ = tell.send(job.done());
            }
        }
    }

    fn next(&mut self) -> Option<(Job, oneshot::Sender<Done>)> {
        let away = self.0.take()?;
        let mut queue = away.queue();
        let next = queue.waiting.pop_front();
        match next {
            None => queue.threads -= 1,
            Some(_) => self.0 = Some(away.clone()),
        }
        next
    }
}

impl Drop for Worker {
    /// One that is counted still was not run to its end, since its runtime has ended.
    fn drop(&mut self) {
        let Some(away) = self.0.take() else { return };
        let mut queue = away.queue();
        queue.threads -= 1;
        if queue.threads == 0 {
            queue.waiting.clear();
        }
    }
}

impl Job {
    fn done(self) -> Done {
        let start = self.clock.now();
        let mut lease = self.pool.lease(self.coding, self.level, Kind::Whole);
        let encoded = Scratch::with(|scratch| {
            let encoded = lease.encode(&self.plain, Then::Finish, scratch);
            encoded.is_ok().then(|| scratch.take())
        });
        (encoded, self.clock.now().saturating_duration_since(start))
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("coding", &self.coding).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    fn job(pool: &Arc<Pool>, size: usize) -> Job {
        let (pool, plain) = (pool.clone(), Bytes::from(vec![b'x'; size]));
        Job { pool, coding: Coding::Gzip, level: 6, plain, clock: Clock::system() }
    }

    fn setting(most: usize) -> (Arc<Away>, Arc<Pool>) {
        (Arc::new(Away::new(most)), Arc::new(Pool::new(2)))
    }

    /// The threads, and what waits.
    fn counts(away: &Away) -> (usize, usize) {
        let queue = away.queue();
        (queue.threads, queue.waiting.len())
    }

    #[test]
    fn without_a_runtime_it_is_done_at_once_to_the_same_bytes() {
        let (away, pool) = setting(1);
        let Err((here, _)) = away.encode(job(&pool, 100_000)) else { panic!("it is away") };
        let runtime = Builder::new_current_thread().build().unwrap();
        let (there, _) =
            runtime.block_on(async { away.encode(job(&pool, 100_000)).unwrap().await }).unwrap();
        assert!(here.is_some() && here == there);
    }

    #[test]
    fn few_threads_do_what_many_wait_for_and_nothing_that_nobody_does() {
        let (away, pool) = setting(2);
        let runtime = Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        let coming = runtime.block_on(async {
            // The only thread there is waits for this.
            let (go, wait) = std::sync::mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || _ = wait.recv());
            let coming: Vec<_> =
                (1..=9).map(|size| away.encode(job(&pool, 1_000 * size)).unwrap()).collect();
            assert_eq!(counts(&away), (2, 9));
            let mut coming: Vec<_> = coming.into_iter().step_by(2).collect();
            drop(go);
            let mut done = Vec::new();
            for coming in &mut coming {
                done.push(coming.await.unwrap().0.unwrap());
            }
            done
        });
        assert_eq!(coming.len(), 5);
        drop(runtime);
        assert_eq!(counts(&away), (0, 0));
    }

    #[test]
    fn what_a_runtime_leaves_undone_is_known_to_be_and_others_go_on() {
        let (away, pool) = setting(1);
        let ended = Builder::new_current_thread().build().unwrap().handle().clone();
        let left = {
            let _within = ended.enter();
            away.encode(job(&pool, 100_000)).unwrap()
        };
        assert_eq!(counts(&away), (0, 0));
        let other = Builder::new_current_thread().build().unwrap();
        assert!(other.block_on(left).is_err());
        let done = other.block_on(async { away.encode(job(&pool, 100_000)).unwrap().await });
        assert!(done.unwrap().0.is_some());
    }
}
