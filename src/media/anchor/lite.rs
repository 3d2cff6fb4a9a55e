use crate::base::Random;
use crate::media::IceConfig;
use crate::sdp::{Ice, IceCredentials};

/// Our side of ICE in one dialog, as a lite agent (RFC 8445 §2.5): credentials that stay the same until the peer
/// restarts (TDR-843, TDR-844). The candidates are our address and ports, which never change.
pub(super) struct Lite {
    ours: IceCredentials,
    theirs: Option<IceCredentials>,
    random: Random,
}

impl Lite {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut random = random.split();
        Self {
            ours: IceCredentials::draw(&mut random),
            theirs: None,
            random,
        }
    }

    pub(super) fn ours(&self) -> &IceCredentials {
        &self.ours
    }

    /// We are about to answer an offer with these: a restart is answered by new credentials of ours, once
    /// (RFC 8839 §4.4.3.1.1).
    pub(super) fn answering(&mut self, theirs: &IceCredentials) {
        if let Some(before) = &self.theirs
            && theirs.restart(before)
        {
            self.ours = IceCredentials::draw(&mut self.random);
        }
    }

    /// Agreed. Of several forks that answer one offer the last counts, which is no restart.
    pub(super) fn agreed(&mut self, theirs: Option<&Ice>) {
        self.theirs = theirs.map(|ice| ice.credentials.clone());
    }

    /// What the relay must know.
    pub(super) fn config(&self) -> IceConfig {
        IceConfig {
            ours: self.ours.clone(),
            remote_ufrag: self.theirs.as_ref().map(|theirs| theirs.ufrag.clone()),
        }
    }
}
