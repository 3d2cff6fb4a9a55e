//! What letters say, and when one that has not left is tried again.

use time::{Duration, OffsetDateTime};

/// The longest text, with everything filled in, in bytes.
pub const LONGEST_LETTER: usize = 16 << 10;
/// The longest value that is filled in, in characters.
const LONGEST_VALUE: usize = 512;
/// When nobody waits for a letter any more.
pub const LETTER_LASTS: Duration = Duration::hours(48);

/// A letter, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// What kind it is, for lists.
    pub kind: &'static str,
    /// One line.
    pub subject: String,
    /// The rest.
    pub text: String,
}

/// What stands in a letter, with `{name}` where something is filled in.
#[derive(Debug, Clone, Copy)]
struct Template {
    kind: &'static str,
    subject: &'static str,
    text: &'static str,
}

const TOKEN_INVITATION: Template = Template {
    kind: "token_invitation",
    subject: "Connect {customer} to Microsoft Teams",
    text: "Hello,\n\
        \n\
        the service {service} of {customer}\n\
        is to be connected to Microsoft Teams. For this a Global Administrator\n\
        of your Microsoft 365 tenant signs in once and agrees to it. Please open\n\
        this page and follow it:\n\
        \n\
        {link}\n\
        \n\
        The link is for you alone and can be used until\n\
        {expires}. Who did not expect this letter can ignore it.\n",
};

const REGISTRATION: Template = Template {
    kind: "customer_registration",
    subject: "Connect {customer} to Microsoft Teams",
    text: "Hello,\n\
        \n\
        {customer} is to be connected to Microsoft Teams, and you are named as\n\
        its Global Administrator at Microsoft 365. Your invitation code is\n\
        \n\
        {code}\n\
        \n\
        Please open this page, enter the code and click Complete; then you are\n\
        asked to sign in at Microsoft and to agree:\n\
        \n\
        {link}\n\
        \n\
        Code and link are for you alone and can be used until\n\
        {expires}. Who did not expect this letter can ignore it.\n",
};

const PARTNER_ACTIVATION: Template = Template {
    kind: "partner_activation",
    subject: "Activate the account of {partner}",
    text: "Hello,\n\
        \n\
        an account was made for {partner}.\n\
        It can look, and change nothing, until it is activated. Please open this\n\
        page and click Activate:\n\
        \n\
        {link}\n\
        \n\
        The link is for you alone and can be used until\n\
        {expires}. Who did not expect this letter can ignore it.\n",
};

impl Letter {
    /// That a customer's administrator should register, with the code for it.
    pub fn registration(customer: &str, link: &str, code: &str, expires: OffsetDateTime) -> Self {
        let expires = minute(expires);
        let values = [
            ("customer", customer),
            ("code", code),
            ("link", link),
            ("expires", &expires),
        ];
        REGISTRATION.filled(&values)
    }

    /// That a partner should activate its account.
    pub fn partner_activation(partner: &str, link: &str, expires: OffsetDateTime) -> Self {
        let expires = minute(expires);
        let values = [("partner", partner), ("link", link), ("expires", &expires)];
        PARTNER_ACTIVATION.filled(&values)
    }

    /// That an administrator should sign in at Microsoft for a service.
    pub fn token_invitation(
        customer: &str,
        service: &str,
        link: &str,
        expires: OffsetDateTime,
    ) -> Self {
        let expires = minute(expires);
        let values = [
            ("customer", customer),
            ("service", service),
            ("link", link),
            ("expires", &expires),
        ];
        TOKEN_INVITATION.filled(&values)
    }
}

fn minute(time: OffsetDateTime) -> String {
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

impl Template {
    fn filled(self, values: &[(&str, &str)]) -> Letter {
        Letter {
            kind: self.kind,
            subject: filled(self.subject, values),
            text: filled(self.text, values),
        }
    }
}

/// The text with values in their places. What a customer is called cannot make a line of its own, nor another place.
fn filled(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else {
            break;
        };
        out.push_str(before);
        let value = values.iter().find(|(known, _)| *known == name);
        let value = value.map_or("", |(_, value)| value);
        let printable = value.chars().filter(|c| !c.is_control());
        out.extend(printable.take(LONGEST_VALUE));
        rest = behind;
    }
    out.push_str(rest);
    out.truncate(out.floor_char_boundary(LONGEST_LETTER));
    out
}

/// How long after its nth failure, from 1, a letter is tried again: once a minute at first, once an hour in the end.
pub fn letter_pause(failures: u32) -> Duration {
    match failures {
        0..=5 => Duration::minutes(1),
        6 => Duration::minutes(5),
        7 => Duration::minutes(15),
        8 => Duration::minutes(30),
        _ => Duration::HOUR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// Everything that the letter promises stands in it, and what others write cannot change its shape.
    #[test]
    fn an_invitation_names_its_link_and_its_end() {
        let name = "Contoso\r\nBcc: all@example.net {link}";
        let letter = Letter::token_invitation(
            name,
            "contoso-1",
            "https://sbc.example/invite/abc",
            datetime!(2026-05-04 03:02 UTC),
        );
        assert_eq!(
            letter.subject,
            "Connect ContosoBcc: all@example.net {link} to Microsoft Teams"
        );
        for part in [
            "contoso-1",
            "\nhttps://sbc.example/invite/abc\n",
            "2026-05-04 03:02 UTC",
        ] {
            assert!(letter.text.contains(part), "{part}: {}", letter.text);
        }
        let links = letter
            .text
            .matches("https://sbc.example/invite/abc")
            .count();
        assert_eq!(links, 1);
        assert!(!letter.text.contains("{customer}") && !letter.text.contains("{expires}"));
    }

    /// What a registration and a partner's activation need stands in their letters.
    #[test]
    fn letters_hold_what_their_pages_demand() {
        let at = datetime!(2026-05-04 03:02 UTC);
        let link = "https://sbc.example/invite/abc";
        let letter = Letter::registration("Contoso", link, "23Z2-ZBCD-EFGH", at);
        for part in [
            "\n23Z2-ZBCD-EFGH\n",
            "\nhttps://sbc.example/invite/abc\n",
            "03:02",
        ] {
            assert!(letter.text.contains(part), "{part}: {}", letter.text);
        }
        let letter = Letter::partner_activation("Sales", "https://sbc.example/activate/x", at);
        assert!(letter.text.contains("\nhttps://sbc.example/activate/x\n"));
        assert_eq!(letter.subject, "Activate the account of Sales");
    }

    /// However long what is filled in, a letter has an end.
    #[test]
    fn a_letter_is_bounded() {
        let long = "ß".repeat(100_000);
        assert_eq!(
            filled("{a}", &[("a", &long)]).chars().count(),
            LONGEST_VALUE
        );
        assert_eq!(filled(&long, &[]).len(), LONGEST_LETTER);
        assert_eq!(filled("{a", &[("a", "b")]), "{a");
    }

    /// once a minute at first.
    #[test]
    fn pauses_grow_to_an_hour() {
        let pauses = (1..12).map(|n| letter_pause(n).whole_minutes());
        let pauses: Vec<_> = pauses.collect();
        assert_eq!(pauses, [1, 1, 1, 1, 1, 5, 15, 30, 60, 60, 60]);
    }
}
