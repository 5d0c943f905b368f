use crate::command::{self, cargo};
use crate::error::Error;
use crate::programs;

/// Runs the tests of the workspace, with those in the docs.
///
/// Heavy tests choose their counts by `TOWER_EDGE_LONG`: bounded without it,
/// full with it.
pub(crate) fn run(long: bool, rest: &[String]) -> Result<(), Error> {
    programs::install_missing()?;
    // At a virtual root cargo takes all members, and `rest` can still name some.
    let mut test = cargo(["test", "--all-features"]);
    test.args(rest);
    if long {
        test.env("TOWER_EDGE_LONG", "1");
    }
    command::run(&mut test)
}
