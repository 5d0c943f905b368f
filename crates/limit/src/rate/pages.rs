use std::fmt;
use std::ops::Deref;
use std::sync::atomic::Ordering::Relaxed;

use memmap2::MmapMut;
use self_cell::{MutBorrow, self_cell};
use zerocopy::FromBytes;

use super::sync::{AtomicU64, WAYS};

/// Sets of words, all 0 at first, in pages as large as the kernel gives them.
///
/// A processor knows where some thousand pages are. With keys without number the next
/// set is in none of them, and with pages of 4 KiB it takes a third of a check to find
/// it. Where Linux may (`/sys/kernel/mm/transparent_hugepage/enabled` says `madvise`
/// or `always`), a page has 2 MiB.
pub(crate) struct Sets(Mapped);

impl Sets {
    /// So many sets, whose memory is there from now on.
    pub(crate) fn new(count: usize) -> Self {
        let size = count.checked_mul(size_of::<Set>()).expect("what is counted has addresses");
        let map = MmapMut::map_anon(size).expect("there is memory for the keys");
        // A kernel that has no such pages refuses, and nothing is lost.
        #[cfg(target_os = "linux")]
        drop(map.advise(memmap2::Advice::HugePage));
        let mapped = Mapped::new(MutBorrow::new(map), |map| {
            <[Set]>::mut_from_bytes(map.borrow_mut()).expect("a page begins and ends with a set")
        });
        // Or the first requests would wait for the kernel.
        mapped.borrow_dependent().iter().for_each(|set| set[0].store(0, Relaxed));
        Self(mapped)
    }
}

impl Deref for Sets {
    type Target = [Set];

    #[inline]
    fn deref(&self) -> &[Set] {
        self.0.borrow_dependent()
    }
}

impl fmt::Debug for Sets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sets").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Two lines of 64 bytes, because processors fetch them in pairs.
pub(crate) type Set = [AtomicU64; WAYS];

type Words<'a> = &'a [Set];

self_cell! {
    struct Mapped {
        owner: MutBorrow<MmapMut>,

        #[covariant]
        dependent: Words,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sets_begin_with_a_line_and_hold_nothing() {
        for count in [1, 31, 32, 33, 100_000] {
            let sets = Sets::new(count);
            assert_eq!(sets.len(), count);
            assert_eq!(sets.as_ptr().addr() % size_of::<Set>(), 0);
            assert!(sets.iter().flatten().all(|word| word.load(Relaxed) == 0));
        }
    }

    #[test]
    fn the_kernel_is_asked_for_large_pages() {
        if !fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap() {
            return;
        }
        let sets = Sets::new(100_000);
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut holds = false;
        let flags = maps.lines().find_map(|line| {
            if let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-'))
            {
                let [from, to] = [from, to].map(|end| usize::from_str_radix(end, 16).unwrap());
                holds = (from..to).contains(&sets.as_ptr().addr());
            }
            line.strip_prefix("VmFlags:").filter(|_| holds)
        });
        let flags = flags.expect("where the sets are is a map");
        assert!(flags.split(' ').any(|flag| flag == "hg"), "{flags}");
    }
}
