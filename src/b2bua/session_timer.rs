//! Session timers (RFC 4028), one for each leg: the two legs refresh independently (TDR-512, TDR-513).

use std::time::{Duration, Instant};

use crate::sip::{Message, Name};

/// RFC 4028 §5: nobody may go below.
const LEAST: u32 = 90;

/// Who refreshes, seen from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refresher {
    Us,
    Them,
}

/// The session timer of one dialog.
#[derive(Debug, Default)]
pub(super) struct SessionTimer {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    interval: Duration,
    refresher: Refresher,
    refreshed: Instant,
    /// Set while our refresh is on its way, so that it is not sent twice.
    refreshing: bool,
}

/// What a session timer asks for when its time has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a refresh.
    Refresh,
    /// End the call: nobody refreshed.
    Expired,
}

/// A Session-Expires header: seconds, and the refresher if it names one.
fn session_expires(message: &Message) -> Option<(u32, Option<bool>)> {
    let value = message.header(Name::SessionExpires)?;
    let mut parts = value.text()?.split(';').map(str::trim);
    let seconds = parts.next()?.parse().ok()?;
    let refresher = parts
        .find_map(|p| p.strip_prefix("refresher="))
        .map(|r| r.trim().eq_ignore_ascii_case("uac"));
    Some((seconds, refresher))
}

impl SessionTimer {
    /// We answer a request that opens or refreshes a session; the value of Session-Expires for our 2xx.
    ///
    /// # Errors
    /// An interval below `least` seconds: to be answered 422 with Min-SE.
    pub fn answer(
        &mut self,
        request: &Message,
        least: u32,
        now: Instant,
    ) -> Result<Option<String>, ()> {
        let Some((seconds, refresher)) = session_expires(request) else {
            self.refreshed(now);
            return Ok(None);
        };
        if seconds < least {
            return Err(());
        }
        let supports = request.has_token(Name::Supported, "timer");
        // RFC 4028 §9, table 2: a UAC that supports timers refreshes unless it says otherwise.
        let uac = supports && refresher.unwrap_or(true);
        self.running = Some(Running {
            interval: Duration::from_secs(seconds.into()),
            refresher: if uac { Refresher::Them } else { Refresher::Us },
            refreshed: now,
            refreshing: false,
        });
        Ok(Some(format!(
            "{seconds};refresher={}",
            if uac { "uac" } else { "uas" }
        )))
    }

    /// A 2xx to our INVITE, re-INVITE or UPDATE.
    pub fn answered(&mut self, response: &Message, now: Instant) {
        self.running = session_expires(response).map(|(seconds, refresher)| Running {
            interval: Duration::from_secs(seconds.max(LEAST).into()),
            refresher: if refresher.unwrap_or(true) {
                Refresher::Us
            } else {
                Refresher::Them
            },
            refreshed: now,
            refreshing: false,
        });
    }

    /// The dialog was refreshed by a request without Session-Expires.
    fn refreshed(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.refreshed = now;
            running.refreshing = false;
        }
    }

    /// What a refresh of ours says: the interval goes on, and so does the refresher.
    pub fn header(&self) -> Option<String> {
        let running = self.running.as_ref()?;
        let refresher = if running.refresher == Refresher::Us {
            "uac"
        } else {
            "uas"
        };
        Some(format!(
            "{};refresher={refresher}",
            running.interval.as_secs()
        ))
    }

    /// When to ask [`SessionTimer::due`].
    pub fn deadline(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        let after = match (running.refresher, running.refreshing) {
            (Refresher::Us, false) => running.interval / 2,
            // RFC 4028 §10: a BYE goes out shortly before the session would expire.
            _ => running.interval - (running.interval / 3).min(Duration::from_secs(32)),
        };
        Some(running.refreshed + after)
    }

    /// Tells what is to be done at `now`, once.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        if self.deadline()? > now {
            return None;
        }
        let running = self.running.as_mut()?;
        if running.refresher == Refresher::Us && !running.refreshing {
            running.refreshing = true;
            return Some(Due::Refresh);
        }
        self.running = None;
        Some(Due::Expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Builder, Method};

    fn invite(expires: &str) -> Message {
        let mut builder = Builder::request(Method::Invite, "sip:a@b");
        builder
            .header(Name::SessionExpires, expires)
            .header(Name::Supported, "timer");
        builder.finish(None)
    }

    /// The peer refreshes: the call ends 32 s before an interval without one is over, and a refresh moves that.
    #[test]
    fn a_silent_refresher_ends_the_call() {
        let start = Instant::now();
        let mut timer = SessionTimer::default();
        assert_eq!(
            timer.answer(&invite("1800;refresher=uac"), LEAST, start),
            Ok(Some("1800;refresher=uac".into()))
        );
        assert_eq!(timer.deadline(), Some(start + Duration::from_secs(1768)));
        let later = start + Duration::from_secs(1600);
        assert!(
            timer
                .answer(&invite("1800;refresher=uac"), LEAST, later)
                .is_ok()
        );
        assert_eq!(timer.due(start + Duration::from_secs(1768)), None);
        assert_eq!(
            timer.due(later + Duration::from_secs(1768)),
            Some(Due::Expired)
        );
    }

    /// We refresh: at half the interval, and without an answer the call ends in time.
    #[test]
    fn we_refresh_at_half_time() {
        let start = Instant::now();
        let mut timer = SessionTimer::default();
        assert_eq!(
            timer.answer(&invite("300;refresher=uas"), LEAST, start),
            Ok(Some("300;refresher=uas".into()))
        );
        let half = start + Duration::from_secs(150);
        assert_eq!(timer.due(half), Some(Due::Refresh));
        assert_eq!(timer.due(half), None);
        assert_eq!(
            timer.due(start + Duration::from_secs(268)),
            Some(Due::Expired)
        );
    }

    /// Below 90 s there is nothing to negotiate.
    #[test]
    fn too_small_an_interval_is_refused() {
        assert_eq!(
            SessionTimer::default().answer(&invite("89"), LEAST, Instant::now()),
            Err(())
        );
    }
}
