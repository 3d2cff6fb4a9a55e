#![no_main]

#[path = "../properties/stream.rs"]
mod stream;

libfuzzer_sys::fuzz_target!(|data: &[u8]| stream::check(data));
