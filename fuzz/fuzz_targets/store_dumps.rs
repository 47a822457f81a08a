//! libFuzzer drives the target `store_dumps` (`src/targets/store_dumps.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::store_dumps::run(bytes));
