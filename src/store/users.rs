//! Users: seats, SIP users and user profiles are one thing.

use super::error::{Faults, is_domain};
use super::numbers;
use super::rows::{id, json, micros, named, new_id, now, optional_id, time, to_json};
use super::{Listed, Page, StoreError, customers};
use crate::directory::Number;
use crate::provisioning::{
    CallerIdPolicy, ExtensionFault, Seat, UserOffering, UserState, check_extension,
};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Somebody who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSettings {
    /// The user's name at Microsoft, or another of the same form; unique in the customer.
    #[schema(example = "jo@contoso.example")]
    pub upn: String,
    /// Microsoft's id of the user.
    #[serde(default)]
    pub teams_object_id: Option<Uuid>,
    /// For people; 1 to 128 characters.
    pub display_name: String,
    /// How the user is reached.
    #[serde(default)]
    pub offering: UserOffering,
    /// 2 to 8 digits that do not look like an emergency number; unique in the customer.
    #[serde(default)]
    pub extension: Option<String>,
    /// The user at the customer's PBX; unique in the customer.
    #[serde(default)]
    pub sip_user: Option<String>,
    /// The user's first number, which called parties see.
    #[serde(default)]
    pub default_did: Option<String>,
    /// The user's other numbers: from the next Sync on they ring where the first one does.
    #[serde(default)]
    pub forwarded_dids: Vec<String>,
    /// Codes of the regions whose gateways the user's calls try, in this order; empty: the customer's.
    #[serde(default)]
    pub voice_route: Vec<String>,
    /// Whose number called parties see.
    #[serde(default)]
    pub caller_id_policy: CallerIdPolicy,
    /// Whose name they see; at most 64 characters.
    #[serde(default)]
    pub caller_name_policy: Option<String>,
    /// Whether unanswered calls go to the voicemail of Teams.
    #[serde(default)]
    pub use_teams_voicemail: bool,
    /// For people and reports; at most 64 characters.
    #[serde(default)]
    pub user_tag: Option<String>,
    /// Whether a licence at Microsoft is the user's.
    #[serde(default)]
    pub license_assigned: bool,
    /// Whether the user calls; such users count against the limits.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub calling_enabled: bool,
    /// Whether the user is served.
    #[serde(default)]
    pub state: UserState,
}

fn yes() -> bool {
    true
}

/// A stored user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserRecord {
    /// Never used again.
    pub id: Uuid,
    /// Whose.
    pub customer_id: Uuid,
    /// The seat of the carrier's system that the user came from.
    pub seat_id: Option<String>,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: UserSettings,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

impl UserSettings {
    /// Whether the user counts against the limits.
    pub fn counts(&self) -> bool {
        self.calling_enabled && self.state == UserState::Enabled
    }

    fn check(&self, emergency: &[String]) -> Result<BTreeSet<Number>, StoreError> {
        let mut faults = Faults::default();
        let is_upn = self.upn.split_once('@').is_some_and(|(user, domain)| {
            (1..=64).contains(&user.len())
                && !user.contains(|c: char| c.is_whitespace() || c.is_control())
                && is_domain(domain)
        });
        faults.demand(is_upn, "upn", "format", "must be of the form name@domain");
        faults.length("display_name", &self.display_name, 1, 128);
        if let Some(extension) = &self.extension
            && let Err(fault) = check_extension(extension, emergency)
        {
            let code = match fault {
                ExtensionFault::Digits => "digits",
                ExtensionFault::Emergency => "emergency_like",
            };
            faults.demand(false, "extension", code, fault.to_string());
        }
        for (field, text) in [
            ("sip_user", &self.sip_user),
            ("caller_name_policy", &self.caller_name_policy),
            ("user_tag", &self.user_tag),
        ] {
            if let Some(text) = text {
                faults.length(field, text, 1, 64);
            }
        }
        faults.demand(
            self.voice_route.len() <= 16,
            "voice_route",
            "too_many",
            "must be at most 16",
        );
        faults.demand(
            self.forwarded_dids.len() <= 100,
            "forwarded_dids",
            "too_many",
            "must be at most 100",
        );
        let named = self
            .default_did
            .iter()
            .map(|n| ("default_did".to_owned(), n));
        let others = self.forwarded_dids.iter().enumerate();
        let others = others.map(|(index, n)| (format!("forwarded_dids[{index}]"), n));
        let mut numbers = BTreeSet::new();
        for (field, text) in named.chain(others) {
            match text.parse::<Number>() {
                Ok(number) if numbers.insert(number) => {}
                Ok(_) => faults.demand(false, field, "twice", "is named twice"),
                Err(error) => faults.demand(false, field, "format", error.to_string()),
            }
        }
        faults.or(numbers)
    }
}

fn record(row: &SqliteRow) -> Result<UserRecord, sqlx::Error> {
    Ok(UserRecord {
        id: id(row, "id")?,
        customer_id: id(row, "customer_id")?,
        seat_id: row.try_get("seat_id")?,
        settings: UserSettings {
            upn: row.try_get("upn")?,
            teams_object_id: optional_id(row, "teams_object_id")?,
            display_name: row.try_get("display_name")?,
            offering: named(row, "offering")?,
            extension: row.try_get("extension")?,
            sip_user: row.try_get("sip_user")?,
            default_did: row.try_get("first_number")?,
            forwarded_dids: json(row, "other_numbers")?,
            voice_route: json(row, "voice_route")?,
            caller_id_policy: named(row, "caller_id_policy")?,
            caller_name_policy: row.try_get("caller_name_policy")?,
            use_teams_voicemail: row.try_get("teams_voicemail")?,
            user_tag: row.try_get("user_tag")?,
            license_assigned: row.try_get("license_assigned")?,
            calling_enabled: row.try_get("calling_enabled")?,
            state: named(row, "state")?,
        },
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// A user's numbers are those that say so, and stand nowhere twice.
const SELECT: &str = "SELECT users.*,
    (SELECT number FROM numbers WHERE user_id = users.id AND number = default_did) AS first_number,
    (SELECT json_group_array(number) FROM (SELECT number FROM numbers WHERE user_id = users.id
        AND number IS NOT default_did ORDER BY number)) AS other_numbers FROM users";

fn select(rest: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{SELECT} {rest}"))
}

/// Adds one to a customer where these emergency numbers are dialled; its numbers become its own.
pub async fn insert(
    connection: &mut SqliteConnection,
    customer: Uuid,
    settings: &UserSettings,
    emergency: &[String],
) -> Result<UserRecord, StoreError> {
    let numbers = settings.check(emergency)?;
    let user = create(connection, customer, settings, None).await?;
    own(connection, customer, user, &numbers).await?;
    customers::touch(connection, customer).await?;
    written(connection, customer, user).await
}

async fn create(
    connection: &mut SqliteConnection,
    customer: Uuid,
    settings: &UserSettings,
    seat: Option<&str>,
) -> Result<Uuid, StoreError> {
    let (user, at) = (new_id(), micros(now()));
    sqlx::query(
        "INSERT INTO users (id, customer_id, seat_id, upn, display_name, offering, voice_route, caller_id_policy,
         teams_voicemail, license_assigned, calling_enabled, state, created_at, updated_at, version)
         VALUES (?, ?, ?, ?, '', '', '[]', '', 0, 0, 0, '', ?, ?, 0)",
    )
    .bind(user.to_string())
    .bind(customer.to_string())
    .bind(seat)
    .bind(&settings.upn)
    .bind(at)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    write(connection, customer, user, settings).await?;
    Ok(user)
}

/// Changes all but the seat.
pub async fn update(
    connection: &mut SqliteConnection,
    customer: Uuid,
    user: Uuid,
    settings: &UserSettings,
    emergency: &[String],
) -> Result<UserRecord, StoreError> {
    let numbers = settings.check(emergency)?;
    write(connection, customer, user, settings).await?;
    own(connection, customer, user, &numbers).await?;
    customers::touch(connection, customer).await?;
    written(connection, customer, user).await
}

async fn write(
    connection: &mut SqliteConnection,
    customer: Uuid,
    user: Uuid,
    settings: &UserSettings,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE users SET upn = ?, teams_object_id = ?, display_name = ?, offering = ?, extension = ?, sip_user = ?,
         default_did = ?, voice_route = ?, caller_id_policy = ?, caller_name_policy = ?, teams_voicemail = ?, user_tag = ?,
         license_assigned = ?, calling_enabled = ?, state = ?, updated_at = ?, version = version + 1
         WHERE customer_id = ? AND id = ?",
    )
    .bind(&settings.upn)
    .bind(settings.teams_object_id.map(|id| id.to_string()))
    .bind(&settings.display_name)
    .bind(settings.offering.name())
    .bind(&settings.extension)
    .bind(&settings.sip_user)
    .bind(&settings.default_did)
    .bind(to_json(&settings.voice_route))
    .bind(settings.caller_id_policy.name())
    .bind(&settings.caller_name_policy)
    .bind(settings.use_teams_voicemail)
    .bind(&settings.user_tag)
    .bind(settings.license_assigned)
    .bind(settings.calling_enabled)
    .bind(settings.state.name())
    .bind(micros(now()))
    .bind(customer.to_string())
    .bind(user.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes these numbers the user's, and no others.
async fn own(
    connection: &mut SqliteConnection,
    customer: Uuid,
    user: Uuid,
    wanted: &BTreeSet<Number>,
) -> Result<(), StoreError> {
    let mut faults = Faults::default();
    for number in wanted {
        let found = numbers::find(connection, customer, number).await?;
        let owner = found.as_ref().map(|n| n.settings.user_id);
        let what = "must be a number of the customer";
        faults.demand(owner.is_some(), "default_did", "unknown_number", what);
        let is_free = owner.is_none_or(|owner| owner.is_none_or(|owner| owner == user));
        let what = format!("{number} is another user's");
        faults.demand(is_free, "default_did", "number_assigned", what);
    }
    faults.or(())?;
    let wanted: Vec<_> = wanted.iter().map(Number::as_str).collect();
    let lose = "UPDATE numbers SET user_id = NULL, assignment = 'unassigned', updated_at = ?, version = version + 1
        WHERE user_id = ? AND number NOT IN (SELECT value FROM json_each(?))";
    sqlx::query(lose)
        .bind(micros(now()))
        .bind(user.to_string())
        .bind(to_json(&wanted))
        .execute(&mut *connection)
        .await?;
    for number in wanted {
        if let Ok(number) = number.parse() {
            numbers::give(connection, customer, &number, user).await?;
        }
    }
    Ok(())
}

/// Removes one; its numbers stay the customer's.
pub async fn delete(
    connection: &mut SqliteConnection,
    customer: Uuid,
    user: Uuid,
) -> Result<(), StoreError> {
    numbers::take_from(connection, user).await?;
    let query = sqlx::query("DELETE FROM users WHERE customer_id = ? AND id = ?");
    query
        .bind(customer.to_string())
        .bind(user.to_string())
        .execute(&mut *connection)
        .await?;
    customers::touch(connection, customer).await
}

/// The customer's one of this id.
pub async fn find(
    connection: &mut SqliteConnection,
    customer: Uuid,
    user: Uuid,
) -> Result<Option<UserRecord>, StoreError> {
    let query = sqlx::query(select("WHERE customer_id = ? AND id = ?"));
    let row = query
        .bind(customer.to_string())
        .bind(user.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// The id of the customer's one of this name at Microsoft.
pub async fn id_of(
    connection: &mut SqliteConnection,
    customer: Uuid,
    upn: &str,
) -> Result<Option<Uuid>, StoreError> {
    let query = sqlx::query("SELECT id FROM users WHERE customer_id = ? AND upn = ?");
    let row = query
        .bind(customer.to_string())
        .bind(upn)
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(|row| id(row, "id")).transpose()?)
}

/// A customer's, in the order of creation.
pub async fn list(
    connection: &mut SqliteConnection,
    customer: Uuid,
    page: Page,
) -> Result<Listed<UserRecord>, StoreError> {
    let query = sqlx::query(select(
        "WHERE customer_id = ? AND seq > ? ORDER BY seq LIMIT ?",
    ))
    .bind(customer.to_string())
    .bind(page.after.unwrap_or(0))
    .bind(page.fetch());
    Ok(page.cut(&query.fetch_all(connection).await?, record)?)
}

/// How many of a customer's users count against its limits.
pub async fn counted(connection: &mut SqliteConnection, customer: Uuid) -> Result<u32, StoreError> {
    const COUNT: &str = "SELECT count(*) FROM users WHERE customer_id = ? AND calling_enabled AND state = 'enabled'";
    let count: i64 = sqlx::query_scalar(COUNT)
        .bind(customer.to_string())
        .fetch_one(connection)
        .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The extensions that a customer's users have.
pub async fn extensions(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<BTreeSet<String>, StoreError> {
    const SELECT: &str =
        "SELECT extension FROM users WHERE customer_id = ? AND extension IS NOT NULL";
    let found: Vec<String> = sqlx::query_scalar(SELECT)
        .bind(customer.to_string())
        .fetch_all(connection)
        .await?;
    Ok(found.into_iter().collect())
}

/// What a Sync made of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seated {
    /// It is a user now.
    Created(Uuid),
    /// The user is as the seat says.
    Updated(Uuid),
    /// The user was as the seat says.
    Unchanged(Uuid),
    /// No more users are allowed.
    Full,
}

impl Seated {
    /// The user, if there is one.
    pub fn user(self) -> Option<Uuid> {
        match self {
            Self::Created(user) | Self::Updated(user) | Self::Unchanged(user) => Some(user),
            Self::Full => None,
        }
    }
}

/// Makes a user of a seat, or brings the user that it is up to date; `room`: whether one more may count. On an error
/// nothing has changed.
pub async fn seat(
    connection: &mut SqliteConnection,
    customer: Uuid,
    seat: &Seat,
    room: bool,
) -> Result<Seated, StoreError> {
    let mut inner = connection.begin().await?;
    let seated = sit(&mut inner, customer, seat, room).await?;
    inner.commit().await?;
    Ok(seated)
}

async fn sit(
    connection: &mut SqliteConnection,
    customer: Uuid,
    seat: &Seat,
    room: bool,
) -> Result<Seated, StoreError> {
    let query = sqlx::query(select("WHERE customer_id = ? AND seat_id = ?"))
        .bind(customer.to_string())
        .bind(&seat.id);
    let row = query.fetch_optional(&mut *connection).await?;
    let known = row.as_ref().map(record).transpose()?;
    let known = match (known, &seat.upn) {
        (None, Some(upn)) => adopt(connection, customer, upn, &seat.id).await?,
        (known, _) => known,
    };
    let before = known.as_ref().map(|user| user.settings.clone());
    let after = as_seat(before.clone().unwrap_or_else(|| blank(seat)), seat);
    let counted = before.as_ref().is_some_and(UserSettings::counts);
    if after.counts() && !counted && !room {
        return Ok(Seated::Full);
    }
    after.check(&[])?;
    match known {
        None => Ok(Seated::Created(
            create(connection, customer, &after, Some(&seat.id)).await?,
        )),
        Some(user) if before.as_ref() == Some(&after) => Ok(Seated::Unchanged(user.id)),
        Some(user) => {
            write(connection, customer, user.id, &after).await?;
            Ok(Seated::Updated(user.id))
        }
    }
}

/// A user that was made here before the carrier's system had a seat for it becomes that seat.
async fn adopt(
    connection: &mut SqliteConnection,
    customer: Uuid,
    upn: &str,
    seat: &str,
) -> Result<Option<UserRecord>, StoreError> {
    const ADOPT: &str =
        "UPDATE users SET seat_id = ? WHERE customer_id = ? AND upn = ? AND seat_id IS NULL";
    let query = sqlx::query(ADOPT)
        .bind(seat)
        .bind(customer.to_string())
        .bind(upn);
    if query.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(None);
    }
    let query = sqlx::query(select("WHERE customer_id = ? AND seat_id = ?"))
        .bind(customer.to_string())
        .bind(seat);
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

fn blank(seat: &Seat) -> UserSettings {
    UserSettings {
        upn: format!("{}@seat.invalid", seat.id),
        teams_object_id: None,
        display_name: seat.id.clone(),
        offering: UserOffering::default(),
        extension: None,
        sip_user: None,
        default_did: None,
        forwarded_dids: Vec::new(),
        voice_route: Vec::new(),
        caller_id_policy: CallerIdPolicy::default(),
        caller_name_policy: None,
        use_teams_voicemail: false,
        user_tag: None,
        license_assigned: false,
        calling_enabled: true,
        state: UserState::Enabled,
    }
}

/// What the seat says wins; what it does not say stays.
fn as_seat(user: UserSettings, seat: &Seat) -> UserSettings {
    UserSettings {
        upn: seat.upn.clone().unwrap_or(user.upn),
        display_name: seat.display_name.clone().unwrap_or(user.display_name),
        extension: seat.extension.clone().or(user.extension),
        state: if seat.enabled {
            UserState::Enabled
        } else {
            UserState::Disabled
        },
        ..user
    }
}

/// Makes a number the first of a user that has none yet, as the carrier's system has it.
pub async fn first_number(
    connection: &mut SqliteConnection,
    user: Uuid,
    number: &Number,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE users SET default_did = ? WHERE id = ? AND default_did IS NULL")
        .bind(number.as_str())
        .bind(user.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Disables the users of seats that are no longer there; how many.
pub async fn unseat(
    connection: &mut SqliteConnection,
    customer: Uuid,
    seats: &[&str],
) -> Result<u64, StoreError> {
    const UNSEAT: &str =
        "UPDATE users SET state = 'disabled', updated_at = ?, version = version + 1
        WHERE customer_id = ? AND seat_id IS NOT NULL AND state = 'enabled'
        AND seat_id NOT IN (SELECT value FROM json_each(?))";
    let query = sqlx::query(UNSEAT)
        .bind(micros(now()))
        .bind(customer.to_string())
        .bind(to_json(&seats));
    Ok(query.execute(connection).await?.rows_affected())
}

async fn written(
    connection: &mut SqliteConnection,
    customer: Uuid,
    user: Uuid,
) -> Result<UserRecord, StoreError> {
    Ok(find(connection, customer, user)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::customers::tests::acme;
    use super::super::numbers::NewNumber;
    use super::super::open::tests::fresh;
    use super::*;
    use crate::provisioning::SeatKind;

    fn user(upn: &str, numbers: &[&str]) -> UserSettings {
        let mut numbers = numbers.iter().map(|n| (*n).to_owned());
        serde_json::from_value(serde_json::json!({
            "upn": upn, "display_name": upn, "default_did": numbers.next(), "forwarded_dids": numbers.collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    async fn with_numbers(connection: &mut SqliteConnection) -> Uuid {
        let customer = customers::insert(connection, &acme()).await.unwrap().id;
        for number in ["+14255550100", "+14255550101"] {
            let new = NewNumber::from(number.parse::<Number>().unwrap());
            numbers::insert(connection, customer, &new).await.unwrap();
        }
        customer
    }

    /// A number is one user's; a user that goes leaves its numbers with the customer.
    #[tokio::test]
    async fn users_have_numbers_and_leave_them() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let customer = with_numbers(&mut change).await;
        let settings = user("a@b.example", &["+14255550101", "+14255550100"]);
        let first = insert(&mut change, customer, &settings, &[]).await.unwrap();
        assert_eq!(first.settings, settings);
        let twice = user("c@b.example", &["+14255550100"]);
        let refused = insert(&mut change, customer, &twice, &[])
            .await
            .unwrap_err();
        assert!(matches!(refused, StoreError::Faults(f) if f[0].code == "number_assigned"));
        let unknown = user("d@b.example", &["+14255550199"]);
        let refused = insert(&mut change, customer, &unknown, &[])
            .await
            .unwrap_err();
        assert!(matches!(refused, StoreError::Faults(f) if f[0].code == "unknown_number"));
        let less = user("a@b.example", &["+14255550101"]);
        let changed = update(&mut change, customer, first.id, &less, &[])
            .await
            .unwrap();
        assert_eq!(changed.settings, less);
        delete(&mut change, customer, first.id).await.unwrap();
        let number: Number = "+14255550101".parse().unwrap();
        let free = numbers::find(&mut change, customer, &number);
        assert_eq!(free.await.unwrap().unwrap().settings.user_id, None);
    }

    /// A seat becomes a user once, is kept up to date, disabled when it vanishes, and back when it is back.
    #[tokio::test]
    async fn seats_become_users() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let customer = with_numbers(&mut change).await;
        let made = Seat {
            id: "7".into(),
            kind: SeatKind::Teams,
            upn: Some("jo@b.example".into()),
            display_name: None,
            extension: Some("1001".into()),
            numbers: Vec::new(),
            enabled: true,
        };
        assert_eq!(
            seat(&mut change, customer, &made, false).await.unwrap(),
            Seated::Full
        );
        let created = seat(&mut change, customer, &made, true).await.unwrap();
        let Seated::Created(id) = created else {
            panic!("{created:?}")
        };
        let same = seat(&mut change, customer, &made, false).await.unwrap();
        assert_eq!(same, Seated::Unchanged(id));
        let renamed = Seat {
            display_name: Some("Jo".into()),
            ..made.clone()
        };
        assert_eq!(
            seat(&mut change, customer, &renamed, false).await.unwrap(),
            Seated::Updated(id)
        );
        assert_eq!(unseat(&mut change, customer, &["7"]).await.unwrap(), 0);
        assert_eq!(unseat(&mut change, customer, &[]).await.unwrap(), 1);
        assert_eq!(counted(&mut change, customer).await.unwrap(), 0);
        assert_eq!(
            seat(&mut change, customer, &made, false).await.unwrap(),
            Seated::Full
        );
        assert_eq!(
            seat(&mut change, customer, &made, true).await.unwrap(),
            Seated::Updated(id)
        );
        let by_hand = insert(&mut change, customer, &user("kim@b.example", &[]), &[])
            .await
            .unwrap();
        let adopted = Seat {
            id: "8".into(),
            upn: Some("KIM@b.example".into()),
            extension: None,
            ..made
        };
        let adopted = seat(&mut change, customer, &adopted, false).await.unwrap();
        assert_eq!(adopted, Seated::Updated(by_hand.id));
    }
}
