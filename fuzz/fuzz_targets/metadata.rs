//! libFuzzer drives the target `metadata` (`src/targets/metadata.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::metadata::run(bytes));
