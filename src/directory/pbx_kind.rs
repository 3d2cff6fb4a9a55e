//! How kinds of exchanges differ where a user of theirs registers: one table.

use super::{AssertedIdentity, CallHistory, Profile, ReliableProvisionals};

/// A kind of exchange that a template is made for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PbxKind {
    /// Any that keeps to the RFCs.
    #[default]
    Generic,
    /// NetSapiens.
    Netsapiens,
    /// Asterisk with PJSIP, and FreePBX.
    Asterisk,
    /// FreeSWITCH, and FusionPBX.
    Freeswitch,
    /// Cisco BroadWorks.
    Broadsoft,
    /// 3CX.
    ThreeCx,
}

/// What is not as with the others.
struct Difference {
    kind: PbxKind,
    /// Of the catalogue of PBX types.
    code: &'static str,
    /// What it learns of the number at Teams, besides From, which is always its own user.
    identity: AssertedIdentity,
    /// How it is told by whom a call was diverted.
    history: CallHistory,
    /// Whether provisional responses may be reliable.
    reliable: ReliableProvisionals,
}

/// | kind | From | number at Teams | diverted by | 100rel | Contact |
/// |---|---|---|---|---|---|
/// | generic | its user | not told | not told | if asked | token |
/// | netsapiens | its user | P-Asserted-Identity | Diversion | no | token |
/// | asterisk | its user; PJSIP finds the endpoint by it | P-Asserted-Identity, believed with `trust_id_inbound` | Diversion | if asked | token, which `qualify_frequency` asks by OPTIONS |
/// | freeswitch | its user | P-Asserted-Identity | Diversion | if asked | token |
/// | broadsoft | its user; another one is refused | not told: who comes by the access side is not trusted | History-Info | if asked | token |
/// | 3cx | its user; the name for digest differs | not told | not told | no | token |
const TABLE: [Difference; 6] = [
    Difference {
        kind: PbxKind::Generic,
        code: "generic",
        identity: AssertedIdentity::Drop,
        history: CallHistory::Drop,
        reliable: ReliableProvisionals::Supported,
    },
    Difference {
        kind: PbxKind::Netsapiens,
        code: "netsapiens",
        identity: AssertedIdentity::Rewrite,
        history: CallHistory::Diversion,
        reliable: ReliableProvisionals::Never,
    },
    Difference {
        kind: PbxKind::Asterisk,
        code: "asterisk",
        identity: AssertedIdentity::Rewrite,
        history: CallHistory::Diversion,
        reliable: ReliableProvisionals::Supported,
    },
    Difference {
        kind: PbxKind::Freeswitch,
        code: "freeswitch",
        identity: AssertedIdentity::Rewrite,
        history: CallHistory::Diversion,
        reliable: ReliableProvisionals::Supported,
    },
    Difference {
        kind: PbxKind::Broadsoft,
        code: "broadsoft",
        identity: AssertedIdentity::Drop,
        history: CallHistory::HistoryInfo,
        reliable: ReliableProvisionals::Supported,
    },
    Difference {
        kind: PbxKind::ThreeCx,
        code: "3cx",
        identity: AssertedIdentity::Drop,
        history: CallHistory::Drop,
        reliable: ReliableProvisionals::Never,
    },
];

impl PbxKind {
    /// The kind of a type of the catalogue; one that a carrier has added itself is generic.
    pub fn of_type(code: &str) -> Self {
        let found = TABLE
            .iter()
            .find(|difference| difference.code.eq_ignore_ascii_case(code));
        found.map_or(Self::Generic, |difference| difference.kind)
    }

    /// What legs to such an exchange are like until somebody says otherwise.
    pub fn profile(self) -> Profile {
        let Some(difference) = TABLE.iter().find(|difference| difference.kind == self) else {
            return Profile::trunk();
        };
        Profile {
            asserted_identity: difference.identity,
            call_history: difference.history,
            reliable_provisionals: difference.reliable,
            ..Profile::trunk()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind has its row; a type that a carrier has added is like any.
    #[test]
    fn every_kind_is_in_the_table() {
        for kind in [
            PbxKind::Generic,
            PbxKind::Netsapiens,
            PbxKind::Asterisk,
            PbxKind::Freeswitch,
            PbxKind::Broadsoft,
            PbxKind::ThreeCx,
        ] {
            let row = TABLE.iter().find(|row| row.kind == kind).unwrap();
            assert_eq!(PbxKind::of_type(&row.code.to_uppercase()), kind);
            assert_eq!(kind.profile().call_history, row.history);
        }
        assert_eq!(PbxKind::of_type("ringlogix"), PbxKind::Generic);
    }
}
