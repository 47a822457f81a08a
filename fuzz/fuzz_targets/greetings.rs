//! libFuzzer drives the target `greetings` (`src/targets/greetings.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::greetings::run(bytes));
