use std::time::Instant;

use super::{Repeat, Response, ServerEvent as Event, ServerOutput as Output, Timers, earlier};

/// RFC 3261 §17.2.1, figure 7, with the Accepted state of RFC 6026 §7.1. The copies of a 2xx, which §13.3.1.4 asks of
/// the transaction's user, are sent here as well, and so are those of a reliable provisional (RFC 3262 §3).
#[derive(Debug)]
pub(crate) enum State {
    Proceeding {
        last: Option<Response>,
    },
    /// A provisional is out that a PRACK has to acknowledge, and none has come (RFC 3262 §3).
    Reliable {
        response: Response,
        repeat: Repeat,
        gives_up: Instant,
    },
    /// A 2xx is out, and no ACK of it has come.
    Accepted {
        response: Response,
        repeat: Repeat,
        gives_up: Instant,
    },
    /// Timer L absorbs copies of the INVITE and of the ACK.
    Acknowledged {
        ends: Instant,
    },
    /// Timers G and H.
    Completed {
        response: Response,
        repeat: Option<Repeat>,
        gives_up: Instant,
    },
    /// Timer I absorbs copies of the ACK.
    Confirmed {
        ends: Instant,
    },
    Terminated,
}

impl State {
    pub(crate) fn on(self, event: Event, now: Instant, t: &Timers, out: &mut Vec<Output>) -> Self {
        match (self, event) {
            (Self::Proceeding { .. } | Self::Reliable { .. }, Event::Respond(response)) => {
                out.push(Output::Send(response.clone()));
                match response.status {
                    ..=199 if response.reliable => Self::Reliable {
                        response,
                        repeat: Repeat::after(t.t1, now),
                        gives_up: now + t.patience(),
                    },
                    ..=199 => Self::Proceeding {
                        last: Some(response),
                    },
                    // On streams too: the ACK may be lost on a hop that we do not see.
                    200..=299 => Self::Accepted {
                        response,
                        repeat: Repeat::after(t.t1, now),
                        gives_up: now + t.patience(),
                    },
                    300.. => Self::Completed {
                        response,
                        repeat: Repeat::over(now, t),
                        gives_up: now + t.patience(),
                    },
                }
            }
            (
                Self::Proceeding {
                    last: Some(response),
                },
                Event::Copy,
            ) => {
                out.push(Output::Repeat(response.clone()));
                Self::Proceeding {
                    last: Some(response),
                }
            }

            (Self::Reliable { response, .. }, Event::Prack) => Self::Proceeding {
                last: Some(response),
            },
            (
                Self::Reliable {
                    response, gives_up, ..
                },
                Event::Timeout,
            ) if gives_up <= now => {
                out.push(Output::NoPrack);
                Self::Proceeding {
                    last: Some(response),
                }
            }
            (
                Self::Reliable {
                    response,
                    repeat,
                    gives_up,
                },
                Event::Timeout,
            ) if repeat.at <= now => {
                out.push(Output::Repeat(response.clone()));
                Self::Reliable {
                    response,
                    // RFC 3262 §3 doubles without a longest interval.
                    repeat: repeat.doubled(t.patience(), now),
                    gives_up,
                }
            }
            (
                Self::Reliable {
                    response,
                    repeat,
                    gives_up,
                },
                Event::Copy,
            ) => {
                out.push(Output::Repeat(response.clone()));
                Self::Reliable {
                    response,
                    repeat,
                    gives_up,
                }
            }

            (Self::Accepted { gives_up, .. }, Event::Ack) => {
                out.push(Output::Acknowledged);
                Self::Acknowledged { ends: gives_up }
            }
            (
                Self::Accepted { gives_up, .. } | Self::Completed { gives_up, .. },
                Event::Timeout,
            ) if gives_up <= now => {
                out.push(Output::NoAck);
                Self::Terminated
            }
            (
                Self::Accepted {
                    response,
                    repeat,
                    gives_up,
                },
                Event::Timeout,
            ) if repeat.at <= now => {
                out.push(Output::Repeat(response.clone()));
                Self::Accepted {
                    response,
                    repeat: repeat.doubled(t.t2, now),
                    gives_up,
                }
            }

            (
                Self::Completed {
                    response,
                    repeat,
                    gives_up,
                },
                Event::Copy,
            ) => {
                out.push(Output::Repeat(response.clone()));
                Self::Completed {
                    response,
                    repeat,
                    gives_up,
                }
            }
            (
                Self::Completed {
                    response,
                    repeat: Some(repeat),
                    gives_up,
                },
                Event::Timeout,
            ) if repeat.at <= now => {
                out.push(Output::Repeat(response.clone()));
                Self::Completed {
                    response,
                    repeat: Some(repeat.doubled(t.t2, now)),
                    gives_up,
                }
            }
            (Self::Completed { .. }, Event::Ack) if t.reliable => Self::Terminated,
            (Self::Completed { .. }, Event::Ack) => Self::Confirmed { ends: now + t.i() },
            (Self::Acknowledged { ends } | Self::Confirmed { ends }, Event::Timeout)
                if ends <= now =>
            {
                Self::Terminated
            }
            (state, _) => state,
        }
    }

    /// When [`Event::Timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Reliable {
                repeat, gives_up, ..
            }
            | Self::Accepted {
                repeat, gives_up, ..
            } => Some(earlier(Some(repeat), gives_up)),
            Self::Completed {
                repeat, gives_up, ..
            } => Some(earlier(repeat, gives_up)),
            Self::Acknowledged { ends } | Self::Confirmed { ends } => Some(ends),
            Self::Proceeding { .. } | Self::Terminated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TLS, UDP, response};
    use super::*;
    use Event::{Ack, Copy, Timeout};

    fn new() -> State {
        State::Proceeding { last: None }
    }

    fn run(t: &Timers, events: &[Event]) -> (Vec<String>, State) {
        let (mut out, now) = (Vec::new(), Instant::now());
        let state = events.iter().fold(new(), |state, event| {
            state.on(event.clone(), now, t, &mut out)
        });
        (out.iter().map(told).collect(), state)
    }

    fn told(output: &Output) -> String {
        match output {
            Output::Send(response) => format!("send {}", response.status),
            Output::Repeat(response) => format!("repeat {}", response.status),
            Output::Acknowledged => "acknowledged".to_owned(),
            Output::NoAck => "no ack".to_owned(),
            Output::NoPrack => "no prack".to_owned(),
        }
    }

    /// Sends this response, waits for all deadlines and tells when what came out, in milliseconds.
    fn unacknowledged(status: u16, t: &Timers) -> Vec<(u128, String)> {
        let start = Instant::now();
        let (mut out, mut now, mut all) = (Vec::new(), start, Vec::new());
        let mut state = new().on(response(status), now, t, &mut out);
        loop {
            all.extend(
                out.drain(..)
                    .map(|output| ((now - start).as_millis(), told(&output))),
            );
            let Some(at) = state.deadline() else {
                return all;
            };
            now = at;
            state = state.on(Timeout, now, t, &mut out);
        }
    }

    /// Unanswered by an ACK, a 486 goes out 11 times in 32 s: at 0, 0.5, 1.5, 3.5, 7.5, then every 4 s.
    #[test]
    fn busy_repeats_until_timer_h() {
        let all = unacknowledged(486, &UDP);
        let times: Vec<_> = all.iter().map(|(at, _)| *at).collect();
        assert_eq!(
            times,
            [
                0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500, 32000
            ]
        );
        assert_eq!(all.last().unwrap().1, "no ack");
        assert_eq!(
            unacknowledged(486, &TLS),
            [(0, "send 486".to_owned()), (32_000, "no ack".to_owned())]
        );
    }

    fn reliable(status: u16) -> Event {
        let Event::Respond(response) = response(status) else {
            unreachable!("it is a response");
        };
        Event::Respond(Response {
            reliable: true,
            ..response
        })
    }

    /// RFC 3262 §3: a reliable provisional is repeated at intervals that double, on streams too, until a PRACK comes or
    /// 64 T1 are over; the INVITE is still to be answered then.
    #[test]
    fn a_reliable_provisional_repeats_until_its_prack() {
        let start = Instant::now();
        let (mut out, mut now) = (Vec::new(), start);
        let mut state = new().on(reliable(180), now, &TLS, &mut out);
        let mut times = Vec::new();
        while let Some(at) = state.deadline() {
            now = at;
            times.push((now - start).as_millis());
            state = state.on(Timeout, now, &TLS, &mut out);
        }
        assert_eq!(times, [500, 1500, 3500, 7500, 15_500, 31_500, 32_000]);
        assert_eq!(out.last().map(told).as_deref(), Some("no prack"));
        assert!(matches!(state, State::Proceeding { .. }));

        let (out, state) = run(&UDP, &[reliable(183), Event::Prack, Copy, response(200)]);
        assert_eq!(out, ["send 183", "repeat 183", "send 200"]);
        assert!(matches!(state, State::Accepted { .. }));
        let (out, _) = run(&UDP, &[reliable(183), Copy, response(486)]);
        assert_eq!(out, ["send 183", "repeat 183", "send 486"]);
    }

    /// RFC 3261 §13.3.1.4: a 2xx is repeated on every transport.
    #[test]
    fn success_repeats_on_streams_too() {
        let all = unacknowledged(200, &TLS);
        assert_eq!(
            (all.len(), all.last().unwrap()),
            (12, &(32_000, "no ack".to_owned()))
        );
    }

    /// A copy of the INVITE is answered with the last provisional, or the refusal, but not with the 2xx.
    #[test]
    fn copies_of_the_invite() {
        assert_eq!(run(&UDP, &[Copy]).0, [""; 0]);
        let (out, _) = run(&UDP, &[response(100), response(180), Copy]);
        assert_eq!(out, ["send 100", "send 180", "repeat 180"]);
        assert_eq!(
            run(&UDP, &[response(486), Copy]).0,
            ["send 486", "repeat 486"]
        );
        assert_eq!(run(&UDP, &[response(200), Copy]).0, ["send 200"]);
        assert_eq!(run(&UDP, &[response(486), Ack, Copy]).0, ["send 486"]);
    }

    /// The first ACK of a 2xx is told, later ones are absorbed until timer L.
    #[test]
    fn an_ack_is_told_once() {
        let (out, state) = run(&TLS, &[response(200), Ack, Ack, Copy]);
        assert_eq!(out, ["send 200", "acknowledged"]);
        assert!(matches!(state, State::Acknowledged { .. }));
    }

    /// The ACK of a refusal ends it at once on a stream; on datagrams timer I absorbs copies first.
    #[test]
    fn an_ack_of_a_refusal() {
        assert!(matches!(
            run(&TLS, &[response(486), Ack]).1,
            State::Terminated
        ));
        let (out, state) = run(&UDP, &[response(486), Ack, Ack]);
        assert_eq!(out, ["send 486"]);
        assert!(matches!(state, State::Confirmed { .. }));
        let at = state.deadline().unwrap();
        assert!(matches!(
            state.on(Timeout, at, &UDP, &mut Vec::new()),
            State::Terminated
        ));
    }

    /// There is one final response.
    #[test]
    fn a_second_final_response_is_not_sent() {
        assert_eq!(run(&UDP, &[response(487), response(200)]).0, ["send 487"]);
        assert_eq!(run(&UDP, &[response(200), response(487)]).0, ["send 200"]);
    }
}
