//! Reads the files that operators bring (WAV, AIFF, MP3, FLAC) as music that peers can hear: one channel, 8000 samples a
//! second, no louder than speech.

use super::clip::RATE;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Indexing, Resampler, SincInterpolationParameters};
use std::io::Cursor;
use std::time::Duration;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;

/// The longest piece.
pub const LONGEST: Duration = Duration::from_secs(600);
/// The shortest: less sounds like a fault of the line.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// Rates of samples that files may have, in hertz.
const RATES: std::ops::RangeInclusive<u32> = 8000..=192_000;
const MAX_CHANNELS: usize = 8;
/// Frames that are resampled at once.
const CHUNK: usize = 1024;
/// The loudest mean: 21 dB below full scale, as loud as the built-in piece. Louder files are made softer; softer ones
/// stay as they are.
const LOUDNESS: f32 = 2900.0 / 32_768.0;
/// What never gets above this is silence.
const AUDIBLE: f32 = 0.001;

/// Why a file is no music.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// Not one of the kinds of files that are read.
    #[error("the file is neither WAV, AIFF, MP3 nor FLAC: {0}")]
    Format(String),
    /// The file holds no sound, or says too little of it.
    #[error("the file has no track of sound")]
    NoTrack,
    /// The file is one of ours but breaks its own rules.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Samples come too fast or too slowly.
    #[error("{0} samples a second; 8000 to 192000 can be read")]
    Rate(u32),
    /// More channels than music has.
    #[error("{0} channels; 1 to 8 can be read")]
    Channels(usize),
    /// More than [`LONGEST`].
    #[error("longer than ten minutes")]
    TooLong,
    /// Less than [`SHORTEST`].
    #[error("shorter than a second")]
    TooShort,
    /// Nobody would hear it.
    #[error("there is only silence in it")]
    Silent,
}

impl UploadError {
    /// For programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format(_) => "format",
            Self::NoTrack => "no_track",
            Self::Damaged(_) => "damaged",
            Self::Rate(_) => "sample_rate",
            Self::Channels(_) => "channels",
            Self::TooLong => "too_long",
            Self::TooShort => "too_short",
            Self::Silent => "silent",
        }
    }
}

/// Samples of 16 bits, 8000 a second, from the bytes of a file. Takes a processor for seconds where the file is long; of
/// memory it needs some 40 MB at most.
pub fn read(file: Vec<u8>) -> Result<Vec<i16>, UploadError> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(file)), Default::default());
    let format = symphonia::default::get_probe().probe(
        &Default::default(),
        stream,
        Default::default(),
        Default::default(),
    );
    let samples = decode(format.map_err(|error| UploadError::Format(error.to_string()))?)?;
    let peak = samples.iter().fold(0.0, |peak: f32, x| peak.max(x.abs()));
    if peak < AUDIBLE {
        return Err(UploadError::Silent);
    }
    let mean = (samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32).sqrt();
    let gain = (LOUDNESS / mean).min(1.0) * f32::from(i16::MAX);
    // The cast keeps within the bounds of 16 bits.
    Ok(samples.iter().map(|x| (x * gain) as i16).collect())
}

fn decode(mut format: Box<dyn FormatReader + '_>) -> Result<Vec<f32>, UploadError> {
    let track = format
        .default_track(TrackType::Audio)
        .ok_or(UploadError::NoTrack)?;
    let id = track.id;
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio());
    // What the file says of itself spares the work; what it holds is counted all the same.
    let rate = parameters.and_then(|p| p.sample_rate);
    if let (Some(frames), Some(rate)) = (track.num_frames, rate)
        && frames > u64::from(rate) * LONGEST.as_secs()
    {
        return Err(UploadError::TooLong);
    }
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(
            parameters.ok_or(UploadError::NoTrack)?,
            &AudioDecoderOptions::default(),
        )
        .map_err(|error| UploadError::Format(error.to_string()))?;
    let mut piece: Option<Piece> = None;
    let mut interleaved = Vec::new();
    while let Some(packet) = format.next_packet().map_err(damaged)? {
        if packet.track_id != id {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(damaged)?;
        let (rate, channels) = (decoded.spec().rate(), decoded.num_planes());
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(UploadError::Channels(channels));
        }
        let piece = match &mut piece {
            Some(piece) if piece.rate != rate => {
                return Err(UploadError::Damaged("its rate changes".into()));
            }
            Some(piece) => piece,
            none => none.insert(Piece::new(rate)?),
        };
        decoded.copy_to_vec_interleaved(&mut interleaved);
        for frame in interleaved.chunks_exact(channels) {
            piece.add(frame.iter().sum::<f32>() / channels as f32)?;
        }
    }
    piece.ok_or(UploadError::NoTrack)?.finish()
}

fn damaged(error: Error) -> UploadError {
    UploadError::Damaged(error.to_string())
}

/// One channel at the file's rate on its way to ours, chunk by chunk.
struct Piece {
    rate: u32,
    /// None if the file has our rate.
    resampler: Option<Async<f32>>,
    waiting: Vec<f32>,
    frames: u64,
    samples: Vec<f32>,
    /// One chunk resampled.
    chunk: Vec<f32>,
}

impl Piece {
    fn new(rate: u32) -> Result<Self, UploadError> {
        if !RATES.contains(&rate) {
            return Err(UploadError::Rate(rate));
        }
        let ratio = RATE as f64 / f64::from(rate);
        let quality = SincInterpolationParameters::default();
        let resampler = (rate as usize != RATE)
            .then(|| Async::new_sinc(ratio, 1.0, &quality, CHUNK, 1, FixedAsync::Input))
            .transpose()
            .map_err(|error| UploadError::Damaged(error.to_string()))?;
        let room = resampler.as_ref().map_or(0, |r| r.output_frames_max());
        Ok(Self {
            rate,
            resampler,
            waiting: Vec::with_capacity(CHUNK),
            frames: 0,
            samples: Vec::new(),
            chunk: vec![0.0; room],
        })
    }

    fn add(&mut self, sample: f32) -> Result<(), UploadError> {
        // What a file of floating numbers may hold, and no sound is.
        self.waiting
            .push(if sample.is_finite() { sample } else { 0.0 });
        self.frames += 1;
        if self.waiting.len() == CHUNK {
            self.resample()?;
        }
        if self.frames > u64::from(self.rate) * LONGEST.as_secs() {
            return Err(UploadError::TooLong);
        }
        Ok(())
    }

    /// What waits, with silence up to a whole chunk, at our rate.
    fn resample(&mut self) -> Result<(), UploadError> {
        let Some(resampler) = &mut self.resampler else {
            self.samples.append(&mut self.waiting);
            return Ok(());
        };
        let failed = |error: String| UploadError::Damaged(error);
        let had = self.waiting.len();
        let length = self.chunk.len();
        let input = InterleavedSlice::new(&self.waiting[..], 1, had)
            .map_err(|error| failed(error.to_string()))?;
        let mut output = InterleavedSlice::new_mut(&mut self.chunk[..], 1, length)
            .map_err(|error| failed(error.to_string()))?;
        let partial = Indexing {
            input_offset: 0,
            output_offset: 0,
            partial_len: Some(had),
            active_channels_mask: None,
        };
        let (_, written) = resampler
            .process_into_buffer(&input, &mut output, Some(&partial))
            .map_err(|error| failed(error.to_string()))?;
        self.samples.extend_from_slice(&self.chunk[..written]);
        self.waiting.clear();
        Ok(())
    }

    /// All of it, without the silence by which the resampler begins late.
    fn finish(mut self) -> Result<Vec<f32>, UploadError> {
        let length = (self.frames * RATE as u64 / u64::from(self.rate)) as usize;
        if length < RATE * SHORTEST.as_secs() as usize {
            return Err(UploadError::TooShort);
        }
        let late = self.resampler.as_ref().map_or(0, |r| r.output_delay());
        while self.samples.len() < late + length {
            self.resample()?;
        }
        self.samples.truncate(late + length);
        self.samples.drain(..late);
        Ok(self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::super::goertzel::power;
    use super::*;
    use std::f32::consts::TAU;

    /// A WAV file of 16 bits with a sine of this frequency and amplitude in every channel.
    fn wav(rate: u32, channels: u16, hertz: f32, peak: f32, seconds: f32) -> Vec<u8> {
        let frames = (rate as f32 * seconds) as u32;
        let data = frames * u32::from(channels) * 2;
        let mut file = Vec::new();
        file.extend(b"RIFF");
        file.extend((36 + data).to_le_bytes());
        file.extend(b"WAVEfmt ");
        file.extend(16_u32.to_le_bytes());
        file.extend(1_u16.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend((rate * u32::from(channels) * 2).to_le_bytes());
        file.extend((channels * 2).to_le_bytes());
        file.extend(16_u16.to_le_bytes());
        file.extend(b"data");
        file.extend(data.to_le_bytes());
        for n in 0..frames {
            let sample = (peak * (TAU * hertz * n as f32 / rate as f32).sin()) as i16;
            for _ in 0..channels {
                file.extend(sample.to_le_bytes());
            }
        }
        file
    }

    /// A loud stereo file of 44.1 kHz becomes as many seconds at 8 kHz, with its tone, at the loudness of speech; a soft
    /// one stays soft. What a telephone cannot carry is gone, not folded back.
    #[test]
    fn a_file_is_resampled_and_made_no_louder_than_speech() {
        let samples = read(wav(44_100, 2, 1000.0, 30_000.0, 2.0)).unwrap();
        assert_eq!(samples.len(), 16_000);
        let middle = &samples[4000..12_000];
        let amplitude = (4.0 * power(middle, 1000.0)).sqrt();
        assert!((3900.0..4300.0).contains(&amplitude), "{amplitude}");

        let soft = read(wav(8000, 1, 1000.0, 1000.0, 1.5)).unwrap();
        let amplitude = (4.0 * power(&soft[2000..10_000], 1000.0)).sqrt();
        assert!((950.0..1050.0).contains(&amplitude), "{amplitude}");

        let shrill = read(wav(48_000, 1, 6000.0, 20_000.0, 1.5)).unwrap();
        let loudest = shrill[2000..10_000].iter().map(|sample| sample.abs()).max();
        assert!(loudest < Some(50), "{loudest:?}");
    }

    /// A file of our own rate keeps its samples.
    #[test]
    fn what_fits_already_stays_as_it_is() {
        let file = wav(8000, 1, 700.0, 2000.0, 1.25);
        let before = file[44..].as_chunks().0.iter();
        let before: Vec<i16> = before.map(|two| i16::from_le_bytes(*two)).collect();
        let after = read(file).unwrap();
        assert_eq!(before.len(), after.len());
        let same = |(one, other): (&i16, &i16)| one.abs_diff(*other) <= 1;
        assert!(before.iter().zip(&after).all(same));
    }

    /// Every file that is no music is refused for its own reason.
    #[test]
    fn bad_files_are_refused_with_the_reason() {
        let refused = |file| read(file).unwrap_err();
        assert_eq!(refused(vec![]).code(), "format");
        assert_eq!(
            refused(b"<html>not music</html>".repeat(50)).code(),
            "format"
        );
        assert_eq!(refused(wav(8000, 1, 500.0, 0.0, 2.0)), UploadError::Silent);
        assert_eq!(
            refused(wav(8000, 1, 500.0, 5000.0, 0.5)),
            UploadError::TooShort
        );
        for rate in [8000, 8001] {
            let mut long = wav(rate, 1, 500.0, 5000.0, 1.0);
            let claims = rate * 2 * 601;
            long[4..8].copy_from_slice(&(36 + claims).to_le_bytes());
            long[40..44].copy_from_slice(&claims.to_le_bytes());
            assert_eq!(refused(long), UploadError::TooLong);
        }
        assert_eq!(
            refused(wav(4000, 1, 500.0, 5000.0, 2.0)),
            UploadError::Rate(4000)
        );
    }
}
