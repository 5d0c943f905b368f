use crate::streak::Streak;

#[test]
fn a_success_ends_a_streak_and_another_generation_has_its_own() {
    let streak = Streak::default();
    for (generation, failure, length) in [
        (1, true, 1),
        (1, true, 2),
        (1, false, 0),
        (1, true, 1),
        (2, true, 1),
        (1, true, 0),
        (2, true, 2),
    ] {
        streak.record(generation, failure);
        assert_eq!(streak.length(generation), length);
    }
    streak.record(1, false);
    assert_eq!(streak.length(2), 2);
    streak.record(u32::MAX / 2, true);
    streak.record(u32::MAX, true);
    streak.record(0, true);
    assert_eq!((streak.length(u32::MAX), streak.length(0)), (0, 1));
}
