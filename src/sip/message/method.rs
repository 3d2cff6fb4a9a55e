use std::fmt;

macro_rules! methods {
    ($($variant:ident $text:literal $doc:literal,)*) => {
        /// A request's method. Methods are case-sensitive: `invite` is [`Method::Other`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Method {
            $(#[doc = $doc] $variant,)*
            /// One that is not known here; `Message::method_text` has it as written.
            Other,
        }

        impl Method {
            /// The method of this name.
            pub fn from_bytes(text: &[u8]) -> Self {
                $(if text == $text.as_bytes() { return Self::$variant; })*
                Self::Other
            }

            /// Its name; `OTHER` for [`Method::Other`], which is never sent.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "OTHER",
                }
            }
        }
    };
}

methods! {
    Invite "INVITE" "RFC 3261 §13.",
    Ack "ACK" "RFC 3261 §13.",
    Bye "BYE" "RFC 3261 §15.",
    Cancel "CANCEL" "RFC 3261 §9.",
    Options "OPTIONS" "RFC 3261 §11.",
    Register "REGISTER" "RFC 3261 §10.",
    Prack "PRACK" "RFC 3262.",
    Update "UPDATE" "RFC 3311.",
    Info "INFO" "RFC 6086.",
    Notify "NOTIFY" "RFC 6665.",
    Subscribe "SUBSCRIBE" "RFC 6665.",
    Refer "REFER" "RFC 3515.",
    Message "MESSAGE" "RFC 3428.",
    Publish "PUBLISH" "RFC 3903.",
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_one_case() {
        assert_eq!(Method::from_bytes(b"INVITE"), Method::Invite);
        assert_eq!(Method::from_bytes(b"invite"), Method::Other);
        assert_eq!(
            Method::from_bytes(Method::Publish.text().as_bytes()),
            Method::Publish
        );
    }
}
