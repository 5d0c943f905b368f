//! What is allocated, as the allocator counts it.

use std::ptr;

use http::HeaderName;

/// What an allocation of so many bytes takes of memory, in bytes; nothing if they
/// are none.
///
/// As in glibc: a word is added, the sum is rounded up to 16 and is never less
/// than 32, and what is large has pages of its own. Where pieces of all sizes come
/// and go, a little more is lost between them. Other allocators have classes of size
/// in place of that, which take a little less or more.
pub(crate) const fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=24 => 32 + BETWEEN,
        25..LARGE => (bytes + 8).next_multiple_of(16) + BETWEEN,
        _ => (bytes + 16).next_multiple_of(PAGE),
    }
}

/// What a buffer of so many bytes takes that several [`Bytes`](bytes::Bytes)
/// share.
pub(crate) const fn shared(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => allocated(bytes) + allocated(3 * size_of::<usize>()),
    }
}

/// What the name of a field takes: nothing where `http` knows it.
pub(crate) fn name(name: &HeaderName) -> usize {
    let again = HeaderName::from_bytes(name.as_str().as_bytes());
    match again.is_ok_and(|again| ptr::eq(again.as_str(), name.as_str())) {
        true => 0,
        false => shared(name.as_str().len()),
    }
}

/// The counts of an `Arc`, beside what it holds.
pub(crate) const COUNTS: usize = 2 * size_of::<usize>();

/// Measured: what a store of tiny responses takes beyond what is asked for, for each
/// allocation.
const BETWEEN: usize = 32;

const LARGE: usize = 128 << 10;
const PAGE: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_takes_what_it_is_rounded_up_to() {
        for (bytes, taken) in
            [(0, 0), (1, 64), (24, 64), (25, 80), (40, 80), (41, 96), (1000, 1040)]
        {
            assert_eq!(allocated(bytes), taken, "{bytes}");
        }
        assert_eq!(allocated(1 << 20), (1 << 20) + 4096);
        assert_eq!((shared(0), shared(8)), (0, 128));
    }

    #[test]
    fn names_that_all_know_take_nothing() {
        let of = |text: &str| name(&text.parse().unwrap());
        assert_eq!((of("content-type"), of("x-request-number")), (0, 128));
    }
}
