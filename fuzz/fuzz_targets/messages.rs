//! libFuzzer drives the target `messages` (`src/targets/messages.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::messages::run(bytes));
