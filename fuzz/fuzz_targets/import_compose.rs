#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authseal::fuzzing::run("import_compose", data));
