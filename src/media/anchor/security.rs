use super::{MediaError, MediaPolicy};
use crate::media::Crypto;
use crate::sdp::{CryptoLine, MasterKey, Mki, Suite};

/// The tag of the one line that we offer (TDR-831).
const OUR_TAG: u32 = 1;
/// TDR-832, in packets.
const LIFETIME: u64 = 1 << 31;

/// The line that we offer. One suite, no MKI; in a dialog that has agreed on others, those.
pub(super) fn offer(
    key: &MasterKey,
    policy: &MediaPolicy,
    agreed: Option<&CryptoLine>,
) -> CryptoLine {
    let suite = agreed.map_or(Suite::AesCm128HmacSha1_80, |line| line.suite);
    ours(
        key,
        policy,
        OUR_TAG,
        suite,
        agreed.and_then(|line| line.mki.clone()),
    )
}

/// The line that answers `theirs`: its tag, its suite, and its MKI if it has one, since a peer that offers nothing
/// else expects one in our packets too (TDR-832).
pub(super) fn answer(key: &MasterKey, policy: &MediaPolicy, theirs: &CryptoLine) -> CryptoLine {
    ours(key, policy, theirs.tag, theirs.suite, theirs.mki.clone())
}

fn ours(
    key: &MasterKey,
    policy: &MediaPolicy,
    tag: u32,
    suite: Suite,
    mki: Option<Mki>,
) -> CryptoLine {
    CryptoLine {
        tag,
        suite,
        key: key.clone(),
        lifetime: policy.lifetime.then_some(LIFETIME),
        mki,
    }
}

/// Which line of an offer to take: SHA1_80 wherever it stands (TDR-831), without MKI if there is a choice.
pub(super) fn choose(lines: &[CryptoLine], ours: &MasterKey) -> Result<CryptoLine, MediaError> {
    best(lines.iter(), ours, |line| (line.suite, line.mki.is_some()))
}

/// Which line of an answer to `offered` holds the peer's key. Peers were seen that answer several, or other tags
/// (TDR-832); the suite must be the one that we offered.
pub(super) fn accept(lines: &[CryptoLine], offered: &CryptoLine) -> Result<CryptoLine, MediaError> {
    let same_suite = lines.iter().filter(|line| line.suite == offered.suite);
    best(same_suite, &offered.key, |line| {
        (line.tag != offered.tag, line.mki.is_some())
    })
}

fn best<'a, K: Ord>(
    lines: impl Iterator<Item = &'a CryptoLine>,
    ours: &MasterKey,
    rank: impl Fn(&CryptoLine) -> K,
) -> Result<CryptoLine, MediaError> {
    let line = lines
        .min_by_key(|line| rank(line))
        .ok_or(MediaError::NoUsableCrypto)?;
    if line.key == *ours {
        Err(MediaError::OurOwnKey)
    } else {
        Ok(line.clone())
    }
}

/// Both directions, from the two lines that were exchanged.
pub(super) fn both(ours: &CryptoLine, theirs: &CryptoLine) -> Crypto {
    let mki = |line: &CryptoLine| {
        line.mki
            .as_ref()
            .map_or_else(Vec::new, |mki| mki.bytes.clone())
    };
    Crypto {
        suite: ours.suite,
        receive: theirs.key.clone(),
        // At most 128, see `Mki`.
        receive_mki_length: mki(theirs).len().try_into().unwrap_or(u8::MAX),
        send: ours.key.clone(),
        send_mki: mki(ours),
    }
}
