//! What is said and heard on the line: a code of thirteen digits, three tries.

use std::time::{Duration, Instant};

use super::ActivationAnswer;
use crate::audio::Announcement;

/// Digits of a code.
const CODE: usize = 13;
/// Tries in one call; a pause that is too long is one.
const TRIES: u8 = 3;
/// After a prompt, for the first digit.
const FIRST_DIGIT: Duration = Duration::from_secs(15);
/// After a digit, for the next one.
const NEXT_DIGIT: Duration = Duration::from_secs(5);
/// For whoever knows codes.
const ANSWER: Duration = Duration::from_secs(10);

/// What happens on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The telephone has been answered.
    Begins,
    /// A key was pressed.
    Key(char),
    /// What the code is worth.
    Answer(ActivationAnswer),
    /// The deadline has come.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Say this, in place of what is being said.
    Say(Announcement),
    /// Be silent.
    Hush,
    /// Ask what this code is worth.
    Ask(String),
    /// End the call.
    HangUp,
}

/// Where the conversation stands.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nothing was said yet.
    Silent,
    /// Digits are awaited, until then.
    Collecting {
        digits: String,
        until: Instant,
    },
    /// The answer is awaited, until then.
    Asking {
        until: Instant,
    },
    /// The last words are being said, until then.
    Parting {
        until: Instant,
    },
    Over,
}

/// One conversation.
#[derive(Debug)]
pub(super) struct Dialogue {
    state: State,
    wrong: u8,
    /// How it has ended, or stands.
    outcome: &'static str,
}

impl Default for Dialogue {
    fn default() -> Self {
        Self {
            state: State::Silent,
            wrong: 0,
            outcome: "abandoned",
        }
    }
}

impl Dialogue {
    /// The metric label.
    pub fn outcome(&self) -> &'static str {
        self.outcome
    }

    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Silent | State::Over => None,
            State::Collecting { until, .. }
            | State::Asking { until }
            | State::Parting { until } => Some(*until),
        }
    }

    /// One step. `lasts` tells how long it takes to say something.
    pub fn on(
        &mut self,
        event: Event,
        now: Instant,
        lasts: impl Fn(Announcement) -> Duration,
        out: &mut Vec<Output>,
    ) {
        use Announcement::{
            ActivationBusy, ActivationEnter, ActivationGoodbye, ActivationNotValid,
            ActivationThankYou,
        };
        let state = std::mem::replace(&mut self.state, State::Over);
        let mut say = |what| {
            out.push(Output::Say(what));
            now + lasts(what)
        };
        let collecting = |said: Instant| State::Collecting {
            digits: String::new(),
            until: said + FIRST_DIGIT,
        };
        self.state = match (state, event) {
            (State::Silent, Event::Begins) => collecting(say(ActivationEnter)),
            (State::Collecting { .. }, Event::Key('*')) => collecting(say(ActivationEnter)),
            (State::Collecting { mut digits, .. }, Event::Key(key)) => {
                if key.is_ascii_digit() {
                    digits.push(key);
                }
                let is_whole = digits.len() == CODE;
                if is_whole {
                    out.extend([Output::Hush, Output::Ask(digits)]);
                    State::Asking {
                        until: now + ANSWER,
                    }
                } else if key == '#' {
                    self.missed(say, ActivationNotValid, collecting)
                } else {
                    out.push(Output::Hush);
                    State::Collecting {
                        digits,
                        until: now + NEXT_DIGIT,
                    }
                }
            }
            (State::Collecting { digits, until }, Event::Timeout) if until <= now => {
                let what = match digits.is_empty() {
                    true => ActivationEnter,
                    false => ActivationNotValid,
                };
                self.missed(say, what, collecting)
            }
            (State::Asking { .. }, Event::Answer(ActivationAnswer::Bound)) => {
                self.outcome = "bound";
                State::Parting {
                    until: say(ActivationThankYou),
                }
            }
            (
                State::Asking { .. },
                Event::Answer(ActivationAnswer::NotValid | ActivationAnswer::Locked),
            ) => self.missed(say, ActivationNotValid, collecting),
            (State::Asking { .. }, Event::Answer(ActivationAnswer::Busy)) => {
                self.outcome = "busy";
                State::Parting {
                    until: say(ActivationBusy),
                }
            }
            (State::Asking { until }, Event::Timeout) if until <= now => {
                self.outcome = "busy";
                State::Parting {
                    until: say(ActivationBusy),
                }
            }
            (State::Parting { until }, Event::Timeout) if until <= now => {
                if self.outcome == "not_valid" {
                    self.outcome = "refused";
                    State::Parting {
                        until: say(ActivationGoodbye),
                    }
                } else {
                    out.push(Output::HangUp);
                    State::Over
                }
            }
            // Keys while nobody listens, and an answer that comes too late.
            (state, _) => state,
        };
    }

    /// One try less: `what` is said, and after the last one that it was the last.
    fn missed(
        &mut self,
        mut say: impl FnMut(Announcement) -> Instant,
        what: Announcement,
        collecting: impl Fn(Instant) -> State,
    ) -> State {
        self.wrong += 1;
        if self.wrong == TRIES && what == Announcement::ActivationEnter {
            // Who says nothing is not asked only to be told goodbye.
            self.outcome = "refused";
            let until = say(Announcement::ActivationGoodbye);
            return State::Parting { until };
        }
        let until = say(what);
        if self.wrong < TRIES {
            return collecting(until);
        }
        self.outcome = "not_valid";
        State::Parting { until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Announcement::{
        ActivationBusy, ActivationEnter, ActivationGoodbye, ActivationNotValid, ActivationThankYou,
    };
    use Output::{Ask, HangUp, Hush, Say};

    const PROMPT: Duration = Duration::from_secs(2);

    struct Test {
        dialogue: Dialogue,
        now: Instant,
    }

    impl Test {
        fn begun() -> Self {
            let (dialogue, now) = (Dialogue::default(), Instant::now());
            let mut test = Self { dialogue, now };
            assert_eq!(test.on(Event::Begins), [Say(ActivationEnter)]);
            test
        }

        fn on(&mut self, event: Event) -> Vec<Output> {
            let mut out = Vec::new();
            self.dialogue.on(event, self.now, |_| PROMPT, &mut out);
            out
        }

        fn keys(&mut self, keys: &str) -> Vec<Output> {
            let said = keys.chars().map(|key| self.on(Event::Key(key)));
            said.last().unwrap_or_default()
        }

        /// Until something is to be done by itself; how many seconds that takes.
        fn waits(&mut self) -> (u64, Vec<Output>) {
            let due = self.dialogue.deadline().unwrap();
            let waited = due - self.now;
            self.now = due;
            (waited.as_secs(), self.on(Event::Timeout))
        }
    }

    const WHOLE: &str = "1234567890123";

    /// The thirteenth digit asks, without `#`; what follows is heard to its end, then the call ends.
    #[test]
    fn a_code_that_is_right() {
        let mut test = Test::begun();
        assert_eq!(test.keys("1"), [Hush], "who presses a key has heard enough");
        assert_eq!(test.keys(&WHOLE[1..]), [Hush, Ask(WHOLE.to_owned())]);
        assert_eq!(test.keys("9"), [], "nobody listens");
        let bound = Event::Answer(ActivationAnswer::Bound);
        assert_eq!(test.on(bound), [Say(ActivationThankYou)]);
        assert_eq!(test.waits(), (2, vec![HangUp]));
        assert_eq!(test.dialogue.outcome(), "bound");
        assert_eq!(test.dialogue.deadline(), None);
    }

    /// `*` begins anew and costs no try, however often.
    #[test]
    fn a_star_restarts() {
        let mut test = Test::begun();
        for _ in 0..5 {
            assert_eq!(test.keys("12345*"), [Say(ActivationEnter)]);
        }
        assert_eq!(test.keys(WHOLE), [Hush, Ask(WHOLE.to_owned())]);
    }

    /// 15 seconds for the first digit after the prompt, 5 for each that follows; after three tries goodbye.
    #[test]
    fn pauses_are_tries() {
        let mut test = Test::begun();
        assert_eq!(test.waits(), (17, vec![Say(ActivationEnter)]));
        test.keys("12");
        assert_eq!(test.waits(), (5, vec![Say(ActivationNotValid)]));
        assert_eq!(test.waits(), (17, vec![Say(ActivationGoodbye)]));
        assert_eq!(test.waits(), (2, vec![HangUp]));
        assert_eq!(test.dialogue.outcome(), "refused");
    }

    /// A code that is not valid, one that is locked and one that is too short sound the same.
    #[test]
    fn three_wrong_codes() {
        let mut test = Test::begun();
        for answer in [ActivationAnswer::NotValid, ActivationAnswer::Locked] {
            test.keys(WHOLE);
            assert_eq!(test.on(Event::Answer(answer)), [Say(ActivationNotValid)]);
        }
        assert_eq!(test.keys("123#"), [Say(ActivationNotValid)]);
        assert_eq!(test.waits().1, [Say(ActivationGoodbye)]);
        assert_eq!(test.waits().1, [HangUp]);
    }

    /// Whoever knows codes fails, or says nothing for ten seconds: the sentence of the seed, and the end.
    #[test]
    fn nobody_knows() {
        for answers in [true, false] {
            let mut test = Test::begun();
            test.keys(WHOLE);
            let said = match answers {
                true => test.on(Event::Answer(ActivationAnswer::Busy)),
                false => {
                    let (seconds, said) = test.waits();
                    assert_eq!(seconds, 10);
                    said
                }
            };
            assert_eq!(said, [Say(ActivationBusy)]);
            let late = Event::Answer(ActivationAnswer::Bound);
            assert_eq!(test.on(late), []);
            assert_eq!(test.waits().1, [HangUp]);
            assert_eq!(test.dialogue.outcome(), "busy");
        }
    }
}
