//! libFuzzer drives the target `json` (`src/targets/json.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::json::run(bytes));
