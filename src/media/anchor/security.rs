use super::{MediaError, MediaPolicy};
use crate::base::Random;
use crate::media::Crypto;
use crate::sdp::{CryptoLine, MasterKey, Mki, Suite};

/// The tag of the first line that we offer, and of the only one to Teams (TDR-831).
const FIRST_TAG: u32 = 1;
/// TDR-832, in packets.
const LIFETIME: u64 = 1 << 31;

/// Our keys through the life of a dialog: one for each suite that the policy has, in its order. No two lines of an offer
/// share a key, because no key may serve two ciphers.
pub(super) struct Keys(Vec<(Suite, MasterKey)>);

impl Keys {
    pub(super) fn draw(suites: &[Suite], random: &mut Random) -> Self {
        Self(
            suites
                .iter()
                .map(|suite| (*suite, key(*suite, random)))
                .collect(),
        )
    }

    /// More of them.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    fn rank(&self, suite: Suite) -> Option<usize> {
        self.0.iter().position(|(own, _)| *own == suite)
    }

    fn of(&self, suite: Suite) -> Option<&MasterKey> {
        self.rank(suite).map(|place| &self.0[place].1)
    }

    fn holds(&self, key: &MasterKey) -> bool {
        self.0.iter().any(|(_, own)| own == key)
    }

    /// The lines that we offer: one for each suite, without MKI; in a dialog that has agreed on one of them and perhaps
    /// on an MKI, that one.
    pub(super) fn offer(
        &self,
        policy: &MediaPolicy,
        agreed: Option<&CryptoLine>,
    ) -> Vec<CryptoLine> {
        let offered = self
            .0
            .iter()
            .filter(|(suite, _)| agreed.is_none_or(|line| line.suite == *suite));
        let mki = agreed.and_then(|line| line.mki.clone());
        (FIRST_TAG..)
            .zip(offered)
            .map(|(tag, (suite, key))| line(key, policy, tag, *suite, mki.clone()))
            .collect()
    }

    /// The line that answers `theirs`: its tag, its suite, and its MKI if it has one, since a peer that offers nothing
    /// else expects one in our packets too (TDR-832).
    pub(super) fn answer(
        &self,
        policy: &MediaPolicy,
        theirs: &CryptoLine,
    ) -> Result<CryptoLine, MediaError> {
        let key = self.of(theirs.suite).ok_or(MediaError::NoUsableCrypto)?;
        Ok(line(
            key,
            policy,
            theirs.tag,
            theirs.suite,
            theirs.mki.clone(),
        ))
    }

    /// Which line of an offer to take: that of the policy's first suite wherever it stands (TDR-831), without MKI if
    /// there is a choice.
    pub(super) fn choose(&self, lines: &[CryptoLine]) -> Result<CryptoLine, MediaError> {
        let usable = lines.iter().filter(|line| self.rank(line.suite).is_some());
        self.best(usable, |line| (self.rank(line.suite), line.mki.is_some()))
    }

    /// Which line of an answer holds the peer's key, and which of ours it answers. Peers were seen that answer several,
    /// or other tags (TDR-832); the suite must be one that we offered.
    pub(super) fn accept(
        &self,
        lines: &[CryptoLine],
        offered: &[CryptoLine],
    ) -> Result<(CryptoLine, CryptoLine), MediaError> {
        let ours = |line: &CryptoLine| offered.iter().position(|ours| ours.suite == line.suite);
        let same_suite = lines.iter().filter(|line| ours(line).is_some());
        let theirs = self.best(same_suite, |line| {
            let tag = ours(line).map(|place| offered[place].tag);
            (tag != Some(line.tag), ours(line), line.mki.is_some())
        })?;
        let ours = offered.iter().find(|ours| ours.suite == theirs.suite);
        Ok((ours.ok_or(MediaError::NoUsableCrypto)?.clone(), theirs))
    }

    fn best<'a, K: Ord>(
        &self,
        lines: impl Iterator<Item = &'a CryptoLine>,
        rank: impl Fn(&CryptoLine) -> K,
    ) -> Result<CryptoLine, MediaError> {
        let line = lines
            .min_by_key(|line| rank(line))
            .ok_or(MediaError::NoUsableCrypto)?;
        if self.holds(&line.key) {
            Err(MediaError::OurOwnKey)
        } else {
            Ok(line.clone())
        }
    }
}

fn key(suite: Suite, random: &mut Random) -> MasterKey {
    match suite {
        Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => random.bytes::<30>().into(),
        Suite::AesCm256HmacSha1_80 => random.bytes::<46>().into(),
        Suite::AeadAes128Gcm => random.bytes::<28>().into(),
        Suite::AeadAes256Gcm => random.bytes::<44>().into(),
    }
}

fn line(
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
