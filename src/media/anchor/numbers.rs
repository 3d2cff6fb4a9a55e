use crate::sdp::Codec;

/// Payload types as one dialog has used them: a number keeps its meaning, a codec keeps its number (RFC 3264 §8.3.2).
///
/// At most one entry for each of the 128 numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers(Vec<Codec>);

impl Numbers {
    /// The codecs under numbers for an offer of ours: as before in this dialog, else RFC 3551's, else the one they
    /// have if it is free, else a free one. A codec for which there is none is left out.
    pub(super) fn assign(&self, codecs: &[Codec]) -> Vec<Codec> {
        let mut assigned: Vec<Codec> = Vec::with_capacity(codecs.len());
        for codec in codecs {
            let used = |number: u8| assigned.iter().any(|c| c.payload_type == number);
            let known = self
                .0
                .iter()
                .filter(|c| codec.is_same(c) && !used(c.payload_type));
            let known =
                known.max_by_key(|c| (c.fmtp == codec.fmtp, c.payload_type == codec.payload_type));
            let free =
                |number: &u8| !used(*number) && !self.0.iter().any(|c| c.payload_type == *number);
            let own = Some(codec.payload_type).filter(|number| (96..=127).contains(number));
            let number = known
                .map(|c| c.payload_type)
                .or_else(|| codec.fixed_payload_type().filter(free))
                .or_else(|| own.filter(free))
                .or_else(|| (96..=127).find(free));
            if let Some(payload_type) = number {
                assigned.push(Codec {
                    payload_type,
                    ..codec.clone()
                });
            }
        }
        assigned
    }

    /// These numbers stand in a description of ours.
    pub(super) fn remember(&mut self, codecs: &[Codec]) {
        self.0
            .retain(|known| !codecs.iter().any(|c| c.payload_type == known.payload_type));
        self.0.extend_from_slice(codecs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(codecs: &[Codec]) -> Vec<u8> {
        codecs.iter().map(|c| c.payload_type).collect()
    }

    /// The peer said 101 for events; another leg's 96 does not change that, and its 101 for iLBC has to move.
    #[test]
    fn a_codec_keeps_the_number_it_has_in_the_dialog() {
        let mut known = Numbers::default();
        known.remember(&Codec::basic());
        let asked = [
            Codec::new(98, "PCMA", 8000),
            Codec::new(101, "iLBC", 8000),
            Codec::new(96, "telephone-event", 8000),
            Codec::new(99, "opus", 48000),
        ];
        assert_eq!(numbers(&known.assign(&asked)), [8, 96, 101, 99]);
    }

    #[test]
    fn the_same_codec_twice_gets_two_numbers() {
        let asked = [
            Codec::new(98, "AMR", 8000),
            Codec::new(98, "AMR", 8000),
            Codec::new(5, "x", 8000),
        ];
        assert_eq!(numbers(&Numbers::default().assign(&asked)), [98, 96, 97]);
    }

    /// Two forms of AMR, told apart by their parameters, do not change places.
    #[test]
    fn parameters_tell_two_of_a_kind_apart() {
        let amr = |payload_type, fmtp: &str| Codec {
            fmtp: Some(fmtp.into()),
            ..Codec::new(payload_type, "AMR", 8000)
        };
        let mut known = Numbers::default();
        known.remember(&[amr(96, "octet-align=0"), amr(97, "octet-align=1")]);
        let asked = [amr(97, "octet-align=0"), amr(96, "octet-align=1")];
        assert_eq!(numbers(&known.assign(&asked)), [96, 97]);
    }

    #[test]
    fn a_number_given_anew_loses_its_old_meaning() {
        let mut known = Numbers::default();
        known.remember(&[Codec::new(96, "opus", 48000)]);
        known.remember(&[Codec::new(96, "iLBC", 8000)]);
        assert_eq!(
            numbers(&known.assign(&[Codec::new(96, "opus", 48000)])),
            [97]
        );
    }

    #[test]
    fn what_finds_no_number_is_left_out() {
        let many: Vec<_> = (0..40)
            .map(|n| Codec::new(96, &format!("c{n}"), 8000))
            .collect();
        assert_eq!(Numbers::default().assign(&many).len(), 32);
    }
}
