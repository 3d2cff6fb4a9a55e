use crate::sdp::{
    AudioOutline, Codec, CryptoLine, Direction, IceCredentials, MediaLine, MediaOutline, Outline,
    Profile, SessionDescription,
};
use bytes::Bytes;
use std::net::IpAddr;

/// Our description through the life of a dialog: where we are, which `m=` lines there are, and the version under which
/// the last one went out.
pub(super) struct Description {
    address: IpAddr,
    port: u16,
    session: u32,
    version: u64,
    sent: Option<Bytes>,
    slots: Vec<Slot>,
}

/// One `m=` line of the dialog; their number and order never change (RFC 3264 §8).
#[derive(Clone)]
pub(super) enum Slot {
    Audio,
    Other {
        media: String,
        profile: String,
        formats: String,
    },
}

/// What we say of our audio.
#[derive(Clone)]
pub(super) struct Ours {
    pub(super) codecs: Vec<Codec>,
    pub(super) direction: Direction,
    pub(super) ptime: u16,
    pub(super) profile: Profile,
    pub(super) rtcp_mux: bool,
    pub(super) ice: Option<IceCredentials>,
    pub(super) crypto: Vec<CryptoLine>,
}

impl Description {
    /// Nothing has been sent. One audio line, until an offer has others.
    pub(super) fn new(address: IpAddr, port: u16, session: u32) -> Self {
        Self {
            address,
            port,
            session,
            version: 0,
            sent: None,
            slots: vec![Slot::Audio],
        }
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn sent(&self) -> Option<&Bytes> {
        self.sent.as_ref()
    }

    pub(super) fn set_slots(&mut self, slots: Vec<Slot>) {
        self.slots = slots;
    }

    /// Which `m=` line the call's audio is, counted from 0.
    pub(super) fn audio_index(&self) -> usize {
        let audio = |slot: &Slot| matches!(slot, Slot::Audio);
        self.slots.iter().position(audio).unwrap_or(0)
    }

    /// The text, under the version it deserves: equal to what was sent last, it keeps that (RFC 3264 §8).
    pub(super) fn of(&mut self, ours: &Ours) -> Bytes {
        let mut body = self.text(ours);
        if self.sent.as_ref() != Some(&body) {
            self.version += 1;
            body = self.text(ours);
            self.sent = Some(body.clone());
        }
        body
    }

    fn text(&self, ours: &Ours) -> Bytes {
        let audio = AudioOutline {
            port: self.port,
            profile: ours.profile,
            codecs: &ours.codecs,
            ptime: ours.ptime,
            rtcp_mux: ours.rtcp_mux,
            ice: ours.ice.clone(),
            crypto: ours.crypto.clone(),
            direction: ours.direction,
        };
        let media = self.slots.iter().map(|slot| match slot {
            Slot::Audio => MediaOutline::Audio(audio.clone()),
            Slot::Other {
                media,
                profile,
                formats,
            } => MediaOutline::Refused {
                media,
                profile,
                formats,
            },
        });
        let media = media.collect();
        Outline {
            session: self.session,
            version: self.version,
            address: self.address,
            media,
        }
        .write()
    }
}

/// The lines of an offer, of which the one at `audio` is taken and the others are refused.
pub(super) fn slots(description: &SessionDescription, audio: usize) -> Vec<Slot> {
    let lines = (0..description.media_count())
        .filter_map(|index| Some((index, description.media(index)?.0)));
    let slot = |(index, line): (usize, MediaLine<'_>)| {
        if index == audio {
            return Slot::Audio;
        }
        Slot::Other {
            media: line.media.into(),
            profile: line.profile.into(),
            formats: line.formats.into(),
        }
    };
    lines.map(slot).collect()
}
