//! Every order of two messages, a cut and a crash. `cargo xtask test --only simulate` tries more: three
//! messages, a cut and two crashes, and two messages, two cuts and a crash.

use heartwire_sim::model::{Bounds, check};

#[test]
fn nothing_is_lost_doubled_or_unwritten_in_any_order() {
    let bounds = Bounds {
        messages: 2,
        cuts: 1,
        crashes: 1,
    };
    let checked = check(bounds, 2);
    assert_eq!(checked.broken, []);
    assert!(checked.states > 10_000, "{} states", checked.states);
}
