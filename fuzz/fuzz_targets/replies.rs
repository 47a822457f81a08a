//! libFuzzer drives the target `replies` (`src/targets/replies.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::replies::run(bytes));
