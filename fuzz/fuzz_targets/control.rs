//! libFuzzer drives the target `control` (`src/targets/control.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::control::run(bytes));
