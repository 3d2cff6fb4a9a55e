use std::time::Instant;

use super::{ClientEvent as Event, ClientOutput as Output, Repeat, Timers, earlier};

/// RFC 3261 §17.1.1, figure 5, with the Accepted state of RFC 6026 §7.2, and what §9.1 says of CANCEL.
#[derive(Debug)]
pub(crate) enum State {
    /// Timers A and B.
    Calling {
        repeat: Option<Repeat>,
        gives_up: Instant,
    },
    /// A CANCEL waits for the first response, before which it could overtake the INVITE.
    CancelHeld {
        repeat: Option<Repeat>,
        gives_up: Instant,
    },
    /// Timer C.
    Proceeding {
        gives_up: Instant,
    },
    /// A CANCEL is out; the INVITE has 64*T1 to end.
    Cancelling {
        gives_up: Instant,
    },
    /// Timer M: 2xx of other forks and copies come here.
    Accepted {
        ends: Instant,
    },
    /// Timer D: copies of the refusal are acknowledged again.
    Completed {
        ends: Instant,
    },
    Terminated,
}

impl State {
    /// The request has just been sent.
    pub(crate) fn start(now: Instant, t: &Timers) -> Self {
        Self::Calling {
            repeat: Repeat::over(now, t),
            gives_up: now + t.patience(),
        }
    }

    pub(crate) fn on(self, event: Event, now: Instant, t: &Timers, out: &mut Vec<Output>) -> Self {
        match (self, event) {
            (
                Self::Calling { gives_up, .. } | Self::CancelHeld { gives_up, .. },
                Event::Timeout,
            ) if gives_up <= now => {
                out.push(Output::Failed);
                Self::Terminated
            }
            (
                Self::Calling {
                    repeat: Some(repeat),
                    gives_up,
                },
                Event::Timeout,
            ) if repeat.at <= now => {
                out.push(Output::Request);
                Self::Calling {
                    repeat: Some(repeat.doubled(t.patience(), now)),
                    gives_up,
                }
            }
            (
                Self::CancelHeld {
                    repeat: Some(repeat),
                    gives_up,
                },
                Event::Timeout,
            ) if repeat.at <= now => {
                out.push(Output::Request);
                Self::CancelHeld {
                    repeat: Some(repeat.doubled(t.patience(), now)),
                    gives_up,
                }
            }
            (Self::Calling { .. } | Self::CancelHeld { .. }, Event::Unsendable) => {
                out.push(Output::Failed);
                Self::Terminated
            }
            (Self::Calling { repeat, gives_up }, Event::Cancel) => {
                Self::CancelHeld { repeat, gives_up }
            }
            // Nobody waits for an answer any more, so it is not asked for again.
            (
                Self::Calling { gives_up, .. } | Self::CancelHeld { gives_up, .. },
                Event::Abandon,
            ) => Self::CancelHeld {
                repeat: None,
                gives_up,
            },

            (Self::Calling { .. } | Self::Proceeding { .. }, Event::Response(100..=199)) => {
                out.push(Output::Report);
                Self::Proceeding {
                    gives_up: now + t.c,
                }
            }
            (Self::CancelHeld { .. }, Event::Response(100..=199)) => {
                out.extend([Output::Cancel, Output::Report]);
                Self::Cancelling {
                    gives_up: now + t.patience(),
                }
            }
            (state @ Self::Cancelling { .. }, Event::Response(100..=199)) => {
                out.push(Output::Report);
                state
            }
            (Self::Proceeding { .. }, Event::Cancel | Event::Abandon) => {
                out.push(Output::Cancel);
                Self::Cancelling {
                    gives_up: now + t.patience(),
                }
            }
            (Self::Proceeding { gives_up }, Event::Timeout) if gives_up <= now => {
                out.extend([Output::Cancel, Output::Failed]);
                Self::Cancelling {
                    gives_up: now + t.patience(),
                }
            }
            (Self::Cancelling { gives_up }, Event::Timeout) if gives_up <= now => {
                out.push(Output::Failed);
                Self::Terminated
            }

            (
                Self::Calling { .. }
                | Self::CancelHeld { .. }
                | Self::Proceeding { .. }
                | Self::Cancelling { .. },
                Event::Response(200..=299),
            ) => {
                out.push(Output::Report);
                Self::Accepted {
                    ends: now + t.patience(),
                }
            }
            (state @ Self::Accepted { .. }, Event::Response(200..=299)) => {
                out.push(Output::Report);
                state
            }
            (
                Self::Calling { .. }
                | Self::CancelHeld { .. }
                | Self::Proceeding { .. }
                | Self::Cancelling { .. },
                Event::Response(300..),
            ) => {
                out.extend([Output::Acknowledge, Output::Report]);
                if t.reliable {
                    Self::Terminated
                } else {
                    Self::Completed { ends: now + t.d() }
                }
            }
            // An ACK that could not be sent is tried again here too, so that `Unsendable` needs no arrow.
            (state @ Self::Completed { .. }, Event::Response(300..)) => {
                out.push(Output::Acknowledge);
                state
            }
            (Self::Accepted { ends } | Self::Completed { ends }, Event::Timeout) if ends <= now => {
                Self::Terminated
            }
            (state, _) => state,
        }
    }

    /// When [`Event::Timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Calling { repeat, gives_up } | Self::CancelHeld { repeat, gives_up } => {
                Some(earlier(repeat, gives_up))
            }
            Self::Proceeding { gives_up } | Self::Cancelling { gives_up } => Some(gives_up),
            Self::Accepted { ends } | Self::Completed { ends } => Some(ends),
            Self::Terminated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TLS, UDP};
    use super::*;
    use Event::{Abandon, Cancel, Response, Timeout, Unsendable};
    use std::time::Duration;

    /// Feeds the events one second apart and tells what came out, and the last state.
    fn run(t: &Timers, events: &[Event]) -> (Vec<Output>, State) {
        let (mut out, mut now) = (Vec::new(), Instant::now());
        let mut state = State::start(now, t);
        for event in events {
            now += Duration::from_secs(1);
            state = state.on(*event, now, t, &mut out);
        }
        (out, state)
    }

    /// Lets every deadline pass until the machine ends, and tells when each output came, in milliseconds.
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

    /// Timer A doubles without a cap; timer B ends it at 64*T1.
    #[test]
    fn unanswered_goes_out_seven_times_in_32_seconds() {
        let start = Instant::now();
        let state = State::start(start, &UDP);
        let copies = [500, 1500, 3500, 7500, 15500, 31500].map(|at| (at, Output::Request));
        assert_eq!(
            wait(state, start, &UDP),
            [&copies[..], &[(32_000, Output::Failed)]].concat()
        );
    }

    /// On a stream nothing is repeated.
    #[test]
    fn a_stream_carries_it_once() {
        let start = Instant::now();
        let state = State::start(start, &TLS);
        assert_eq!(wait(state, start, &TLS), [(32_000, Output::Failed)]);
    }

    /// Every provisional starts timer C anew; at its end the INVITE is cancelled and the user told.
    #[test]
    fn ringing_for_too_long_is_cancelled() {
        let (out, state) = run(&UDP, &[Response(100), Response(180)]);
        assert_eq!(out, [Output::Report, Output::Report]);
        let start = state.deadline().unwrap() - UDP.c;
        let end = [
            (180_000, Output::Cancel),
            (180_000, Output::Failed),
            (212_000, Output::Failed),
        ];
        assert_eq!(wait(state, start, &UDP), end);
    }

    /// Each copy of a refusal is acknowledged, the user hears of it once; timer D ends it.
    #[test]
    fn a_refusal_is_acknowledged_every_time() {
        let (out, state) = run(&UDP, &[Response(486), Response(486)]);
        assert_eq!(
            out,
            [Output::Acknowledge, Output::Report, Output::Acknowledge]
        );
        assert!(matches!(state, State::Completed { .. }));
        assert!(matches!(run(&TLS, &[Response(486)]).1, State::Terminated));
    }

    /// RFC 6026: every 2xx goes to the user, until timer M.
    #[test]
    fn every_success_is_reported() {
        let (out, state) = run(
            &TLS,
            &[Response(180), Response(200), Response(200), Response(180)],
        );
        assert_eq!(out, [Output::Report, Output::Report, Output::Report]);
        let start = state.deadline().unwrap() - TLS.patience();
        assert_eq!(wait(state, start, &TLS), []);
    }

    /// RFC 3261 §9.1: no CANCEL before a provisional; then at once; 64*T1 later it is over.
    #[test]
    fn cancel_waits_for_a_provisional() {
        let (out, _) = run(&UDP, &[Cancel]);
        assert_eq!(out, []);
        let (out, state) = run(&UDP, &[Cancel, Response(100), Response(180)]);
        assert_eq!(out, [Output::Cancel, Output::Report, Output::Report]);
        let end = wait(state, Instant::now(), &UDP);
        assert_eq!(
            end.iter().map(|(_, output)| *output).collect::<Vec<_>>(),
            [Output::Failed]
        );
        assert_eq!(
            run(&UDP, &[Response(183), Cancel, Cancel]).0,
            [Output::Report, Output::Cancel]
        );
    }

    /// The INVITE is still repeated while its CANCEL is held: the first copy may have been lost.
    #[test]
    fn a_held_cancel_does_not_stop_the_copies() {
        let (start, mut out) = (Instant::now(), Vec::<Output>::new());
        let state = State::start(start, &UDP).on(Cancel, start, &UDP, &mut out);
        assert_eq!(wait(state, start, &UDP).len(), 7);
    }

    /// The 200 that crosses our CANCEL is reported like any other, and so is the 487.
    #[test]
    fn cancel_races() {
        let (out, state) = run(&UDP, &[Response(180), Cancel, Response(200)]);
        assert_eq!(out, [Output::Report, Output::Cancel, Output::Report]);
        assert!(matches!(state, State::Accepted { .. }));
        let (out, state) = run(&UDP, &[Response(180), Cancel, Response(487)]);
        assert_eq!(
            out[1..],
            [Output::Cancel, Output::Acknowledge, Output::Report]
        );
        assert!(matches!(state, State::Completed { .. }));
        assert_eq!(run(&UDP, &[Response(200), Cancel]).0, [Output::Report]);
    }

    /// What could not be sent has failed; once there was an answer, that no longer matters.
    #[test]
    fn unsendable_fails_before_an_answer_only() {
        let (out, state) = run(&TLS, &[Unsendable]);
        assert_eq!(out, [Output::Failed]);
        assert!(matches!(state, State::Terminated));
        assert!(matches!(
            run(&TLS, &[Response(100), Unsendable]).1,
            State::Proceeding { .. }
        ));
    }

    /// An abandoned INVITE falls silent, but a late answer is cancelled.
    #[test]
    fn abandoned_is_silent_until_answered() {
        let (start, mut out) = (Instant::now(), Vec::<Output>::new());
        let state = State::start(start, &UDP).on(Abandon, start, &UDP, &mut out);
        assert_eq!(wait(state, start, &UDP), [(32_000, Output::Failed)]);
        assert_eq!(
            run(&UDP, &[Abandon, Response(180)]).0,
            [Output::Cancel, Output::Report]
        );
    }
}
