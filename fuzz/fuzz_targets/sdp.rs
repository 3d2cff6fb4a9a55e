#![no_main]

#[path = "../properties/description.rs"]
mod description;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    description::check(data);
});
