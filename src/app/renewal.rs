use std::time::{Duration, Instant};

/// Connections to Teams are not renewed more often than this because of new names: many customers may come at once.
const RENEW_EVERY: Duration = Duration::from_secs(60);

/// What connections to Teams were last renewed for, and when; nothing yet before the first look.
#[derive(Debug, Default)]
pub(super) struct Renewal(Option<(u64, Instant)>);

impl Renewal {
    /// Whether connections are to be renewed now, for these are our names
    /// ([`teams_names`](crate::directory::Directory::teams_names)): whoever is told so does it.
    pub fn is_due(&mut self, names: u64, now: Instant) -> bool {
        match self.0 {
            None => {
                self.0 = Some((names, now));
                false
            }
            Some((known, at)) if known != names && now >= at + RENEW_EVERY => {
                self.0 = Some((names, now));
                true
            }
            Some(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TDR-1213, TDR-145: what stood at the start is no news; a new name is, at the latest a minute later, once for however
    /// many came meanwhile; a name that goes away again before that is none.
    #[test]
    fn new_names_renew_once_a_minute_at_most() {
        let start = Instant::now();
        let mut renewal = Renewal::default();
        let told: Vec<u64> = [
            (0, 1),
            (5, 1),
            (10, 2),
            (55, 3),
            (60, 3),
            (65, 3),
            (70, 4),
            (75, 3),
            (125, 3),
            (130, 5),
        ]
        .into_iter()
        .filter(|(at, names)| renewal.is_due(*names, start + Duration::from_secs(*at)))
        .map(|(at, _)| at)
        .collect();
        assert_eq!(told, [60, 130]);
    }
}
