//! libFuzzer drives the target `log` (`src/targets/log.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::log::run(bytes));
