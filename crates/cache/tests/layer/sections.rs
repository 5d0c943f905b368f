//! RFC 9111 and RFC 9110, section by section, where no other test has it.

use crate::play::{Play, answer};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Two responses that one request selects, the one that is generated last comes
/// first (RFC 9111 §4).
#[tokio::test(start_paused = true)]
async fn section_4_the_most_recent_by_date_is_used() {
    const LAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const FIRST: &str = "Sun, 06 Nov 1994 08:49:27 GMT";
    for (dates, text) in [([LAST, FIRST], "0"), ([FIRST, LAST], "1"), ([LAST, LAST], "1")] {
        let play = Play::new(move |number, _| {
            let vary = ["x", "x, y"][number as usize];
            let fields = [FRESH, ("date", dates[number as usize]), ("vary", vary)];
            answer(200, &fields, &number.to_string())
        });
        play.get(&[("cache-control", "no-cache")]).await;
        play.get(&[("cache-control", "no-cache")]).await;
        let got = play.get(&[]).await;
        assert_eq!((got.text(), got.did()), (text.into(), "hit"), "{dates:?}");
    }
}
