use crate::provisioning::{NumberStatus, TeamsPush};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Items that a report names.
const MOST: usize = 1000;

/// What a Sync did.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Report {
    /// Whose token asked for it.
    pub started_by: Uuid,
    /// Whether it was only tried.
    pub dry_run: bool,
    /// The directory by which calls obey it.
    pub generation: u64,
    /// How many of what.
    pub counts: Counts,
    /// Why it could not do all; none: nothing kept it.
    pub error: Option<SyncProblem>,
    /// What became of users' numbers at Microsoft.
    pub teams_push: PushReport,
    /// What became of each that changed, or that could not.
    pub items: Vec<Item>,
    /// Items that had no room in the list.
    pub left_out: usize,
}

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
    /// Numbers put in service.
    pub added: u32,
    /// Numbers taken out of service, and numbers that left.
    pub removed: u32,
    /// Numbers that stay as they were.
    pub unchanged: u32,
    /// Numbers that something else has to be done for.
    pub blocked: u32,
    /// What could not be done.
    pub errors: u32,
    /// Users made of new seats.
    pub users_created: u32,
    /// Users that their seats changed.
    pub users_updated: u32,
    /// Users whose seats are gone.
    pub users_disabled: u32,
    /// Registrations at exchanges that follow what their users are now.
    pub registrations: u32,
}

/// What became of users' numbers at Microsoft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PushReport {
    /// All in one word.
    pub outcome: TeamsPush,
    /// Numbers that their users were given.
    pub assigned: u32,
    /// Numbers that were taken away.
    pub unassigned: u32,
    /// Numbers that were as they should be.
    pub unchanged: u32,
    /// Numbers that could not be given or taken away.
    pub failed: u32,
    /// Why nothing could be done.
    pub error: Option<SyncProblem>,
}

/// Why a Sync could not do all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SyncProblem {
    /// For programs; stable.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// The number, or the seat's id.
    pub key: String,
    /// What became of it.
    pub outcome: Outcome,
    /// A number's status, or the code of an error.
    pub code: Option<&'static str>,
    /// For people.
    pub detail: Option<String>,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// A number.
    Number,
    /// A seat of the carrier's system, which is a user here.
    Seat,
    /// A number at Microsoft.
    TeamsNumber,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in service; a seat: it is a user.
    Added,
    /// It serves no longer, or has left.
    Removed,
    /// Something else about it changed.
    Updated,
    /// Something else has to be done first.
    Blocked,
    /// It could not be done.
    Failed,
}

impl Report {
    pub(super) fn new(started_by: Uuid, dry_run: bool) -> Self {
        Self {
            started_by,
            dry_run,
            generation: 0,
            counts: Counts::default(),
            error: None,
            teams_push: PushReport {
                outcome: TeamsPush::Nothing,
                assigned: 0,
                unassigned: 0,
                unchanged: 0,
                failed: 0,
                error: None,
            },
            items: Vec::new(),
            left_out: 0,
        }
    }

    /// Counts what became of a number, and names it if it is worth it.
    pub(super) fn number(
        &mut self,
        number: &str,
        outcome: Option<Outcome>,
        status: Option<NumberStatus>,
    ) {
        let counts = &mut self.counts;
        match outcome {
            None | Some(Outcome::Updated) => counts.unchanged += 1,
            Some(Outcome::Added) => counts.added += 1,
            Some(Outcome::Removed) => counts.removed += 1,
            Some(Outcome::Blocked) => counts.blocked += 1,
            Some(Outcome::Failed) => counts.errors += 1,
        }
        let Some(outcome) = outcome else { return };
        self.name(Item {
            kind: ItemKind::Number,
            key: number.to_owned(),
            outcome,
            code: status.map(NumberStatus::name),
            detail: status.map(|status| status.text().to_owned()),
        });
    }

    /// Names what became of a seat.
    pub(super) fn seat(&mut self, seat: &str, outcome: Outcome, fault: Option<SyncProblem>) {
        let (code, detail) = fault.map(|f| (f.code, f.detail)).unzip();
        self.name(Item {
            kind: ItemKind::Seat,
            key: seat.to_owned(),
            outcome,
            code,
            detail,
        });
    }

    /// Names a number that Microsoft did not give to its user, or not take away.
    pub(super) fn refused_by_teams(&mut self, number: &str, code: &'static str, detail: &str) {
        self.name(Item {
            kind: ItemKind::TeamsNumber,
            key: number.to_owned(),
            outcome: Outcome::Failed,
            code: Some(code),
            detail: Some(detail.to_owned()),
        });
    }

    fn name(&mut self, item: Item) {
        if self.items.len() < MOST {
            self.items.push(item);
        } else {
            self.left_out += 1;
        }
    }

    /// Whether something waits to be done elsewhere.
    pub(super) fn is_partial(&self) -> bool {
        let counts = &self.counts;
        counts.blocked > 0 || counts.errors > 0 || self.teams_push.outcome == TeamsPush::Failed
    }
}
