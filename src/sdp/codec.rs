use super::Section;
use std::fmt;
use std::sync::Arc;

/// One payload type of an audio stream (RFC 8866 §6.6). Clones share the texts: a call has dozens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// 0 to 127.
    pub payload_type: u8,
    /// As the peer spells it; compared without case.
    pub name: Arc<str>,
    /// Clock rate in Hz.
    pub clock: u32,
    /// 1 unless said otherwise.
    pub channels: u8,
    /// What the format's parameters say, without the payload type.
    pub fmtp: Option<Arc<str>>,
}

/// RFC 3551 §6, table 4: the types that need no rtpmap.
const STATIC: [(u8, &str, u32, u8); 17] = [
    (0, "PCMU", 8000, 1),
    (3, "GSM", 8000, 1),
    (4, "G723", 8000, 1),
    (5, "DVI4", 8000, 1),
    (6, "DVI4", 16000, 1),
    (7, "LPC", 8000, 1),
    (8, "PCMA", 8000, 1),
    (9, "G722", 8000, 1),
    (10, "L16", 44100, 2),
    (11, "L16", 44100, 1),
    (12, "QCELP", 8000, 1),
    (13, "CN", 8000, 1),
    (14, "MPA", 90000, 1),
    (15, "G728", 8000, 1),
    (16, "DVI4", 11025, 1),
    (17, "DVI4", 22050, 1),
    (18, "G729", 8000, 1),
];

impl Codec {
    /// A codec of one channel.
    pub fn new(payload_type: u8, name: &str, clock: u32) -> Self {
        Self {
            payload_type,
            name: name.into(),
            clock,
            channels: 1,
            fmtp: None,
        }
    }

    /// What every telephone understands, to be offered where nobody has offered anything yet: G.711, comfort noise
    /// (TDR-814) and telephone-event.
    pub fn basic() -> Vec<Self> {
        let events = Self {
            fmtp: Some("0-16".into()),
            ..Self::new(101, "telephone-event", 8000)
        };
        vec![
            Self::new(8, "PCMA", 8000),
            Self::new(0, "PCMU", 8000),
            Self::new(13, "CN", 8000),
            events,
        ]
    }

    /// The codecs of a medium, in the order of its `m=` line. Left out are payload types without a meaning, and those
    /// whose packets a relay that may renumber payload types cannot carry, since they hold such numbers themselves.
    pub(super) fn read(formats: &str, section: Section<'_>) -> Vec<Self> {
        let maps = by_payload_type(section, "rtpmap");
        let parameters = by_payload_type(section, "fmtp");
        let mut codecs: Vec<Self> = Vec::new();
        for payload_type in formats
            .split_ascii_whitespace()
            .filter_map(|f| f.parse::<u8>().ok())
        {
            let Some(map) = maps.get(usize::from(payload_type)) else {
                continue;
            };
            if codecs.iter().any(|c| c.payload_type == payload_type) {
                continue;
            }
            let Some(mut codec) = map.map_or_else(
                || Self::fixed(payload_type),
                |m| Self::mapped(payload_type, m),
            ) else {
                continue;
            };
            let fmtp = parameters[usize::from(payload_type)];
            codec.fmtp = fmtp
                .filter(|text| !text.contains(|c: char| c.is_control()))
                .map(Arc::from);
            if !codec.holds_other_types() {
                codecs.push(codec);
            }
        }
        codecs
    }

    fn fixed(payload_type: u8) -> Option<Self> {
        let &(_, name, clock, channels) = STATIC.iter().find(|row| row.0 == payload_type)?;
        Some(Self {
            channels,
            ..Self::new(payload_type, name, clock)
        })
    }

    fn mapped(payload_type: u8, map: &str) -> Option<Self> {
        let mut parts = map.split_ascii_whitespace().next()?.split('/');
        let name = parts
            .next()
            .filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_graphic()))?;
        let clock = parts.next()?.parse().ok().filter(|&clock| clock > 0)?;
        let channels = parts
            .next()
            .map_or(Some(1), |n| n.parse().ok())
            .filter(|&n| n > 0)?;
        Some(Self {
            channels,
            ..Self::new(payload_type, name, clock)
        })
    }

    /// Same name, clock and channels: the same bits on the wire, whatever the number. Format parameters are the
    /// receiver's wishes and decide nothing.
    pub fn is_same(&self, other: &Self) -> bool {
        self.registered_name()
            .eq_ignore_ascii_case(other.registered_name())
            && (self.clock, self.channels) == (other.clock, other.channels)
    }

    /// Peers were seen that name G.729 by the annex they use, under the number of G.729.
    fn registered_name(&self) -> &str {
        if self.name.eq_ignore_ascii_case("G729A") {
            "G729"
        } else {
            &self.name
        }
    }

    /// The one of these that is the same, preferring equal parameters where a codec is listed twice.
    pub fn find_in<'a>(&self, codecs: &'a [Self]) -> Option<&'a Self> {
        let mut same = codecs.iter().filter(|c| self.is_same(c));
        let first = same.clone().next();
        same.find(|c| c.fmtp == self.fmtp).or(first)
    }

    /// Whether this is comfort noise (RFC 3389), which goes with voice of the same clock.
    pub fn is_noise(&self) -> bool {
        self.name.eq_ignore_ascii_case("CN")
    }

    /// Whether this carries speech by itself, unlike comfort noise and telephone events.
    pub fn is_voice(&self) -> bool {
        let events = ["telephone-event", "tone"];
        !self.is_noise()
            && !events
                .iter()
                .any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// The number that RFC 3551 gives to this codec.
    pub fn fixed_payload_type(&self) -> Option<u8> {
        let same = |row: &&(u8, &str, u32, u8)| {
            self.name.eq_ignore_ascii_case(row.1) && (self.clock, self.channels) == (row.2, row.3)
        };
        STATIC.iter().find(same).map(|row| row.0)
    }

    /// RFC 2198, 5109 and 4588: the payload, or the parameters, name other payload types.
    fn holds_other_types(&self) -> bool {
        ["red", "ulpfec", "parityfec", "rtx"]
            .iter()
            .any(|name| self.name.eq_ignore_ascii_case(name))
    }
}

/// As in an rtpmap.
impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.clock)?;
        if self.channels > 1 {
            write!(f, "/{}", self.channels)
        } else {
            Ok(())
        }
    }
}

/// `a=name:<payload type> <value>` by payload type; the first of each counts.
fn by_payload_type<'a>(section: Section<'a>, name: &'static str) -> [Option<&'a str>; 128] {
    let mut table = [None; 128];
    for value in section.values(name) {
        let Some((payload_type, rest)) = value.split_once([' ', '\t']) else {
            continue;
        };
        if let Some(place) = payload_type
            .parse::<usize>()
            .ok()
            .and_then(|n| table.get_mut(n))
        {
            place.get_or_insert(rest.trim_ascii());
        }
    }
    table
}

/// The codecs that both lists have: order and parameters of `wanted`, payload types of `numbered`.
pub fn intersect(wanted: &[Codec], numbered: &[Codec]) -> Vec<Codec> {
    let mut both: Vec<Codec> = Vec::new();
    for codec in wanted {
        let Some(found) = codec.find_in(numbered) else {
            continue;
        };
        if !both.iter().any(|c| c.payload_type == found.payload_type) {
            both.push(Codec {
                payload_type: found.payload_type,
                ..codec.clone()
            });
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::SessionDescription;

    fn read(formats: &str, attributes: &str) -> Vec<String> {
        let text = format!("v=0\r\nm=audio 4000 RTP/AVP {formats}\r\n{attributes}");
        let description = SessionDescription::parse(text).unwrap();
        let (media, section) = description.media(0).unwrap();
        let show = |c: Codec| {
            format!(
                "{} {c} {}",
                c.payload_type,
                c.fmtp.as_deref().unwrap_or_default()
            )
            .trim_end()
            .to_owned()
        };
        Codec::read(media.formats, section)
            .into_iter()
            .map(show)
            .collect()
    }

    /// The m-line gives the order, the rtpmap the meaning, RFC 3551 the rest.
    #[test]
    fn codecs_are_read_in_the_order_of_the_media_line() {
        let attributes = "a=fmtp:101 0-16\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:96 opus/48000/2\r\n\
            a=rtpmap:99 unused/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:0 PCMU/8000/1\r\n";
        assert_eq!(
            read("96 18 0 101 13", attributes),
            [
                "96 opus/48000/2",
                "18 G729/8000 annexb=no",
                "0 PCMU/8000",
                "101 telephone-event/8000 0-16",
                "13 CN/8000"
            ]
        );
    }

    /// Unknown dynamic numbers, numbers beyond 127, words, repetitions and broken maps are passed over, as is RED.
    #[test]
    fn what_has_no_meaning_is_left_out() {
        let attributes = "a=rtpmap:97 RED/8000\r\na=rtpmap:98 x\r\na=rtpmap:99 /8000\r\na=rtpmap:100 a/0\r\n\
            a=rtpmap:8 PCMA/8000\r\na=rtpmap:8 other/8000\r\na=rtpmap:200 y/8000\r\n";
        assert_eq!(
            read("96 97 98 99 100 128 200 999 t38 8 8", attributes),
            ["8 PCMA/8000"]
        );
        assert_eq!(read("0", "a=fmtp:0 \u{1}\r\n"), ["0 PCMU/8000"]);
    }

    #[test]
    fn an_intersection_keeps_the_order_of_one_and_the_numbers_of_the_other() {
        let offered = [
            Codec::new(0, "PCMU", 8000),
            Codec::new(8, "PCMA", 8000),
            Codec::new(96, "Telephone-Event", 8000),
        ];
        let both = intersect(&Codec::basic(), &offered);
        assert_eq!(
            both.iter().map(|c| c.payload_type).collect::<Vec<_>>(),
            [8, 0, 96]
        );
        assert_eq!(both[2].fmtp.as_deref(), Some("0-16"));
        assert!(intersect(&[Codec::new(101, "telephone-event", 16000)], &offered).is_empty());
    }

    /// Of two AMR forms the one with equal parameters is meant.
    #[test]
    fn parameters_decide_only_between_two_of_a_kind() {
        let amr = |payload_type, fmtp: &str| Codec {
            fmtp: Some(fmtp.into()),
            ..Codec::new(payload_type, "AMR", 8000)
        };
        let two = [amr(96, "octet-align=0"), amr(97, "octet-align=1")];
        assert_eq!(
            amr(1, "octet-align=1").find_in(&two).unwrap().payload_type,
            97
        );
        assert_eq!(amr(1, "mode-set=7").find_in(&two).unwrap().payload_type, 96);
    }

    #[test]
    fn g729_is_known_by_its_annex_too() {
        assert!(Codec::new(18, "g729a", 8000).is_same(&Codec::new(18, "G729", 8000)));
        assert!(!Codec::new(18, "G729", 8000).is_same(&Codec::new(18, "G723", 8000)));
    }

    #[test]
    fn a_codec_knows_its_fixed_number() {
        assert_eq!(Codec::new(98, "pcma", 8000).fixed_payload_type(), Some(8));
        assert_eq!(Codec::new(98, "pcma", 16000).fixed_payload_type(), None);
    }
}
