use super::clip::RATE;

/// Bytes of a header before the samples.
const HEADER: usize = 44;

/// A WAV file with these samples: one channel, 16 bits, 8000 a second.
pub fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = samples.len() as u32 * 2;
    let mut file = Vec::with_capacity(HEADER + samples.len() * 2);
    file.extend(b"RIFF");
    file.extend((HEADER as u32 - 8 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend([1, 0, 1, 0]);
    file.extend((RATE as u32).to_le_bytes());
    file.extend((RATE as u32 * 2).to_le_bytes());
    // Bytes of a frame, bits of a sample.
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

#[cfg(test)]
mod tests {
    use super::super::upload;
    use super::*;

    /// Whoever reads such files hears the same samples.
    #[test]
    fn a_file_comes_back_as_it_was() {
        let samples: Vec<i16> = (0..9000).map(|n| (n % 80 * 25) as i16 - 1000).collect();
        let back = upload::read(wav(&samples)).unwrap();
        let same = |(one, other): (&i16, &i16)| one.abs_diff(*other) <= 1;
        assert_eq!(back.len(), samples.len());
        assert!(samples.iter().zip(&back).all(same));
    }
}
