// What holds for a file of any bytes that an operator brings as music. The fuzz target and `tests/it` try it.

use tollgate::audio::upload::{LONGEST, SHORTEST, UploadError, read};

/// Samples in a second.
const RATE: u64 = 8000;

/// Either it is refused with a reason, or it is music: of a length that is allowed and to be heard. What came of it.
pub fn check(data: &[u8]) -> Result<(), UploadError> {
    let samples = read(data.to_vec())?;
    let (least, most) = (SHORTEST.as_secs() * RATE, LONGEST.as_secs() * RATE);
    assert!((least..=most).contains(&(samples.len() as u64)));
    assert!(samples.iter().any(|sample| *sample != 0));
    Ok(())
}
