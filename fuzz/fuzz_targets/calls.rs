#![no_main]

#[path = "../properties/calls.rs"]
mod calls;
#[path = "../../tests/it/sim/mod.rs"]
mod sim;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    calls::check(data);
});
