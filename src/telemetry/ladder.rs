//! A ladder diagram of one call's SIP messages, in text; [`recorder`] keeps those of all calls.

pub mod pcapng;
pub mod recorder;
pub mod redact;

use std::fmt;
use std::time::Duration;

/// Messages kept of one call; later ones are only counted.
const MOST: usize = 200;
/// Characters of a first line that fit on an arrow.
const LINE: usize = 40;
const GAP: usize = LINE + 6;

/// Who said what to whom in one call. Bounded: see [`Ladder::record`].
#[derive(Debug, Clone)]
pub struct Ladder {
    parties: Vec<String>,
    rungs: Vec<Rung>,
    left_out: usize,
}

#[derive(Debug, Clone)]
struct Rung {
    at: Duration,
    from: usize,
    to: usize,
    line: String,
}

impl Ladder {
    /// An empty ladder for these parties, named from left to right.
    pub fn new(parties: &[&str]) -> Self {
        Self {
            parties: parties.iter().map(|party| (*party).to_owned()).collect(),
            rungs: Vec::new(),
            left_out: 0,
        }
    }

    /// A message that went from one party to another (from left to right, the first is 0) at a time since the call began.
    /// Of a request line only the method and the user part stay, of a status line the code and the phrase. The 201st message and
    /// those after it are only counted, and so is one from a party to itself or to nobody.
    pub fn record(&mut self, at: Duration, from: usize, to: usize, first_line: &str) {
        if self.rungs.len() == MOST || from == to || from.max(to) >= self.parties.len() {
            self.left_out += 1;
            return;
        }
        self.rungs.push(Rung {
            at,
            from,
            to,
            line: shortened(first_line),
        });
    }

    /// How many messages were recorded.
    pub fn len(&self) -> usize {
        self.rungs.len()
    }

    /// Messages that are missing besides, as those that had to go before.
    pub fn leave_out(&mut self, messages: usize) {
        self.left_out += messages;
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.rungs.is_empty()
    }
}

/// `INVITE sip:+1@x SIP/2.0` as `INVITE +1`, `SIP/2.0 200 OK` as `200 OK`; never longer than an arrow.
fn shortened(line: &str) -> String {
    let line = match line.strip_prefix("SIP/2.0 ") {
        Some(status) => status.to_owned(),
        None => {
            let mut words = line.split_whitespace();
            let (method, uri) = (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            );
            let address = uri.split_once(':').map_or(uri, |(_, address)| address);
            let user = address.split_once('@').map_or("", |(user, _)| user);
            format!("{method} {user}").trim_end().to_owned()
        }
    };
    line.chars()
        .filter(|c| !c.is_control())
        .take(LINE)
        .collect()
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9} ", "ms")?;
        for party in &self.parties {
            let name: String = party.chars().take(GAP - 1).collect();
            write!(f, "{name:<GAP$}")?;
        }
        writeln!(f)?;
        let mut rungs: Vec<_> = self.rungs.iter().collect();
        rungs.sort_by_key(|rung| rung.at);
        for rung in rungs {
            let mut row = format!("{:>9.1} ", rung.at.as_secs_f64() * 1000.0);
            for gap in 0..self.parties.len().saturating_sub(1) {
                row.push('|');
                row.push_str(&across(rung, gap));
            }
            writeln!(f, "{row}|")?;
        }
        if self.left_out > 0 {
            writeln!(f, "{:>9} and {} more messages", "", self.left_out)?;
        }
        Ok(())
    }
}

/// What stands between party `gap` and the next one: nothing, a piece of a longer arrow, or the arrow with its text.
fn across(rung: &Rung, gap: usize) -> String {
    let (left, right) = (rung.from.min(rung.to), rung.from.max(rung.to));
    let width = GAP - 1;
    if gap < left || gap >= right {
        return " ".repeat(width);
    }
    let rightward = rung.from < rung.to;
    let text = if gap == left {
        format!(" {} ", rung.line)
    } else {
        String::new()
    };
    match rightward {
        true if gap + 1 == right => format!("{text:-^0$}>", width - 1),
        false if gap == left => format!("<{text:-^0$}", width - 1),
        _ => format!("{text:-^width$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrows point from the sender to the receiver, in the order of time, with lines cut to what a reader needs.
    #[test]
    fn a_call_reads_from_left_to_right() {
        let mut ladder = Ladder::new(&["Teams", "Tollgate", "PBX"]);
        ladder.record(Duration::from_millis(12), 1, 0, "SIP/2.0 200 OK");
        ladder.record(
            Duration::ZERO,
            0,
            1,
            "INVITE sip:+4930123456@a.example:5061;user=phone SIP/2.0",
        );
        ladder.record(
            Duration::from_micros(400),
            1,
            2,
            "INVITE sip:+4930123456@127.0.0.1 SIP/2.0",
        );
        ladder.record(Duration::from_millis(20), 2, 0, "BYE sip:127.0.0.1 SIP/2.0");
        let text = ladder.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].contains("Teams") && lines[0].contains("Tollgate") && lines[0].contains("PBX")
        );
        assert!(
            lines[1].starts_with("      0.0 |-")
                && lines[1].contains(" INVITE +4930123456 ")
                && lines[1].contains("->|  ")
        );
        assert!(lines[2].starts_with("      0.4 |  ") && lines[2].ends_with("->|"));
        assert!(lines[3].starts_with("     12.0 |<-") && lines[3].contains(" 200 OK "));
        assert!(lines[4].contains("|<-") && lines[4].contains(" BYE ") && lines[4].ends_with("-|"));
        assert!(
            lines
                .iter()
                .skip(1)
                .all(|line| line.chars().count() == lines[1].chars().count()),
            "{text}"
        );
    }

    /// However long a call goes on, 200 messages are kept; text from the network cannot break the picture.
    #[test]
    fn it_is_bounded() {
        let mut ladder = Ladder::new(&["a", "b", "c"]);
        for _ in 0..1000 {
            ladder.record(
                Duration::ZERO,
                0,
                1,
                &format!("SIP/2.0 200 \u{1b}[2J{}", "ä".repeat(500)),
            );
        }
        let text = ladder.to_string();
        assert_eq!((ladder.len(), text.lines().count()), (200, 202));
        assert!(text.contains("and 800 more messages") && !text.contains('\u{1b}'));
    }
}
