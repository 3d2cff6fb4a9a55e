use std::fmt;

use super::line::Line;

macro_rules! names {
    ($($variant:ident $text:literal $($compact:literal)?,)*) => {
        /// A header's name. Names are equal in whatever case, and in their compact form (RFC 3261 §7.3.3).
        #[derive(Debug, Clone, Copy)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other name. Naming a known header this way means the known header.
            Extension(&'static str),
            /// Not a header: how errors name the Request-URI.
            RequestUri,
        }

        #[repr(u8)]
        enum Known { $($variant,)* }

        /// Every spelling and the number of the name it stands for.
        const SPELLINGS: &[(&str, u8)] = &[
            $(($text, Known::$variant as u8), $(($compact, Known::$variant as u8),)?)*
        ];

        impl Name {
            /// As it is printed.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Extension(text) => text,
                    Self::RequestUri => "Request-URI",
                }
            }

            /// The number that stands for the name in a message's table, or [`Line::UNKNOWN`].
            #[inline]
            pub(super) fn known(self) -> u8 {
                match self {
                    $(Self::$variant => Known::$variant as u8,)*
                    Self::Extension(text) => number(text.as_bytes()),
                    Self::RequestUri => Line::UNKNOWN,
                }
            }
        }
    };
}

names! {
    Accept "Accept",
    AcceptContact "Accept-Contact" "a",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AlertInfo "Alert-Info",
    Allow "Allow",
    AllowEvents "Allow-Events" "u",
    AuthenticationInfo "Authentication-Info",
    Authorization "Authorization",
    CallId "Call-ID" "i",
    CallInfo "Call-Info",
    Contact "Contact" "m",
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding" "e",
    ContentLanguage "Content-Language",
    ContentLength "Content-Length" "l",
    ContentType "Content-Type" "c",
    CSeq "CSeq",
    Date "Date",
    Diversion "Diversion",
    ErrorInfo "Error-Info",
    Event "Event" "o",
    Expires "Expires",
    FlowTimer "Flow-Timer",
    From "From" "f",
    Geolocation "Geolocation",
    GeolocationError "Geolocation-Error",
    GeolocationRouting "Geolocation-Routing",
    HistoryInfo "History-Info",
    Identity "Identity" "y",
    IdentityInfo "Identity-Info" "n",
    InReplyTo "In-Reply-To",
    Join "Join",
    MaxForwards "Max-Forwards",
    MimeVersion "MIME-Version",
    MinExpires "Min-Expires",
    MinSe "Min-SE",
    Organization "Organization",
    PAccessNetworkInfo "P-Access-Network-Info",
    PAssertedIdentity "P-Asserted-Identity",
    Path "Path",
    PCalledPartyId "P-Called-Party-ID",
    PChargingVector "P-Charging-Vector",
    PEarlyMedia "P-Early-Media",
    PPreferredIdentity "P-Preferred-Identity",
    Priority "Priority",
    Privacy "Privacy",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    Rack "RAck",
    Reason "Reason",
    RecordRoute "Record-Route",
    ReferredBy "Referred-By" "b",
    ReferSub "Refer-Sub",
    ReferTo "Refer-To" "r",
    RejectContact "Reject-Contact" "j",
    RemotePartyId "Remote-Party-ID",
    Replaces "Replaces",
    ReplyTo "Reply-To",
    RequestDisposition "Request-Disposition" "d",
    Require "Require",
    RetryAfter "Retry-After",
    Route "Route",
    Rseq "RSeq",
    Server "Server",
    ServiceRoute "Service-Route",
    SessionExpires "Session-Expires" "x",
    SessionId "Session-ID",
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Subject "Subject" "s",
    SubscriptionState "Subscription-State",
    Supported "Supported" "k",
    TargetDialog "Target-Dialog",
    Timestamp "Timestamp",
    To "To" "t",
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    UserToUser "User-to-User",
    Via "Via" "v",
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

/// The number of Content-Length, which the parser and the builder treat unlike others.
pub(super) const CONTENT_LENGTH: u8 = Known::ContentLength as u8;

/// The number of the name that is spelt so, or [`Line::UNKNOWN`].
pub(super) fn number(text: &[u8]) -> u8 {
    let mut slot = slot(text);
    loop {
        match SLOTS[slot] {
            EMPTY => return Line::UNKNOWN,
            entry => {
                let (spelling, number) = SPELLINGS[entry as usize];
                // Nearly always the case is the usual one, and comparing bytes is quicker.
                if spelling.as_bytes() == text || spelling.as_bytes().eq_ignore_ascii_case(text) {
                    return number;
                }
            }
        }
        slot = (slot + 1) % SLOTS.len();
    }
}

const EMPTY: u8 = u8::MAX;

/// Open addressing over the spellings, filled by the compiler: at most half full, so a search ends soon.
static SLOTS: [u8; 512] = {
    let mut slots = [EMPTY; 512];
    let mut entry = 0;
    while entry < SPELLINGS.len() {
        let mut at = slot(SPELLINGS[entry].0.as_bytes());
        while slots[at] != EMPTY {
            at = (at + 1) % slots.len();
        }
        slots[at] = entry as u8;
        entry += 1;
    }
    slots
};

const fn slot(text: &[u8]) -> usize {
    let Some((&last, _)) = text.split_last() else {
        return 0;
    };
    let (first, middle, last) = (text[0] | 0x20, text[text.len() / 2] | 0x20, last | 0x20);
    (first as usize * 7 + middle as usize * 31 + last as usize * 101 + text.len() * 13) % 512
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        match (self.known(), other.known()) {
            (Line::UNKNOWN, Line::UNKNOWN) => self.text().eq_ignore_ascii_case(other.text()),
            (one, another) => one == another,
        }
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every spelling is found in upper, lower and its own case, and nothing else is.
    #[test]
    fn names_are_found_in_any_case() {
        assert!(SPELLINGS.len() < usize::from(EMPTY));
        // `Message::check` keeps a bit for each name.
        assert!(SPELLINGS.iter().all(|(_, known)| *known < 128));
        for (text, known) in SPELLINGS {
            for spelling in [text.to_string(), text.to_uppercase(), text.to_lowercase()] {
                assert_eq!(number(spelling.as_bytes()), *known, "{spelling}");
            }
        }
        for other in ["", "x-ms-userlocation", "Vi", "Vla", "z", "Call-ID "] {
            assert_eq!(number(other.as_bytes()), Line::UNKNOWN, "{other}");
        }
    }

    #[test]
    fn an_extension_of_a_known_name_is_that_name() {
        assert_eq!(Name::Extension("call-id"), Name::CallId);
        assert_eq!(Name::Extension("i"), Name::CallId);
        assert_eq!(Name::Extension("X-One"), Name::Extension("x-one"));
        assert_ne!(Name::Extension("X-One"), Name::Extension("X-Two"));
        assert_ne!(Name::RequestUri, Name::CallId);
    }
}
