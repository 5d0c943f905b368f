use super::sync::{OnceLock, thread_number};

/// A value for each of a few groups of threads, so that two threads rarely
/// write to one cache line; made when its first thread comes.
#[derive(Debug)]
pub(crate) struct Stripes<T>([OnceLock<Box<Padded<T>>>; STRIPES]);

impl<T: Default> Stripes<T> {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }

    /// The value of this thread's group.
    pub(crate) fn current(&self) -> &T {
        &self.0[thread_number() % STRIPES].get_or_init(Box::default).0
    }

    /// The values made so far.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get).map(|padded| &padded.0)
    }

    /// What the values take, without the heap that they own.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.iter().count() * size_of::<Padded<T>>()
    }
}

/// Two lines of 64 bytes, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

const STRIPES: usize = 8;
