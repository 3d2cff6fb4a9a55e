//! The control plane's one loop: wait for one thing, feed it, carry out what comes of it, ask when to come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant as TokioInstant, interval, sleep_until};

use super::desk::{Desk, Typed};
use super::live;
use super::observe::{self, Observer};
use super::renewal::Renewal;
use crate::admin::CallRequest;
use crate::b2bua::{Calls, Output};
use crate::directory::Directory;
use crate::media;
use crate::net::relay::RelayHandle;
use crate::net::{self, Network};
use crate::sip::Realm;
use crate::store::Spool;
use crate::telemetry::ladder::recorder::Recorder;

/// Refuse new calls, wait so long for those that are, then end them; answered when none is left.
#[derive(Debug)]
pub(super) struct Drain {
    pub patience: Duration,
    pub done: oneshot::Sender<()>,
}

/// Events taken in a row before what came of them is carried out: bounds the time to the first answer.
const BATCH: usize = 64;
/// Between two looks at gauges and the wall clock.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long ended calls may take to be answered before the process goes down anyway.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Everything the loop owns or speaks to.
pub(super) struct Shard {
    pub calls: Calls,
    pub network: Network,
    pub arrivals: mpsc::Receiver<net::Event>,
    pub relay: RelayHandle,
    pub media: mpsc::Receiver<media::Event>,
    /// Operators, through the API.
    pub asked: mpsc::Receiver<CallRequest>,
    pub desk: Desk,
    pub drain: mpsc::Receiver<Drain>,
    pub directory: Arc<ArcSwap<Directory>>,
    /// Of the directory that calls have.
    pub generation: u64,
    pub renewal: Renewal,
    pub spool: Arc<Spool>,
    pub observer: Observer,
    /// Keeps what passes, for ladders.
    pub ladders: Recorder,
}

/// A shutdown that is under way.
struct Draining {
    hang_up_at: Option<Instant>,
    ends: Instant,
    done: oneshot::Sender<()>,
}

impl Shard {
    /// Runs until it is drained.
    pub async fn run(mut self) {
        let mut look = interval(LOOK_EVERY);
        let mut draining: Option<Draining> = None;
        loop {
            self.carry_out();
            if let Some(drain) = &mut draining {
                let now = Instant::now();
                if drain.hang_up_at.is_some_and(|at| at <= now) {
                    drain.hang_up_at = None;
                    self.calls.shut_down(now);
                    continue;
                }
                if self.calls.is_idle() || drain.ends <= now {
                    break;
                }
            }
            let deadline = [
                self.calls.deadline(),
                draining.as_ref().map(|d| d.hang_up_at.unwrap_or(d.ends)),
            ];
            let deadline = deadline.into_iter().flatten().min();
            let far = Instant::now() + LOOK_EVERY;
            tokio::select! {
                Some(event) = self.arrivals.recv() => {
                    self.arrived(event);
                    for _ in 1..BATCH {
                        let Ok(event) = self.arrivals.try_recv() else { break };
                        self.arrived(event);
                    }
                }
                event = self.media.recv() => {
                    let Some(event) = event else {
                        tracing::error!("the relay has ended, and without it no call has sound");
                        break;
                    };
                    self.heard(event);
                    for _ in 1..BATCH {
                        let Ok(event) = self.media.try_recv() else { break };
                        self.heard(event);
                    }
                }
                Some(request) = self.asked.recv() => {
                    // Whoever has written something and asks what came of it finds it obeyed.
                    self.follow_directory();
                    live::answer(&mut self.calls, request);
                }
                Some(turn) = self.desk.turn() => {
                    // A telephone that has become somebody's is told under the name that it has now.
                    self.follow_directory();
                    self.desk.take(turn, &mut self.calls);
                }
                Some(Drain { patience, done }) = self.drain.recv() => {
                    self.calls.drain();
                    let at = Instant::now() + patience;
                    draining = Some(Draining { hang_up_at: Some(at), ends: at + LAST_ANSWERS, done });
                }
                _ = sleep_until(TokioInstant::from_std(deadline.unwrap_or(far))) => self.calls.expire(Instant::now()),
                _ = look.tick() => {
                    self.follow_directory();
                    self.renew_for_new_names(Instant::now());
                    self.calls.set_wall_clock(OffsetDateTime::now_utc(), Instant::now());
                    self.observer.look(&self.calls, &self.network, &self.relay);
                    observe::ladders(&self.ladders);
                    observe::queue("arrivals", &self.arrivals);
                    observe::queue("relay_events", &self.media);
                }
            }
        }
        self.carry_out();
        if let Some(drain) = draining {
            let _ = drain.done.send(());
        }
    }

    /// Whatever was published before a message arrived holds for it.
    fn follow_directory(&mut self) {
        let newest = self.directory.load();
        if newest.generation != self.generation {
            self.generation = newest.generation;
            self.calls
                .set_directory(Arc::clone(&newest), Instant::now());
        }
    }

    /// Teams keeps for each connection what it knew of our names when it was opened (TDR-145, TDR-1213).
    fn renew_for_new_names(&mut self, now: Instant) {
        if self.renewal.is_due(self.directory.load().teams_names, now) {
            tracing::info!("names at Teams have changed, its connections are renewed");
            self.network.renew(Realm::Teams);
        }
    }

    fn arrived(&mut self, event: net::Event) {
        self.follow_directory();
        let now = Instant::now();
        match event {
            net::Event::Received { bytes, source } => {
                self.ladders.received(&bytes, &source);
                self.calls.receive(bytes, source, now);
            }
            net::Event::SendFailed { id, reason } => self.calls.send_failed(id, reason, now),
            net::Event::Resolved { id, targets } => self.calls.resolved(id, targets, now),
        }
    }

    fn heard(&mut self, event: media::Event) {
        self.observer.media(&event);
        self.calls.media(event, Instant::now());
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.calls.poll() {
            match output {
                Output::Send { id, to, bytes } => {
                    self.ladders.sent(&bytes, &to);
                    self.network.send(to, bytes, id);
                }
                Output::Resolve { id, hop } => self.network.resolve(id, hop),
                Output::Media(command) => {
                    let leg = command.leg();
                    if let Err(error) = self.relay.command(command) {
                        let failed = media::Event::Failed {
                            leg,
                            reason: error.to_string(),
                        };
                        self.calls.media(failed, Instant::now());
                    }
                }
                Output::Cdr(cdr) => self.observer.record(&self.spool, &cdr),
                Output::Activate {
                    id,
                    mac,
                    code,
                    source,
                } => {
                    let typed = Typed {
                        id,
                        mac,
                        code,
                        source,
                    };
                    self.desk.look_up(typed, &mut self.calls);
                }
                Output::Resynced { auth_user, outcome } => {
                    self.desk.resynced(&auth_user, outcome);
                }
                Output::Report(report) => self.observer.report(&self.calls, &report),
            }
        }
    }
}
