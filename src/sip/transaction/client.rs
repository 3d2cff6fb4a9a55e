use std::time::Instant;

use super::{ClientEvent as Event, ClientOutput as Output, Repeat, Timers, earlier};

/// RFC 3261 §17.1.2, figure 6.
#[derive(Debug)]
pub(crate) enum State {
    /// Timers E and F.
    Trying {
        repeat: Option<Repeat>,
        gives_up: Instant,
    },
    /// Timers E, now at T2, and F.
    Proceeding {
        repeat: Option<Repeat>,
        gives_up: Instant,
    },
    /// Timer K absorbs copies of the response.
    Completed {
        ends: Instant,
    },
    Terminated,
}

impl State {
    /// The request has just been sent.
    pub(crate) fn start(now: Instant, t: &Timers) -> Self {
        Self::Trying {
            repeat: Repeat::over(now, t),
            gives_up: now + t.patience(),
        }
    }

    pub(crate) fn on(self, event: Event, now: Instant, t: &Timers, out: &mut Vec<Output>) -> Self {
        match (self, event) {
            (Self::Trying { gives_up, .. } | Self::Proceeding { gives_up, .. }, Event::Timeout)
                if gives_up <= now =>
            {
                out.push(Output::Failed);
                Self::Terminated
            }
            (
                Self::Trying {
                    repeat: Some(repeat),
                    gives_up,
                },
                Event::Timeout,
            ) if repeat.at <= now => {
                out.push(Output::Request);
                Self::Trying {
                    repeat: Some(repeat.doubled(t.t2, now)),
                    gives_up,
                }
            }
            (
                Self::Proceeding {
                    repeat: Some(repeat),
                    gives_up,
                },
                Event::Timeout,
            ) if repeat.at <= now => {
                out.push(Output::Request);
                Self::Proceeding {
                    repeat: Some(Repeat::after(t.t2, now)),
                    gives_up,
                }
            }
            (Self::Trying { .. }, Event::Unsendable) => {
                out.push(Output::Failed);
                Self::Terminated
            }
            (
                Self::Trying { repeat, gives_up } | Self::Proceeding { repeat, gives_up },
                Event::Response(100..=199),
            ) => {
                out.push(Output::Report);
                Self::Proceeding { repeat, gives_up }
            }
            (Self::Trying { .. } | Self::Proceeding { .. }, Event::Response(200..)) => {
                out.push(Output::Report);
                if t.reliable {
                    Self::Terminated
                } else {
                    Self::Completed { ends: now + t.i() }
                }
            }
            // Only an INVITE can be called back; this one has been sent and is forgotten.
            (Self::Trying { .. } | Self::Proceeding { .. }, Event::Abandon) => Self::Terminated,
            (Self::Completed { ends }, Event::Timeout) if ends <= now => Self::Terminated,
            (state, _) => state,
        }
    }

    /// When [`Event::Timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Trying { repeat, gives_up } | Self::Proceeding { repeat, gives_up } => {
                Some(earlier(repeat, gives_up))
            }
            Self::Completed { ends } => Some(ends),
            Self::Terminated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TLS, UDP};
    use super::*;
    use Event::{Abandon, Response, Timeout, Unsendable};

    fn wait(mut state: State, start: Instant, t: &Timers) -> Vec<(u128, Output)> {
        let mut all = Vec::new();
        while let Some(now) = state.deadline() {
            let mut out = Vec::new();
            state = state.on(Timeout, now, t, &mut out);
            all.extend(
                out.into_iter()
                    .map(|output| ((now - start).as_millis(), output)),
            );
        }
        all
    }

    fn run(t: &Timers, events: &[Event]) -> (Vec<Output>, State) {
        let (mut out, now) = (Vec::new(), Instant::now());
        let start = State::start(now, t);
        let state = events
            .iter()
            .fold(start, |state, event| state.on(*event, now, t, &mut out));
        (out, state)
    }

    /// Timer E doubles up to T2; timer F ends it at 64*T1: 11 requests in all.
    #[test]
    fn unanswered_goes_out_eleven_times_in_32_seconds() {
        let start = Instant::now();
        let state = State::start(start, &UDP);
        let copies = [
            500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500,
        ]
        .map(|at| (at, Output::Request));
        assert_eq!(
            wait(state, start, &UDP),
            [&copies[..], &[(32_000, Output::Failed)]].concat()
        );
        let state = State::start(start, &TLS);
        assert_eq!(wait(state, start, &TLS), [(32_000, Output::Failed)]);
    }

    /// After a provisional, copies go out every T2; timer F runs on.
    #[test]
    fn a_provisional_slows_the_copies() {
        let (start, mut out) = (Instant::now(), Vec::new());
        let state = State::start(start, &UDP).on(Response(100), start, &UDP, &mut out);
        assert_eq!(out, [Output::Report]);
        let copies = wait(state, start, &UDP);
        assert_eq!(
            copies[..3],
            [
                (500, Output::Request),
                (4_500, Output::Request),
                (8_500, Output::Request)
            ]
        );
        assert_eq!(copies.last(), Some(&(32_000, Output::Failed)));
    }

    /// The final response is reported once; on datagrams timer K absorbs its copies.
    #[test]
    fn a_final_response_is_reported_once() {
        let (out, state) = run(&UDP, &[Response(200), Response(200), Response(404)]);
        assert_eq!(out, [Output::Report]);
        assert!(matches!(state, State::Completed { .. }));
        assert!(matches!(
            run(&TLS, &[Response(100), Response(200)]).1,
            State::Terminated
        ));
    }

    /// A transport failure ends it before an answer; being abandoned ends it quietly.
    #[test]
    fn failures_end_it() {
        assert_eq!(run(&TLS, &[Unsendable]).0, [Output::Failed]);
        let (out, state) = run(&UDP, &[Abandon]);
        assert_eq!(out, []);
        assert!(matches!(state, State::Terminated));
    }
}
