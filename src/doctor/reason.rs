//! What Microsoft means by its answers: SIP status, sub-code or words of a Reason header, cause and remedy. The one
//! table of its kind (TDR sections 1, 2 and 4, from Microsoft's articles on SIP response codes).

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// What is wrong.
    pub cause: &'static str,
    /// What helps.
    pub remedy: &'static str,
}

/// Status, sub-code or words that its Reason or phrase holds (empty: whatever it says), cause, remedy. What stands
/// first and fits counts.
#[rustfmt::skip]
const TABLE: &[(u16, &str, &str, &str)] = &[
    (400, "540400", "the message is malformed or not supported", "look at the ladder: what differs from a call that works?"),
    (403, "510532", "the FQDN in Contact is no trunk of the tenant", "add the trunk in the tenant, or wait up to 4 hours after a change (TDR-1213)"),
    (403, "510534", "the tenant blocks the caller's number", "look at the tenant's blocked numbers (Get-CsInboundBlockedNumberPattern)"),
    (403, "510560", "the called user has no Enterprise Voice or no Teams Phone licence", "license the user and assign the number anew"),
    (403, "10199", "private calls are disabled for the user", "look at the user's calling policy (AllowPrivateCalling)"),
    (403, "10500", "location-based routing forbids the call", "look at the trunk's GatewaySiteId and GatewaySiteLbrEnabled (TDR-1009)"),
    (403, "10553", "the compliance recorder failed", "look at the tenant's recording application"),
    (403, "Record-Route and Contact headers are missing", "OPTIONS or INVITE without Contact", "a Contact with the trunk's FQDN is needed (TDR-203)"),
    (403, "", "an address in Contact, a FQDN that the certificate does not have or no tenant knows, or a domain that is not verified or not activated", "compare certificate, FQDN and tenant; activation by a licensed user takes up to 24 hours (TDR-203, TDR-210)"),
    (404, "10202", "the call to be replaced is not there", "a transfer's INVITE was sent twice (TDR-709)"),
    (404, "511404", "the number is not assigned in this tenant, or is written otherwise", "assign it exactly as it is sent, in E.164 with + (TDR-1301)"),
    (404, "", "the number is not assigned in this tenant, or is written otherwise", "assign it exactly as it is sent, in E.164 with + (TDR-1301)"),
    (408, "1106", "Teams answered and got no ACK", "the way back to Teams is broken: look at Contact, port and firewall (TDR-514)"),
    (408, "500001", "the SBC did not answer in time", "raise FailoverTimeSeconds of the trunk to 20 (TDR-215)"),
    (410, "531000", "the session description cannot be read", "look at the offer in the ladder"),
    (410, "531004", "ICE checks failed", "look at the firewall for media ports (TDR-802)"),
    (410, "531005", "the media path is broken", "look at the firewall for media ports (TDR-802)"),
    (412, "510412", "the called number is malformed", "send it in E.164 with +"),
    (415, "540415", "no offer, or a body of another kind", "an INVITE to Teams carries application/sdp and nothing else (TDR-411)"),
    (420, "540420", "an extension that Teams does not know is required", "Require must not name any, as 100rel (TDR-413)"),
    (422, "540422", "the session interval is too small", "raise calls.session_expires_s to 1800 (TDR-414)"),
    (480, "10037", "no client of the user is signed in", "nothing on the SBC: the user is offline"),
    (480, "10140", "a bot's settings keep the call away", "look at the tenant's application"),
    (480, "10191", "voicemail is disabled", "look at the user's voicemail policy"),
    (480, "No callee endpoints were found", "the FQDN also serves Azure Communication Services", "use another FQDN there (TDR-112)"),
    (486, "10321", "a bot is busy", "nothing on the SBC"),
    (488, "531027", "the trunk has media bypass and the offer no ICE candidate", "switch MediaBypass off in the tenant, or offer candidates (TDR-841)"),
    (488, "531052", "0.0.0.0 in the session description", "hold with a=inactive (TDR-601)"),
    (488, "SrtpEncryptionRequired", "media without SRTP", "offer RTP/SAVP with AES_CM_128_HMAC_SHA1_80 (TDR-830)"),
    (488, "531000", "no codec in common, or media without SRTP", "offer G.711 in RTP/SAVP (TDR-810, TDR-830)"),
    (500, "510482", "Teams sees a loop", "look at History-Info and forwarding rules (TDR-308)"),
    (500, "510544", "no trunk is configured for outbound or emergency calls", "look at the voice routes of the tenant (TDR-1008)"),
    (503, "", "the data centre is busy", "nothing: the next proxy is tried (TDR-212)"),
    (504, "569002", "the SBC's certificate is not for the trunk's FQDN", "have it issued for base and *.base (TDR-129, TDR-130)"),
    (504, "569009", "the SBC's certificate does not lead to a root that Microsoft trusts", "use a public authority and send the intermediates (TDR-122, TDR-127)"),
    (504, "569015", "the trunk's FQDN does not exist in DNS", "add an A record (TDR-108)"),
    (504, "569016", "the trunk's FQDN has no address in DNS", "add an A record for that very name (TDR-108, TDR-109)"),
    (504, "549002", "the request line or Via lacks SIP/2.0", "look at the ladder (TDR-415)"),
    (504, "549018", "the request line or Via lacks SIP/2.0", "look at the ladder (TDR-415)"),
    (603, "", "the user declined", "nothing on the SBC (TDR-517)"),
];

/// What an answer of Teams means; `words` are its reason phrase and Reason headers.
pub fn meaning<'a>(
    status: u16,
    words: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<Meaning> {
    let says = |code: &str| {
        let mut words = words.clone().into_iter();
        code.is_empty() || words.any(|text| holds(text, code))
    };
    let row = TABLE
        .iter()
        .find(|(of, code, ..)| *of == status && says(code));
    row.map(|(.., cause, remedy)| Meaning { cause, remedy })
}

/// A code must stand alone: 10500 is not in 105001.
fn holds(text: &str, code: &str) -> bool {
    let is_digit = |at: Option<usize>| {
        at.and_then(|at| text.as_bytes().get(at))
            .is_some_and(u8::is_ascii_digit)
    };
    let numeric = code.bytes().all(|b| b.is_ascii_digit());
    text.match_indices(code)
        .any(|(at, _)| !numeric || !is_digit(at.checked_sub(1)) && !is_digit(Some(at + code.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sub-codes go before what a status says by itself, and stand alone.
    #[test]
    fn an_answer_is_decoded() {
        let cause = |status, text: &str| meaning(status, [text]).map(|m| m.cause);
        let reason = "Q.850;cause=21;text=\"a1b2;CallId;510532;No trunk\"";
        assert_eq!(
            cause(403, reason),
            Some("the FQDN in Contact is no trunk of the tenant")
        );
        assert!(
            cause(403, "Forbidden")
                .unwrap()
                .starts_with("an address in Contact")
        );
        assert_eq!(cause(403, "105001"), cause(403, ""));
        assert!(cause(403, "[10500]").unwrap().contains("location-based"));
        let missing = "Q.850;cause=63;text=\"x Record-Route and Contact headers are missing\"";
        assert!(cause(403, missing).unwrap().contains("without Contact"));
        assert_eq!((cause(486, "Busy Here"), cause(200, "OK")), (None, None));
    }

    /// TDR-112, TDR-1522: that a name also serves another Microsoft service is seen when a call fails, and told then.
    #[test]
    fn a_name_that_serves_another_service_is_told() {
        let words = [
            "Temporarily Unavailable",
            "Q.850;cause=31;text=\"a1; No callee endpoints were found.\"",
        ];
        let found = meaning(480, words).unwrap();
        assert!(
            found.cause.contains("Azure Communication Services"),
            "{found:?}"
        );
        assert!(meaning(480, ["Temporarily Unavailable"]).is_none());
    }

    /// No row is hidden by one before it.
    #[test]
    fn every_row_can_be_reached() {
        for (status, code, cause, remedy) in TABLE {
            let found = meaning(*status, [*code]).unwrap();
            assert_eq!(
                (found.cause, found.remedy),
                (*cause, *remedy),
                "{status} {code}"
            );
        }
    }
}
