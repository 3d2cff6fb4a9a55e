#![no_main]

#[path = "../properties/rtp.rs"]
mod rtp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rtp::check(data);
});
