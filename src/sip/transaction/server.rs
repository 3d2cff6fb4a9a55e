use std::time::Instant;

use super::{Response, ServerEvent as Event, ServerOutput as Output, Timers};

/// RFC 3261 §17.2.2, figure 8. Trying is Proceeding without a response.
#[derive(Debug)]
pub(crate) enum State {
    Proceeding {
        last: Option<Response>,
    },
    /// Timer J.
    Completed {
        response: Response,
        ends: Instant,
    },
    Terminated,
}

impl State {
    pub(crate) fn on(self, event: Event, now: Instant, t: &Timers, out: &mut Vec<Output>) -> Self {
        match (self, event) {
            (Self::Proceeding { .. }, Event::Respond(response)) => {
                out.push(Output::Send(response.clone()));
                match response.status {
                    ..=199 => Self::Proceeding {
                        last: Some(response),
                    },
                    200.. => Self::Completed {
                        response,
                        ends: now + t.j(),
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
            (Self::Completed { response, ends }, Event::Copy) => {
                out.push(Output::Repeat(response.clone()));
                Self::Completed { response, ends }
            }
            (Self::Completed { ends, .. }, Event::Timeout) if ends <= now => Self::Terminated,
            (state, _) => state,
        }
    }

    /// When [`Event::Timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Completed { ends, .. } => Some(*ends),
            Self::Proceeding { .. } | Self::Terminated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TLS, UDP, response};
    use super::*;
    use Event::{Copy, Timeout};

    fn run(t: &Timers, events: &[Event]) -> (Vec<u16>, State) {
        let (mut out, now, new) = (Vec::new(), Instant::now(), State::Proceeding { last: None });
        let state = events.iter().fold(new, |state, event| {
            state.on(event.clone(), now, t, &mut out)
        });
        let sent = out.iter().filter_map(|output| match output {
            Output::Send(response) | Output::Repeat(response) => Some(response.status),
            Output::Acknowledged | Output::NoAck | Output::NoPrack => None,
        });
        (sent.collect(), state)
    }

    /// A copy of the request is answered with the last response, before there is one with nothing.
    #[test]
    fn copies_get_the_last_response() {
        let (sent, _) = run(
            &UDP,
            &[
                Copy,
                response(100),
                Copy,
                response(200),
                Copy,
                response(404),
                Copy,
            ],
        );
        assert_eq!(sent, [100, 100, 200, 200, 200]);
    }

    /// Timer J is 64*T1 on datagrams and T4 on streams.
    #[test]
    fn timer_j_ends_it() {
        for (t, lasts) in [(&UDP, UDP.t1 * 64), (&TLS, TLS.t4)] {
            let before = Instant::now();
            let (_, state) = run(t, &[response(200)]);
            let ends = state.deadline().unwrap();
            assert!(ends >= before + lasts && ends <= Instant::now() + lasts);
            assert!(matches!(
                state.on(Timeout, ends, t, &mut Vec::new()),
                State::Terminated
            ));
        }
    }
}
