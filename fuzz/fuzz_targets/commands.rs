//! libFuzzer drives the target `commands` (`src/targets/commands.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::commands::run(bytes));
