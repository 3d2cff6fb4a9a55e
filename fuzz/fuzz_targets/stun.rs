#![no_main]

#[path = "../properties/stun.rs"]
mod stun;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    stun::check(data);
});
