use std::cell::RefCell;
use std::time::Duration;

use http::HeaderValue;

/// `Age` in whole seconds (RFC 9111 §5.1).
///
/// The value of an age is made once a thread and then shared: a hit allocates
/// nothing for it while the entries of that age are hit.
pub(crate) fn age_value(age: Duration) -> HeaderValue {
    let seconds = age.as_secs();
    MADE.with_borrow_mut(|made| match &mut made[seconds as usize % SLOTS] {
        Some((known, value)) if *known == seconds => value.clone(),
        slot => slot.insert((seconds, HeaderValue::from(seconds))).1.clone(),
    })
}

thread_local! {
    static MADE: RefCell<[Option<(u64, HeaderValue)>; SLOTS]> = const { RefCell::new([const { None }; SLOTS]) };
}

const SLOTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_that_share_a_slot_are_told_apart() {
        for seconds in [0, 64, 0, 128, 1, u64::MAX] {
            let value = age_value(Duration::from_secs(seconds));
            assert_eq!(value.to_str().unwrap(), seconds.to_string());
        }
        assert_eq!(age_value(Duration::from_millis(2_999)), "2");
    }
}
