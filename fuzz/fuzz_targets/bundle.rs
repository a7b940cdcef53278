#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| homeport_server::fuzz::bundle(bytes));
