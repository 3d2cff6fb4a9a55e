//! Requests of ours.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{GIVES_UP, Party, Progress, Purpose, Sent, Step, T1, new_branch};
use crate::emulate::call::{By, CallError, Command, Dial, Offer, Phase, Request};
use crate::emulate::message::Draft;
use crate::emulate::sdp::Direction;
use crate::emulate::wire::Wire;

impl Party {
    pub(super) async fn call(&mut self, dial: &Dial) {
        let mut draft = self.dialog.request("INVITE", None);
        self.dress(&mut draft, true);
        for (name, value) in &dial.headers {
            draft.push(name, value);
        }
        if !dial.without_offer {
            let offer = self.ends.negotiation.offer(Direction::SendRecv);
            describe(&mut draft, offer, dial.quirks.location.as_deref());
        }
        let purpose = Purpose::Call {
            authorized: false,
            without_offer: dial.without_offer,
        };
        if let Err((_, reason)) = self.send("INVITE", draft, purpose).await {
            self.end(By::Nobody, 503, Some(&reason));
        }
    }

    pub(super) async fn obey(&mut self, command: Command) {
        match command {
            Command::Ring => self.step(Step::Provisional {
                status: 180,
                tag: self.local_tag(),
                described: false,
            }),
            Command::Early => self.step(Step::Provisional {
                status: 183,
                tag: self.local_tag(),
                described: true,
            }),
            Command::Answer => self.step(Step::Answer {
                tag: self.local_tag(),
            }),
            Command::Reject(status) => self.refuse_invite(status, None, None),
            Command::Cancel => self.cancel().await,
            Command::Bye => self.bye(By::Us).await,
            Command::Reinvite(offer, done) => self.reinvite(offer, done).await,
            Command::Ask(Request { method, headers }, done) => {
                let mut draft = self.dialog.request(method, None);
                self.dress(&mut draft, true);
                for (name, value) in headers {
                    draft.push(name, value);
                }
                self.ask(method, draft, Purpose::Ask(done)).await;
            }
        }
    }

    pub(super) async fn reinvite(
        &mut self,
        offer: Offer,
        done: oneshot::Sender<Result<(), CallError>>,
    ) {
        let mut draft = self.dialog.request("INVITE", None);
        self.dress(&mut draft, true);
        let body = match offer {
            Offer::Direction(direction) => Some(self.ends.negotiation.offer(direction)),
            Offer::Zero => Some(self.ends.negotiation.zero_offer()),
            Offer::Rekeyed => Some(self.ends.negotiation.rekeyed_offer()),
            Offer::Same => Some(self.ends.negotiation.again()),
            Offer::Absent => None,
            Offer::Restart => match self.ends.media.move_on(self.agent.media).await {
                Ok(port) => Some(self.ends.negotiation.restart(port)),
                Err(error) => {
                    let _ = done.send(Err(CallError::Unable(error.to_string())));
                    return;
                }
            },
        };
        if let Some(body) = body {
            draft.body("application/sdp", body);
        }
        self.ask("INVITE", draft, Purpose::Reinvite(offer, done))
            .await;
    }

    /// Sends a request inside the call, unless the call is not up.
    pub(super) async fn ask(&mut self, method: &'static str, draft: Draft, purpose: Purpose) {
        let phase = self.ends.phase.borrow().clone();
        let outcome = match phase {
            Phase::Answered => match self.send(method, draft, purpose).await {
                Ok(()) => return,
                Err((purpose, reason)) => (purpose, CallError::Unable(reason)),
            },
            Phase::Ended(ended) => (purpose, CallError::Ended(ended)),
            _ => (
                purpose,
                CallError::Unable("the call is not answered".to_owned()),
            ),
        };
        match outcome {
            (Purpose::Reinvite(_, done), error) => drop(done.send(Err(error))),
            (Purpose::Ask(done), error) => drop(done.send(Err(error))),
            _ => {}
        }
    }

    pub(super) async fn bye(&mut self, by: By) {
        if *self.ends.phase.borrow() != Phase::Answered {
            return;
        }
        let mut draft = self.dialog.request("BYE", None);
        self.dress_plainly(&mut draft, true);
        if let Err((_, reason)) = self.send("BYE", draft, Purpose::Other).await {
            self.agent
                .note("TDR-129", format!("a BYE could not be sent: {reason}"));
        }
        self.end(by, 0, None);
    }

    pub(super) async fn cancel(&mut self) {
        let Some(sent) = self
            .sent
            .iter_mut()
            .find(|s| matches!(s.purpose, Purpose::Call { .. }))
        else {
            return;
        };
        match sent.progress {
            Progress::Sent => sent.progress = Progress::Unwanted,
            Progress::Proceeding => self.send_cancel(),
            Progress::Unwanted | Progress::Cancelled => {}
        }
    }

    /// RFC 3261 §9.1: on the same way, with the branch of the INVITE.
    pub(super) fn send_cancel(&mut self) {
        let Some(invite) = self
            .sent
            .iter_mut()
            .find(|s| matches!(s.purpose, Purpose::Call { .. }))
        else {
            return;
        };
        invite.progress = Progress::Cancelled;
        let mut draft = Draft::request("CANCEL", &self.dialled);
        draft
            .push("From", &self.dialog.local)
            .push("To", &self.dialog.remote)
            .push("Call-ID", &self.dialog.call_id);
        draft
            .push("CSeq", format!("{} CANCEL", invite.sequence))
            .push("Max-Forwards", "70");
        let (branch, sequence, wire) =
            (invite.branch.clone(), invite.sequence, invite.wire.clone());
        self.transmit("CANCEL", sequence, branch, wire, &draft, Purpose::Other);
    }

    /// Sends a request to its next hop; gives the purpose back if there is no way there.
    pub(super) async fn send(
        &mut self,
        method: &'static str,
        draft: Draft,
        purpose: Purpose,
    ) -> Result<(), (Purpose, String)> {
        let connecting = self.agent.role.connect(self.dialog.next_hop());
        let wire = match connecting.await {
            Ok(wire) => wire,
            Err(error) => return Err((purpose, error.to_string())),
        };
        self.transmit(
            method,
            self.dialog.sequence,
            new_branch(),
            wire,
            &draft,
            purpose,
        );
        Ok(())
    }

    pub(super) fn transmit(
        &mut self,
        method: &'static str,
        sequence: u32,
        branch: String,
        wire: Wire,
        draft: &Draft,
        purpose: Purpose,
    ) {
        let bytes = draft.print(Some(&self.via(&wire, &branch)), self.agent.role.capitals());
        self.agent.send(&wire, bytes.clone());
        let now = Instant::now();
        let repeat = (wire.transport() == "UDP").then_some((now + T1, T1));
        self.sent.push(Sent {
            branch,
            method,
            sequence,
            bytes,
            wire,
            repeat,
            gives_up: now + GIVES_UP,
            purpose,
            progress: Progress::Sent,
        });
    }
}

/// The offer alone, or with a location after it (RFC 6442 §3).
fn describe(draft: &mut Draft, offer: String, location: Option<&str>) {
    let Some(location) = location else {
        draft.body("application/sdp", offer);
        return;
    };
    let boundary = "emulated-boundary";
    draft.push("Geolocation", "<cid:location@emulated.teams>");
    draft.push("Geolocation-Routing", "yes");
    draft.body(
        &format!("multipart/mixed;boundary={boundary}"),
        format!(
            "--{boundary}\r\nContent-Type: application/sdp\r\n\r\n{offer}\r\n\
             --{boundary}\r\nContent-Type: application/pidf+xml\r\nContent-ID: <location@emulated.teams>\r\n\r\n\
             {location}\r\n--{boundary}--\r\n"
        ),
    );
}
