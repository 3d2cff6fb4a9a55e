#![no_main]

#[path = "../properties/phone_file.rs"]
mod phone_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    phone_file::check(data);
});
