//! Every metric, in one table; nothing else in the program knows a metric's name.
//!
//! What changes with every packet or message is counted in plain structs of the modules below and copied here from
//! time to time with [`Counter::total`]. Gauges must be set again at least every ten minutes: one that is not is taken
//! for something that no longer exists (a deleted customer, say) and disappears.

mod recorder;
mod series;

pub use recorder::{Exporter, MetricsError, serve};
pub use series::{Counter, Gauge, Histogram};

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often which duration occurred.
    Histogram,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As Prometheus shows it.
    pub name: &'static str,
    /// What it measures.
    pub kind: Kind,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

macro_rules! table {
    ($($name:ident = $kind:ident $text:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = concat!($help, ".")]
            pub static $name: $kind<{ <[&str]>::len(&[$($label),*]) }> = $kind::new($text, [$($label),*]);
        )*
        /// All metrics.
        pub const TABLE: &[Metric] = &[$(
            Metric { name: $text, kind: Kind::$kind, help: $help, labels: &[$($label),*] },
        )*];
    };
}

table! {
    BUILD = Gauge "tollgate_build_info" ["version"] "Always 1; tells the version";
    DIRECTORY_GENERATION = Gauge "tollgate_directory_generation" [] "Generation of the routing snapshot that calls obey";

    CALLS_ACTIVE = Gauge "tollgate_calls_active" [] "Calls from their INVITE to their end";
    CALLS_LIMIT = Gauge "tollgate_calls_limit" [] "Calls that may be active at once in all";
    CALLS = Counter "tollgate_calls_total" ["direction"] "Calls admitted";
    CALLS_REFUSED = Counter "tollgate_calls_refused_total" ["reason"] "INVITEs refused by us";
    ANNOUNCEMENTS = Counter "tollgate_announcements_total" ["announcement", "outcome"] "Refused callers that were to hear why";
    ANNOUNCEMENTS_ACTIVE = Gauge "tollgate_announcements_active" [] "Refused callers that hear why";
    ANNOUNCEMENTS_LIMIT = Gauge "tollgate_announcements_limit" [] "Refused callers that may hear why at once";
    PHONE_REGISTERS = Counter "tollgate_phone_registers_total" ["outcome"] "REGISTERs of desk telephones, and what became of them";
    ACTIVATIONS = Counter "tollgate_phone_activations_total" ["outcome"] "Calls of telephones that are to be activated";
    PHONES_REGISTERED = Gauge "tollgate_phones_registered" [] "Desk telephones that are registered";
    CALL_SETUP = Histogram "tollgate_call_setup_seconds" [] "Time from the INVITE to the answer of calls that were answered";

    CHANNELS_LIMIT = Gauge "tollgate_channels_limit" ["customer"] "Calls that a customer may have at once";
    CHANNELS_IN_USE = Gauge "tollgate_channels_in_use" ["customer"] "Calls that a customer has";
    CHANNELS_REJECTED = Counter "tollgate_channels_rejected_total" ["customer", "reason"] "Calls of a customer that we refused";

    INVITES = Counter "tollgate_invites_total" ["peer", "direction"] "INVITEs that began a dialog, by trunk or gateway";
    RESPONSES = Counter "tollgate_responses_total" ["peer", "direction", "class"] "Final responses to those INVITEs, by class such as 4xx";
    CALLERS_FOREIGN = Counter "tollgate_callers_foreign_total" ["trunk"] "Calls to Teams that a trunk brought in the name of another customer's number";
    CREDENTIALS_REFUSED = Counter "tollgate_credentials_refused_total" ["trunk", "reason"] "INVITEs of trunks with digest without the right credentials; one with none is asked for them";
    PEER_UP = Gauge "tollgate_peer_up" ["kind", "peer"] "1 if a trunk or Microsoft proxy answers, else 0";
    PEER_DOWN = Gauge "tollgate_peer_down" ["kind", "peer", "reason"] "1 for the reason for which a peer does not answer, else 0";

    REGISTRATIONS = Gauge "tollgate_registrations" ["state"] "Users registered at their exchanges, by how they stand";
    REGISTRATIONS_FAILING = Gauge "tollgate_registrations_failing" ["code"] "Users whose last REGISTER failed, by the exchange's answer; 0: none";
    REGISTERS_SENT = Counter "tollgate_registers_sent_total" [] "REGISTERs sent to exchanges, without repetitions";
    REGISTERS_ANSWERED = Counter "tollgate_registers_answered_total" ["code"] "Final answers of exchanges to REGISTERs, challenges too; none: nobody answered";

    SIP_RECEIVED = Counter "tollgate_sip_requests_received_total" ["method"] "Requests received, without repetitions";
    SIP_MALFORMED = Counter "tollgate_sip_malformed_total" [] "Messages that could not be read";
    SIP_RETRANSMISSIONS = Counter "tollgate_sip_retransmissions_total" ["direction"] "Messages sent or received again";
    SIP_TIMEOUTS = Counter "tollgate_sip_timeouts_total" [] "Requests of ours that nobody answered";
    SIP_TRANSPORT_FAILURES = Counter "tollgate_sip_transport_failures_total" [] "Messages of ours that could not be sent";
    LARGE_DATAGRAMS = Counter "tollgate_large_datagrams_total" ["trunk"] "Requests sent to a trunk by UDP with more than 1300 bytes, which may not arrive whole; see the profile's udp_to_tcp";
    KEYS_LOST = Counter "tollgate_keys_lost_total" ["trunk"] "Keys of which a trunk could not be told by INFO";
    SIP_TRANSACTIONS = Gauge "tollgate_sip_transactions" [] "Transactions that exist";
    SIP_TABLE_FULL = Counter "tollgate_sip_transactions_refused_total" [] "Requests refused because too many transactions exist";
    CONNECTIONS = Gauge "tollgate_connections" [] "TCP and TLS connections that are open";
    QUEUE_FILL = Gauge "tollgate_queue_fill_ratio" ["queue"] "How full a queue between parts of the program is, 0 to 1";
    QUEUE_DROPPED = Counter "tollgate_queue_dropped_total" ["queue"] "What was dropped because a queue was full";

    TLS_FAILURES = Counter "tollgate_tls_handshake_failures_total" ["reason"] "TLS handshakes that failed";
    CERTIFICATE_EXPIRY = Gauge "tollgate_certificate_expiry_timestamp_seconds" ["certificate"] "Unix time at which a certificate of ours expires";

    RTP_PACKETS = Counter "tollgate_rtp_packets_total" ["direction"] "RTP packets received and sent";
    RTP_DROPPED = Counter "tollgate_rtp_dropped_total" ["reason"] "Packets that were not forwarded";
    SRTP_FAILURES = Counter "tollgate_srtp_authentication_failures_total" [] "SRTP and SRTCP packets with a wrong tag";
    RTP_SOURCE_MOVES = Counter "tollgate_rtp_source_moves_total" [] "Times that a peer's packets went on from elsewhere than before";
    MEDIA_LEGS = Gauge "tollgate_media_legs" [] "Legs whose media ports are open";
    MEDIA_THREAD_LEGS = Gauge "tollgate_media_thread_legs" ["thread"] "Legs whose media ports are open, by relay thread";
    MEDIA_RECEIVE_BUFFER = Gauge "tollgate_media_receive_buffer_bytes" [] "What the system keeps of each media socket until it is read";
    MEDIA_ONE_WAY = Counter "tollgate_media_one_way_total" ["why"] "Answered calls in which only one side was heard, by what kept the other away";
    MEDIA_INACTIVE = Counter "tollgate_media_inactive_total" [] "Legs that fell silent for longer than allowed";
    ICE_CHECKS = Counter "tollgate_ice_checks_total" ["result"] "STUN messages on media ports of calls with media bypass, and what became of them";
    ICE_PATHS = Counter "tollgate_ice_paths_total" ["event"] "What happened to paths of calls with media bypass";
    MEDIA_PORTS_FREE = Gauge "tollgate_media_port_pairs_free" [] "Pairs of ports left for new legs";
    MEDIA_PORTS_HURRIED = Counter "tollgate_media_port_pairs_hurried_total" [] "Pairs of ports taken again before they had rested, because no other was left";

    PHONE_FILES = Counter "tollgate_phone_files_total" ["vendor", "result"] "Files that telephones asked for or brought, and what became of it";
    PHONE_FILES_LIMITED = Counter "tollgate_phone_files_limited_total" [] "Requests of telephones that were refused because one address sent too many";
    PHONE_CONNECTIONS = Counter "tollgate_phone_connections_total" ["result"] "Connections of telephones that wanted files, and what became of them";
    PHONE_REDIRECTS = Counter "tollgate_phone_redirects_total" ["result"] "Telephones that the makers' redirect service was told of";
    SIGN_INS = Counter "tollgate_sign_ins_total" ["outcome"] "People who signed in at the OpenID provider, and what became of it";
    MAILS = Counter "tollgate_mails_total" ["result"] "Letters handed to the mail server, and what came of it";
    MAILS_WAITING = Gauge "tollgate_mails_waiting" [] "Letters that have not left";

    CDR_WRITTEN = Counter "tollgate_cdr_written_total" [] "Call records written to the spool";
    CDR_FAILED = Counter "tollgate_cdr_failed_total" [] "Call records that could not be written";
    LADDER_BYTES = Gauge "tollgate_ladder_bytes" [] "Bytes of SIP messages that are kept for ladders";
    LADDER_EVICTED = Counter "tollgate_ladder_evicted_total" [] "SIP messages that had to leave the ladders before their time";

    CDR_SPOOLED = Gauge "tollgate_cdr_spooled" [] "Call records that wait in the spool for the database";
}

/// Why a peer does not answer; the label values of [`PEER_DOWN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// No response in time.
    Timeout,
    /// No connection, or TLS refused.
    Transport,
    /// Its name leads nowhere.
    Dns,
    /// It answers that it cannot serve (503, 403 and the like).
    Response,
}

/// Sets [`PEER_UP`] and [`PEER_DOWN`] of one peer; `kind` is `teams` or `trunk`.
pub fn peer(kind: &'static str, peer: &str, down: Option<Down>) {
    const REASONS: [(Down, &str); 4] = [
        (Down::Timeout, "timeout"),
        (Down::Transport, "transport"),
        (Down::Dns, "dns"),
        (Down::Response, "response"),
    ];
    PEER_UP.set([kind, peer], if down.is_none() { 1.0 } else { 0.0 });
    for (reason, name) in REASONS {
        PEER_DOWN.set(
            [kind, peer, name],
            if down == Some(reason) { 1.0 } else { 0.0 },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Prometheus' rules: own prefix, units in the name, `_total` on counters and only there, every name once.
    #[test]
    fn names_follow_the_rules() {
        let names: BTreeSet<_> = TABLE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for metric in TABLE {
            assert!(metric.name.starts_with("tollgate_"), "{metric:?}");
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{metric:?}"
            );
            assert_eq!(
                metric.name.ends_with("_seconds") && !metric.name.contains("timestamp"),
                metric.kind == Kind::Histogram
            );
            assert!(
                !metric.help.ends_with('.') && metric.labels.len() <= 3,
                "{metric:?}"
            );
        }
    }

    /// A peer that is down has exactly one reason, and none when it is up again.
    #[test]
    fn a_peer_is_down_for_one_reason() {
        let text = recorder::rendered(|| peer("trunk", "office", Some(Down::Dns)));
        assert!(
            text.contains(r#"tollgate_peer_up{kind="trunk",peer="office"} 0"#),
            "{text}"
        );
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("tollgate_peer_down{") && line.ends_with(" 1"))
                .count(),
            1
        );
        let text = recorder::rendered(|| peer("trunk", "office", None));
        assert!(
            text.contains(r#"tollgate_peer_up{kind="trunk",peer="office"} 1"#),
            "{text}"
        );
        assert!(
            !text
                .lines()
                .any(|line| line.starts_with("tollgate_peer_down{") && line.ends_with(" 1"))
        );
    }
}
