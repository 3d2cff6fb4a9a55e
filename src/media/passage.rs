//! What becomes of packets on their way from one leg's peer to the other's: by payload type they go on under another number,
//! are converted, or go no further; in which form keys arrive; how long packets are. And which codecs can be offered and
//! answered because we convert.
//!
//! Converted are PCMA, PCMU and G.722, where two legs share no voice. Whatever else they share passes as it is.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::audio::{Coding, Law};
use crate::sdp::Codec;

/// What becomes of the packets that a partner sends to a leg's peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    fates: [Fate; 128],
    /// The voice, of those that we convert, that the peer takes.
    pub voice: Option<Voice>,
    /// How keys reach the peer.
    pub keys: KeySink,
    /// The partner presses keys by tones in its voice, which are to be heard out of it.
    pub listens: bool,
    /// Milliseconds in a packet of [`Passage::voice`], where the peer wants others than come.
    pub packet_ms: Option<u16>,
}

/// Passages that legs have in common: most calls have the same few.
#[derive(Debug, Default)]
pub struct Passages(VecDeque<Arc<Passage>>);

impl Passages {
    /// How many are remembered, those that were new last.
    const MOST: usize = 16;

    /// One that is equal to this, if it is remembered.
    pub fn share(&mut self, passage: Passage) -> Arc<Passage> {
        if let Some(known) = self.0.iter().find(|known| ***known == passage) {
            return known.clone();
        }
        self.0.truncate(Self::MOST - 1);
        let shared = Arc::new(passage);
        self.0.push_front(shared.clone());
        shared
    }
}

/// In which form a peer gives and takes keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtmf {
    /// Telephone events (RFC 4733).
    Events,
    /// SIP INFO, which is not ours to send or read.
    Info,
    /// Tones in G.711.
    Inband,
}

/// How keys reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySink {
    /// Not at all: it has not agreed to telephone events.
    Nowhere,
    /// By telephone events of this payload type.
    Events(u8),
    /// The control plane is told.
    Told,
    /// By tones in [`Passage::voice`].
    Tones,
}

/// What becomes of packets of one payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They go on, under this payload type.
    As(u8),
    /// They hold voice of this coding, which is made [`Passage::voice`].
    Voice(Coding),
    /// They hold comfort noise (RFC 3389), and become silence in [`Passage::voice`].
    Silence,
    /// They hold telephone events, which reach the peer as [`Passage::keys`] says.
    Key,
    /// The peer has not agreed to what they are.
    Dropped,
}

/// The lengths of packets that we make, in milliseconds.
const PACKET_MS: [u16; 5] = [10, 20, 30, 40, 60];

/// A voice that we can convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    /// How it is written.
    pub coding: Coding,
    /// Its payload type.
    pub payload_type: u8,
}

impl Passage {
    /// Every packet goes on as it is.
    pub fn unchanged() -> Self {
        Self {
            fates: std::array::from_fn(|n| Fate::As(n as u8)),
            voice: None,
            keys: KeySink::Nowhere,
            listens: false,
            packet_ms: None,
        }
    }

    /// From a partner whose packets bear the numbers of `from`, to a peer that agreed to `to`. It gets nothing else: not
    /// even noise.
    pub fn between(from: &[Codec], to: &[Codec]) -> Self {
        let voice = to.iter().find_map(Voice::of);
        let mut fates = [Fate::Dropped; 128];
        // These numbers mean the same to everybody; the sender need not have said so.
        for codec in to {
            if codec.fixed_payload_type() == Some(codec.payload_type) {
                fates[number(codec)] = Fate::As(codec.payload_type);
            }
        }
        for codec in from {
            fates[number(codec)] = match (codec.find_in(to), coding(codec), voice) {
                (Some(same), ..) => Fate::As(same.payload_type),
                (None, Some(coding), Some(_)) => Fate::Voice(coding),
                (None, None, Some(_)) if codec.is_noise() => Fate::Silence,
                _ => Fate::Dropped,
            };
        }
        let events = to.iter().find(|codec| is_events(codec));
        Self {
            fates,
            voice,
            keys: events.map_or(KeySink::Nowhere, |codec| {
                KeySink::Events(codec.payload_type)
            }),
            listens: false,
            packet_ms: None,
        }
    }

    /// The same where packets of `comes` milliseconds come, and the peer says which it would like and which is the longest
    /// that it can take. G.711 is cut as it wants; other voices are what they are.
    pub(super) fn with_packets(
        mut self,
        comes: u16,
        wanted: Option<u16>,
        longest: Option<u16>,
    ) -> Self {
        let fits = |ms: &u16| longest.is_none_or(|longest| *ms <= longest);
        let usual = Some(comes).filter(fits);
        let ms = wanted.filter(fits).or(usual).or(longest).unwrap_or(comes);
        let possible = PACKET_MS.iter().rev().find(|possible| **possible <= ms);
        let is_g711 = self
            .voice
            .is_some_and(|v| matches!(v.coding, Coding::G711(_)));
        self.packet_ms = possible.copied().filter(|ms| is_g711 && *ms != comes);
        self
    }

    /// The same where the partner, whose packets bear the numbers of `from`, and the peer have keys in these forms.
    pub(super) fn with_keys(mut self, from: &[Codec], partner: Dtmf, peer: Dtmf) -> Self {
        self.listens = partner == Dtmf::Inband && peer != Dtmf::Inband;
        self.keys = match peer {
            Dtmf::Info => KeySink::Told,
            Dtmf::Inband if self.voice.is_some() => KeySink::Tones,
            _ => self.keys,
        };
        if matches!(self.keys, KeySink::Told | KeySink::Tones) {
            for codec in from.iter().filter(|codec| is_events(codec)) {
                self.fates[number(codec)] = Fate::Key;
            }
        }
        self
    }

    /// Whether keys that the partner sends in its media reach the peer in another form.
    pub fn changes_keys(&self) -> bool {
        self.listens || matches!(self.keys, KeySink::Told | KeySink::Tones)
    }

    /// What becomes of packets of this payload type.
    pub fn of(&self, payload_type: u8) -> Fate {
        self.fates[usize::from(payload_type & 0x7f)]
    }

    /// Decides it anew.
    pub fn set(&mut self, payload_type: u8, fate: Fate) {
        self.fates[usize::from(payload_type & 0x7f)] = fate;
    }

    /// The voice that packets become, if any are converted.
    pub fn converts(&self) -> Option<Voice> {
        let converted = |fate: &Fate| matches!(fate, Fate::Voice(_) | Fate::Silence);
        self.voice.filter(|_| self.fates.iter().any(converted))
    }
}

impl Voice {
    fn of(codec: &Codec) -> Option<Self> {
        Some(Self {
            coding: coding(codec)?,
            payload_type: codec.payload_type,
        })
    }
}

/// Telephone events by the clock that telephony has.
fn is_events(codec: &Codec) -> bool {
    codec.name.eq_ignore_ascii_case("telephone-event") && codec.clock == 8000
}

/// These and telephone events, for a partner that has keys in another form, which are made of them.
pub(super) fn with_events(codecs: &[Codec]) -> Vec<Codec> {
    let mut codecs = codecs.to_vec();
    if !codecs.iter().any(is_events) {
        codecs.push(Codec {
            fmtp: Some("0-16".into()),
            ..Codec::new(101, "telephone-event", 8000)
        });
    }
    codecs
}

fn number(codec: &Codec) -> usize {
    usize::from(codec.payload_type & 0x7f)
}

fn coding(codec: &Codec) -> Option<Coding> {
    match (codec.fixed_payload_type()?, codec.is_voice()) {
        (8, true) => Some(Coding::G711(Law::A)),
        (0, true) => Some(Coding::G711(Law::Mu)),
        (9, true) => Some(Coding::G722),
        _ => None,
    }
}

/// What a peer can be offered besides its partner's codecs: what we convert to and from one of these.
pub(super) fn further(partner: &[Codec]) -> Vec<Codec> {
    if !partner.iter().any(|codec| coding(codec).is_some()) {
        return Vec::new();
    }
    let mut further = vec![
        Codec::new(8, "PCMA", 8000),
        Codec::new(0, "PCMU", 8000),
        Codec::new(9, "G722", 8000),
    ];
    further.retain(|codec| codec.find_in(partner).is_none());
    further
}

/// The codecs for the answer to a peer that offers these, `best` first, for a partner that takes those: the partner's own,
/// and where none of them is offered, the best that we convert.
pub(super) fn answerable(partner: &[Codec], best: &[Codec]) -> Vec<Codec> {
    let mut codecs = partner.to_vec();
    if !share_voice(partner, best) {
        let further = further(partner);
        let converted = best.iter().find(|codec| codec.find_in(&further).is_some());
        codecs.splice(0..0, converted.cloned());
    }
    codecs
}

/// Whether two legs have a codec to talk in.
pub fn share_voice(one: &[Codec], other: &[Codec]) -> bool {
    one.iter()
        .any(|codec| codec.is_voice() && codec.find_in(other).is_some())
}

/// Whether two legs can talk, if need be because we convert.
pub fn can_talk(one: &[Codec], other: &[Codec]) -> bool {
    let converted = |codecs: &[Codec]| codecs.iter().any(|codec| coding(codec).is_some());
    share_voice(one, other) || converted(one) && converted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcma() -> Codec {
        Codec::new(8, "PCMA", 8000)
    }

    fn pcmu() -> Codec {
        Codec::new(0, "PCMU", 8000)
    }

    fn g722() -> Codec {
        Codec::new(9, "G722", 8000)
    }

    /// Equal passages are one in memory, however often they are made; of many different ones the newest are remembered.
    #[test]
    fn equal_passages_are_shared() {
        let mut passages = Passages::default();
        let different = |number: usize| {
            let mut passage = Passage::unchanged();
            passage.set(number as u8, Fate::Dropped);
            passage
        };
        let first = passages.share(different(0));
        assert!(Arc::ptr_eq(&first, &passages.share(different(0))));
        for number in 1..100 {
            assert_eq!(*passages.share(different(number)), different(number));
            assert!(passages.0.len() <= Passages::MOST);
        }
        assert!(!Arc::ptr_eq(&first, &passages.share(different(0))));
        let newest = passages.share(different(99));
        assert!(Arc::ptr_eq(&newest, &passages.share(different(99))));
    }

    fn events(payload_type: u8) -> Codec {
        Codec::new(payload_type, "telephone-event", 8000)
    }

    fn noise(payload_type: u8, clock: u32) -> Codec {
        Codec::new(payload_type, "CN", clock)
    }

    fn names(codecs: &[Codec]) -> Vec<&str> {
        codecs.iter().map(|codec| &*codec.name).collect()
    }

    /// What both know is renumbered; nobody gets a number that it has not agreed to, whoever sends it.
    #[test]
    fn what_both_know_is_renumbered_and_nothing_else_passes() {
        let silk = Codec::new(104, "SILK", 16_000);
        let from = [
            pcma(),
            events(101),
            Codec::new(98, "iLBC", 8000),
            silk.clone(),
        ];
        let there = Codec {
            fmtp: Some("0-15".into()),
            ..events(96)
        };
        let to = [
            Codec::new(8, "pcma", 8000),
            there,
            Codec::new(111, "silk", 16_000),
        ];
        let passage = Passage::between(&from, &to);
        let fates = [8, 101, 104, 98, 0, 96, 127].map(|number| passage.of(number));
        use Fate::*;
        assert_eq!(
            fates,
            [As(8), As(96), As(111), Dropped, Dropped, Dropped, Dropped]
        );
        assert_eq!(passage.converts(), None);
    }

    /// A sender that forgot to say what everybody knows is understood, as long as the receiver takes it.
    #[test]
    fn fixed_numbers_speak_for_themselves() {
        let passage = Passage::between(&[pcmu()], &[pcmu(), pcma()]);
        assert_eq!((passage.of(8), passage.of(9)), (Fate::As(8), Fate::Dropped));
    }

    /// Voice that the other does not take is converted, what it does take is not.
    #[test]
    fn voice_is_converted_where_there_is_no_other_way() {
        let passage = Passage::between(&[pcmu(), g722(), pcma()], &[events(101), pcma()]);
        assert_eq!(passage.of(8), Fate::As(8));
        assert_eq!(passage.of(0), Fate::Voice(Coding::G711(Law::Mu)));
        assert_eq!(passage.of(9), Fate::Voice(Coding::G722));
        let voice = passage.converts().unwrap();
        assert_eq!(
            (voice.coding, voice.payload_type),
            (Coding::G711(Law::A), 8)
        );
        let opus = [Codec::new(111, "opus", 48_000)];
        assert_eq!(Passage::between(&[pcmu()], &opus).of(0), Fate::Dropped);
        assert_eq!(Passage::between(&opus, &[pcmu()]).of(111), Fate::Dropped);
    }

    /// TDR-814: comfort noise passes where both have it; else it becomes silence, in a voice that the peer takes.
    #[test]
    fn noise_goes_only_where_it_was_agreed() {
        let from = [pcma(), noise(13, 8000), noise(118, 16_000)];
        let both = Passage::between(&from, &[pcma(), noise(13, 8000)]);
        assert_eq!((both.of(13), both.of(118)), (Fate::As(13), Fate::Silence));
        let without = Passage::between(&from, &[pcmu()]);
        assert_eq!(
            (without.of(13), without.of(118)),
            (Fate::Silence, Fate::Silence)
        );
        let other = Passage::between(&from, &[Codec::new(18, "G729", 8000)]);
        assert_eq!(other.of(13), Fate::Dropped);
    }

    /// Packets are cut anew where a peer wants others than come, in lengths that there are; no other voice than G.711.
    #[test]
    fn packets_are_cut_where_they_must_be() {
        let ms = |codec: Codec, comes, wanted, longest| {
            let passage =
                Passage::between(std::slice::from_ref(&codec), std::slice::from_ref(&codec));
            passage.with_packets(comes, wanted, longest).packet_ms
        };
        for (comes, wanted, longest, cut) in [
            (20, None, None, None),
            (20, Some(20), Some(200), None),
            (20, Some(30), None, Some(30)),
            (30, Some(20), None, Some(20)),
            (20, Some(60), Some(40), None),
            (60, None, Some(40), Some(40)),
            (20, None, Some(10), Some(10)),
            (20, Some(50), None, Some(40)),
            (20, Some(5), None, None),
        ] {
            assert_eq!(
                ms(pcma(), comes, wanted, longest),
                cut,
                "{comes} {wanted:?} {longest:?}"
            );
        }
        assert_eq!(ms(g722(), 20, Some(30), None), None);
        assert_eq!(ms(Codec::new(18, "G729", 8000), 20, Some(30), None), None);
    }

    /// Events pass between two who have them. Who gets keys otherwise is sent none; who gives tones is listened to.
    #[test]
    fn keys_change_their_form() {
        let (with, without) = ([pcma(), events(101)], [pcma()]);
        let passage = |from: &[Codec], to: &[Codec], partner, peer| {
            let passage = Passage::between(from, to).with_keys(from, partner, peer);
            (passage.of(101), passage.keys, passage.listens)
        };
        use Dtmf::*;
        assert_eq!(
            passage(&with, &with, Events, Events),
            (Fate::As(101), KeySink::Events(101), false)
        );
        assert_eq!(
            passage(&with, &without, Events, Info),
            (Fate::Key, KeySink::Told, false)
        );
        assert_eq!(
            passage(&with, &without, Events, Inband),
            (Fate::Key, KeySink::Tones, false)
        );
        assert_eq!(
            passage(&without, &with, Inband, Events),
            (Fate::Dropped, KeySink::Events(101), true)
        );
        assert!(!passage(&without, &without, Inband, Inband).2);
        assert_eq!(passage(&without, &without, Inband, Info).1, KeySink::Told);
        assert_eq!(names(&with_events(&without)), ["PCMA", "telephone-event"]);
        assert_eq!(with_events(&with), with);
    }

    /// Further codecs are those that we convert, and only for somebody whom we can convert.
    #[test]
    fn offers_hold_what_can_be_converted() {
        assert_eq!(names(&further(&[pcmu(), events(101)])), ["PCMA", "G722"]);
        assert_eq!(names(&further(&[pcmu(), pcma(), g722()])), [""; 0]);
        assert_eq!(names(&further(&[Codec::new(104, "SILK", 16_000)])), [""; 0]);
    }

    /// An answer holds what both have; a codec that has to be converted, one and the best, only if there is none.
    #[test]
    fn answers_convert_only_what_they_must() {
        let partner = [pcmu(), events(101)];
        assert_eq!(
            names(&answerable(&partner, &[pcma(), pcmu()])),
            ["PCMU", "telephone-event"]
        );
        assert_eq!(
            names(&answerable(&partner, &[g722(), pcma()])),
            ["G722", "PCMU", "telephone-event"]
        );
        let g729 = Codec::new(18, "G729", 8000);
        assert!(can_talk(&partner, &[g722()]) && !can_talk(&partner, &[g729]));
    }
}
