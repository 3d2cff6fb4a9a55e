#![no_main]

#[path = "../properties/upload.rs"]
mod upload;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    upload::check(data);
});
