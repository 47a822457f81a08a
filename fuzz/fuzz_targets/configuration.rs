//! libFuzzer drives the target `configuration` (`src/targets/configuration.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::configuration::run(bytes));
