use crate::jitter::Jitter;

#[test]
fn random_numbers_follow_from_the_seed_and_cover_the_range() {
    let (jitter, again) = (Jitter::new(7), Jitter::new(7));
    let drawn: Vec<_> = (0..10_000).map(|_| jitter.draw()).collect();
    assert!(drawn.iter().all(|&number| number == again.draw()));
    for part in 0..10 {
        let bounds = u64::MAX / 10 * part..u64::MAX / 10 * (part + 1);
        let share = drawn.iter().filter(|number| bounds.contains(number)).count();
        assert!((900..1_100).contains(&share), "{share}");
    }
}

#[test]
fn the_first_number_is_the_one_of_the_paper() {
    assert_eq!(Jitter::new(0).draw(), 0xe220_a839_7b1d_cdaf);
}
