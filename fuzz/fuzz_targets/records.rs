//! libFuzzer drives the target `records` (`src/targets/records.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::records::run(bytes));
