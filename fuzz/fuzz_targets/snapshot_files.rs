//! libFuzzer drives the target `snapshot_files` (`src/targets/snapshot_files.rs`).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keystead_fuzz::targets::snapshot_files::run(bytes));
