//! libFuzzer drives the target `inline` (`src/targets/inline.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::inline::run(bytes));
