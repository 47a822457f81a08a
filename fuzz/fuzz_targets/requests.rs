//! libFuzzer drives the target `requests` (`src/targets/requests.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::requests::run(bytes));
