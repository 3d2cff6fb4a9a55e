#![no_main]

#[path = "../properties/srtp.rs"]
mod srtp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    srtp::check(data);
});
