#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heartwire_fuzz_targets::server_session(data));
