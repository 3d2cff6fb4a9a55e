//! The relay, simulated: it notes what it is told, and tells when it is told nonsense.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate::media::{Command, Event, IceConfig, LegConfig, LegId, LegReport, Passage, Play};

/// What the relay knows of one leg.
#[derive(Debug, Default)]
pub struct Leg {
    pub port: u16,
    pub config: Option<LegConfig>,
    pub ice: Option<IceConfig>,
    pub partner: Option<LegId>,
    pub play: Option<Play>,
    /// How keys of its peer are heard.
    pub ear: Option<Arc<Passage>>,
    /// Keys sent to its peer, with their milliseconds.
    pub dialled: Vec<(char, u64)>,
}

#[derive(Debug, Default)]
pub struct Relay {
    pub open: HashMap<LegId, Leg>,
    /// Opened so far.
    pub opened: usize,
    /// What went through a leg, where a test says so.
    pub reports: HashMap<LegId, LegReport>,
}

/// So many packets went each way.
fn counts(packets: u64) -> Box<LegReport> {
    Box::new(LegReport {
        received: packets,
        sent: packets,
        ..LegReport::default()
    })
}

impl Relay {
    /// Obeys; what there is to tell, such as the report of a leg that was closed.
    pub fn command(&mut self, command: Command) -> Option<Event> {
        let id = command.leg();
        match command {
            Command::Open { port, .. } => {
                let taken = self.open.values().any(|leg| leg.port == port);
                assert!(!taken, "port {port} is opened twice");
                let before = self.open.insert(
                    id,
                    Leg {
                        port,
                        ..Leg::default()
                    },
                );
                assert!(before.is_none(), "{id:?} is opened twice");
                self.opened += 1;
            }
            Command::Configure { config, .. } => self.leg(id).config = Some(*config),
            Command::Ice { config, .. } => self.leg(id).ice = Some(*config),
            Command::Play { play, .. } => self.leg(id).play = play,
            Command::Listen { passage, .. } => self.leg(id).ear = Some(passage),
            Command::Dial { key, duration, .. } => {
                let ms = u64::try_from(duration.as_millis()).expect("not for ever");
                self.leg(id).dialled.push((key, ms));
            }
            Command::Connect { with, .. } => {
                self.part(id);
                if let Some(with) = with {
                    self.part(with);
                    self.leg(with).partner = Some(id);
                }
                self.leg(id).partner = with;
            }
            Command::Close { .. } => {
                self.part(id);
                let leg = self.open.remove(&id);
                assert!(leg.is_some(), "{id:?} is closed, but not open");
                let said = self.reports.remove(&id).map(Box::new);
                let report = said.unwrap_or_else(|| counts(50));
                return Some(Event::Closed { leg: id, report });
            }
            Command::Count { .. } => {
                self.leg(id);
                let report = counts(20);
                return Some(Event::Counted { leg: id, report });
            }
        }
        None
    }

    fn leg(&mut self, id: LegId) -> &mut Leg {
        self.open
            .get_mut(&id)
            .unwrap_or_else(|| panic!("a command for {id:?}, which is not open"))
    }

    fn part(&mut self, id: LegId) {
        let partner = self.leg(id).partner.take();
        if let Some(other) = partner.and_then(|partner| self.open.get_mut(&partner)) {
            other.partner = None;
        }
    }
}
