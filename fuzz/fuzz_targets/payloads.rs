//! libFuzzer drives the target `payloads` (`src/targets/payloads.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::payloads::run(bytes));
