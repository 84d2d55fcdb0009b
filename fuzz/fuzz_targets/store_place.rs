#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authseal::fuzzing::run("store_place", data));
