//! libFuzzer drives the target `frames` (`src/targets/frames.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::frames::run(bytes));
