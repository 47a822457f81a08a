//! libFuzzer drives the target `lua` (`src/targets/lua.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::lua::run(bytes));
