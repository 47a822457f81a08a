//! libFuzzer drives the target `forwarded` (`src/targets/forwarded.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::forwarded::run(bytes));
