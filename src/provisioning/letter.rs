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

impl Letter {
    /// That an administrator should sign in at Microsoft for a service.
    pub fn token_invitation(
        customer: &str,
        service: &str,
        link: &str,
        expires: OffsetDateTime,
    ) -> Self {
        let expires = format!(
            "{} {:02}:{:02} UTC",
            expires.date(),
            expires.hour(),
            expires.minute()
        );
        let values = [
            ("customer", customer),
            ("service", service),
            ("link", link),
            ("expires", &expires),
        ];
        TOKEN_INVITATION.filled(&values)
    }
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
