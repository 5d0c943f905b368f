/// Whether heavy tests run in full, as `cargo xtask test --long` has it.
pub fn is_long() -> bool {
    std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1")
}
