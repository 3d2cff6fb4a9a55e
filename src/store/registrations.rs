//! Users of customers' exchanges, in whose names we register there.
//!
//! What is written here holds at once. What changes about the user itself, such as its numbers or that it is served no
//! more, holds from the next Sync on, as it does for everything about users.

use super::error::Faults;
use super::rows::{id, json, micros, new_id, now, of, optional_id, time};
use super::{Change, Keys, Listed, Page, Password, StoreError, pbxs, users};
use crate::directory::{self, Number, Registrant, Secret};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A user of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrationSettings {
    /// Whom it stands for; never changed. Null when the user is gone, until the next Sync.
    pub user_id: Option<Uuid>,
    /// Where.
    pub pbx_id: Uuid,
    /// The user part of its address there: 1 to 64 characters that a SIP URI may hold, unique there.
    #[schema(example = "1001")]
    pub username: String,
    /// The name by which it proves itself, 1 to 64 characters; null: `username`.
    #[serde(default)]
    pub auth_id: Option<String>,
    /// What proves it; 1 to 128 characters. Never shown; absence keeps it.
    #[serde(default, skip_serializing_if = "Password::is_secret")]
    #[schema(value_type = Option<String>, write_only)]
    pub password: Password,
    /// Whether it is registered.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// A stored registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PbxRegistrationRecord)]
pub struct RegistrationRecord {
    /// Never used again.
    pub id: Uuid,
    /// Whose.
    pub customer_id: Uuid,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: RegistrationSettings,
    /// The user's numbers as calls obey them: calls on the registration reach the first.
    pub numbers: Vec<String>,
    /// Whether the user is served, as calls obey it.
    pub serves: bool,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

impl RegistrationSettings {
    fn check(&self, password: Option<&Secret>) -> Result<(), StoreError> {
        let mut faults = Faults::default();
        // RFC 3261 §25.1, `user`, without what would need an escape.
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/".contains(&c);
        let is_user = (1..=64).contains(&self.username.len()) && self.username.bytes().all(fits);
        faults.demand(
            is_user,
            "username",
            "format",
            "must be 1 to 64 characters that the user part of a SIP URI may hold",
        );
        if let Some(auth_id) = &self.auth_id {
            faults.length("auth_id", auth_id, 1, 64);
        }
        match password {
            Some(password) => faults.length("password", password.expose(), 1, 128),
            None => faults.demand(false, "password", "required", "is needed to register"),
        }
        faults.or(())
    }
}

fn record(row: &SqliteRow) -> Result<RegistrationRecord, sqlx::Error> {
    Ok(RegistrationRecord {
        id: id(row, "id")?,
        customer_id: id(row, "customer_id")?,
        settings: RegistrationSettings {
            user_id: optional_id(row, "user_id")?,
            pbx_id: id(row, "pbx_id")?,
            username: row.try_get("username")?,
            auth_id: row.try_get("auth_id")?,
            password: Password::Keep,
            enabled: row.try_get("enabled")?,
        },
        numbers: json(row, "numbers")?,
        serves: row.try_get("serves")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Where passwords are.
const PASSWORDS: &str = "pbx_registrations";

/// Adds one to a customer.
pub async fn insert(
    change: &mut Change,
    customer: Uuid,
    settings: &RegistrationSettings,
) -> Result<RegistrationRecord, StoreError> {
    let password = settings.password.applied_to(None);
    settings.check(password.as_ref())?;
    check_places(change, customer, settings).await?;
    let (registration, at) = (new_id(), micros(now()));
    // 128 bits in base 16: nobody guesses it, and it is a user part as it stands.
    let token = format!("{:032x}", u128::from_be_bytes(rand::random()));
    sqlx::query(
        "INSERT INTO pbx_registrations (id, customer_id, pbx_id, user_id, username, password, contact_token, enabled, serves,
         numbers, created_at, updated_at, version) VALUES (?, ?, ?, ?, ?, '', ?, 0, 0, '[]', ?, ?, 0)",
    )
    .bind(registration.to_string())
    .bind(customer.to_string())
    .bind(settings.pbx_id.to_string())
    .bind(settings.user_id.map(|id| id.to_string()))
    .bind(&settings.username)
    .bind(token)
    .bind(at)
    .bind(at)
    .execute(&mut **change)
    .await?;
    keep_password(change, registration, password.as_ref()).await?;
    write(change, customer, registration, settings).await
}

/// Changes everything that the settings say.
pub async fn update(
    change: &mut Change,
    customer: Uuid,
    registration: Uuid,
    settings: &RegistrationSettings,
) -> Result<RegistrationRecord, StoreError> {
    let current = current_password(change, registration).await?;
    let new = settings.password.applied_to(current);
    settings.check(new.as_ref())?;
    check_places(change, customer, settings).await?;
    keep_password(change, registration, new.as_ref()).await?;
    write(change, customer, registration, settings).await
}

async fn current_password(
    change: &mut Change,
    registration: Uuid,
) -> Result<Option<Secret>, StoreError> {
    let query = sqlx::query("SELECT id, password, key_id FROM pbx_registrations WHERE id = ?");
    let row = query
        .bind(registration.to_string())
        .fetch_optional(&mut **change)
        .await?;
    let keys = change.keys();
    row.map(|row| password(&row, &keys)).transpose()
}

/// Whether a registration would have another password.
pub async fn changes_password(
    change: &mut Change,
    registration: Uuid,
    new: &Password,
) -> Result<bool, StoreError> {
    let current = current_password(change, registration).await?;
    Ok(new.applied_to(current.clone()) != current)
}

fn password(row: &SqliteRow, keys: &Keys) -> Result<Secret, StoreError> {
    let id: String = row.try_get("id")?;
    let (text, key_id) = (row.try_get("password")?, row.try_get("key_id")?);
    keys.opened(PASSWORDS, &id, text, key_id)
}

/// There is one: without it the settings were refused.
async fn keep_password(
    change: &mut Change,
    registration: Uuid,
    password: Option<&Secret>,
) -> Result<(), StoreError> {
    let Some(password) = password else {
        return Ok(());
    };
    let id = registration.to_string();
    let sealed = change.keys().seal(PASSWORDS, &id, password.expose())?;
    sqlx::query("UPDATE pbx_registrations SET password = ?, key_id = ? WHERE id = ?")
        .bind(sealed.text)
        .bind(sealed.key_id)
        .bind(id)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// The exchange and the user are the customer's own.
async fn check_places(
    connection: &mut SqliteConnection,
    customer: Uuid,
    settings: &RegistrationSettings,
) -> Result<(), StoreError> {
    let mut faults = Faults::default();
    let pbx = pbxs::find(connection, customer, settings.pbx_id).await?;
    let what = "must be an exchange of the customer";
    faults.demand(pbx.is_some(), "pbx_id", "unknown_pbx", what);
    let user = match settings.user_id {
        Some(user) => users::find(connection, customer, user).await?.is_some(),
        None => false,
    };
    let what = "must be a user of the customer";
    faults.demand(user, "user_id", "unknown_user", what);
    faults.or(())
}

async fn write(
    connection: &mut SqliteConnection,
    customer: Uuid,
    registration: Uuid,
    settings: &RegistrationSettings,
) -> Result<RegistrationRecord, StoreError> {
    sqlx::query(
        "UPDATE pbx_registrations SET pbx_id = ?, username = ?, auth_id = ?, enabled = ?, updated_at = ?,
         version = version + 1 WHERE customer_id = ? AND id = ?",
    )
    .bind(settings.pbx_id.to_string())
    .bind(&settings.username)
    .bind(&settings.auth_id)
    .bind(settings.enabled)
    .bind(micros(now()))
    .bind(customer.to_string())
    .bind(registration.to_string())
    .execute(&mut *connection)
    .await?;
    follow_user(connection, registration).await?;
    Ok(find(connection, customer, registration)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

/// What the user of a registration is now. Its first number comes first.
const USER: &str = "SELECT users.state = 'enabled' AND users.calling_enabled AS serves,
    (SELECT json_group_array(number) FROM (SELECT number, number IS NOT users.default_did AS other FROM numbers
        WHERE user_id = users.id ORDER BY other, number)) AS numbers
    FROM pbx_registrations r JOIN users ON users.id = r.user_id WHERE r.id = ?";

/// Takes over what the user is now; whether that is something else.
async fn follow_user(
    connection: &mut SqliteConnection,
    registration: Uuid,
) -> Result<bool, StoreError> {
    let user = sqlx::query(USER)
        .bind(registration.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(user) = user else { return Ok(false) };
    let (serves, numbers): (bool, String) = (user.try_get("serves")?, user.try_get("numbers")?);
    let changed = sqlx::query(
        "UPDATE pbx_registrations SET serves = ?, numbers = ? WHERE id = ? AND (serves IS NOT ? OR numbers IS NOT ?)",
    )
    .bind(serves)
    .bind(&numbers)
    .bind(registration.to_string())
    .bind(serves)
    .bind(&numbers)
    .execute(connection)
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Takes over what a customer's users are now: of those that are gone the registrations go too. How many changed.
pub async fn follow_users(
    connection: &mut SqliteConnection,
    customer: Uuid,
) -> Result<u32, StoreError> {
    let gone =
        sqlx::query("DELETE FROM pbx_registrations WHERE customer_id = ? AND user_id IS NULL")
            .bind(customer.to_string())
            .execute(&mut *connection)
            .await?;
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM pbx_registrations WHERE customer_id = ?")
            .bind(customer.to_string())
            .fetch_all(&mut *connection)
            .await?;
    let mut changed = u32::try_from(gone.rows_affected()).unwrap_or(u32::MAX);
    for registration in ids.iter().filter_map(|id| id.parse().ok()) {
        changed += u32::from(follow_user(connection, registration).await?);
    }
    Ok(changed)
}

/// Removes one.
pub async fn delete(
    connection: &mut SqliteConnection,
    customer: Uuid,
    registration: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM pbx_registrations WHERE customer_id = ? AND id = ?")
        .bind(customer.to_string())
        .bind(registration.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The customer's one of this id.
pub async fn find(
    connection: &mut SqliteConnection,
    customer: Uuid,
    registration: Uuid,
) -> Result<Option<RegistrationRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM pbx_registrations WHERE customer_id = ? AND id = ?");
    let row = query
        .bind(customer.to_string())
        .bind(registration.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// A customer's, in the order of creation.
pub async fn list(
    connection: &mut SqliteConnection,
    customer: Uuid,
    page: Page,
) -> Result<Listed<RegistrationRecord>, StoreError> {
    let query = sqlx::query(
        "SELECT * FROM pbx_registrations WHERE customer_id = ? AND seq > ? ORDER BY seq LIMIT ?",
    )
    .bind(customer.to_string())
    .bind(page.after.unwrap_or(0))
    .bind(page.fetch());
    Ok(page.cut(&query.fetch_all(connection).await?, record)?)
}

/// All that are to be registered, or a customer's.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    keys: &Keys,
    customer: Option<Uuid>,
) -> Result<Vec<directory::Registration>, StoreError> {
    let exchanges = pbxs::all(connection, customer).await?;
    if exchanges.is_empty() {
        return Ok(Vec::new());
    }
    let rows = of(
        "SELECT * FROM pbx_registrations WHERE enabled AND serves",
        " AND customer_id = ",
        customer,
    )
    .build()
    .fetch_all(connection)
    .await?;
    let mut compiled = Vec::with_capacity(rows.len());
    for row in &rows {
        let found = record(row)?;
        let Some(pbx) = exchanges.get(&found.settings.pbx_id) else {
            continue;
        };
        let numbers = found.numbers.iter();
        let username = found.settings.username;
        compiled.push(directory::Registration {
            id: found.id,
            registrant: Registrant::User,
            customer: Some(found.customer_id),
            numbers: numbers
                .filter_map(|text| text.parse::<Number>().ok())
                .collect(),
            auth_name: found
                .settings
                .auth_id
                .unwrap_or_else(|| username.clone())
                .into(),
            username: username.into(),
            password: password(row, keys)?,
            token: row.try_get::<String, _>("contact_token")?.into(),
            pbx: pbx.clone(),
        });
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::super::customers::tests::acme;
    use super::super::open::tests::fresh;
    use super::super::{PbxSettings, Store, UserSettings, customers};
    use super::*;
    use serde_json::json;

    struct Scene {
        customer: Uuid,
        user: Uuid,
        pbx: Uuid,
        registration: Uuid,
    }

    fn settings(scene: &Scene) -> RegistrationSettings {
        serde_json::from_value(json!({
            "user_id": scene.user, "pbx_id": scene.pbx, "username": "1001", "auth_id": "a1001", "password": "s3same",
        }))
        .unwrap()
    }

    async fn scene(store: &Store) -> Scene {
        let mut change = store.change().await.unwrap();
        let customer = customers::insert(&mut change, &customers_settings()).await;
        let customer = customer.unwrap().id;
        let pbx: PbxSettings = serde_json::from_value(json!({
            "pbx_type": "netsapiens", "location": "HQ", "sip_domain": "pbx.example",
        }))
        .unwrap();
        let pbx = pbxs::insert(&mut change, customer, &pbx).await.unwrap();
        let defaults = &pbx.settings;
        assert_eq!(
            (defaults.expires_s, defaults.dns_lookup),
            (Some(300), Some(crate::provisioning::DnsLookup::Srv)),
            "as the type says"
        );
        let user: UserSettings =
            serde_json::from_value(json!({ "upn": "jo@contoso.example", "display_name": "Jo" }))
                .unwrap();
        let user = users::insert(&mut change, customer, &user, &[]).await;
        let mut scene = Scene {
            customer,
            user: user.unwrap().id,
            pbx: pbx.id,
            registration: Uuid::nil(),
        };
        let made = insert(&mut change, customer, &settings(&scene)).await;
        scene.registration = made.unwrap().id;
        change.publish().await.unwrap();
        scene
    }

    fn customers_settings() -> super::super::CustomerSettings {
        super::super::CustomerSettings {
            activation_state: directory::ActivationState::Active,
            ..acme()
        }
    }

    /// What was written is registered: under the name and the Contact that it keeps, with the password that is shown to
    /// nobody.
    #[tokio::test]
    async fn a_stored_user_is_registered() {
        let (_folder, store) = fresh().await;
        let scene = scene(&store).await;
        let directory = store.directory().load_full();
        let line = directory.registrations().get(&scene.registration).unwrap();
        assert_eq!((&*line.username, &*line.auth_name), ("1001", "a1001"));
        assert_eq!(line.password.expose(), "s3same");
        assert_eq!((line.pbx.hop.port, line.token.len()), (None, 32));
        let mut change = store.change().await.unwrap();
        let shown = find(&mut change, scene.customer, scene.registration).await;
        let shown = serde_json::to_string(&shown.unwrap().unwrap()).unwrap();
        assert!(!shown.contains("s3same") && !shown.contains(&*line.token));
        let kept = RegistrationSettings {
            password: Password::Keep,
            username: "1002".into(),
            ..settings(&scene)
        };
        let changed = update(&mut change, scene.customer, scene.registration, &kept).await;
        assert_eq!(changed.unwrap().version, 2);
        change.publish_for(&[scene.customer]).await.unwrap();
        let after = store.directory().load_full();
        let now = after.registrations().get(&scene.registration).unwrap();
        assert_eq!((&*now.username, &now.token), ("1002", &line.token));
        assert_eq!(now.password.expose(), "s3same");
    }

    /// A user that is gone or not served any more takes its registration along, at the next Sync.
    #[tokio::test]
    async fn registrations_follow_their_users() {
        let (_folder, store) = fresh().await;
        let scene = scene(&store).await;
        let mut change = store.change().await.unwrap();
        assert_eq!(follow_users(&mut change, scene.customer).await.unwrap(), 0);
        users::delete(&mut change, scene.customer, scene.user)
            .await
            .unwrap();
        let orphan = find(&mut change, scene.customer, scene.registration).await;
        assert_eq!(orphan.unwrap().unwrap().settings.user_id, None);
        assert_eq!(follow_users(&mut change, scene.customer).await.unwrap(), 1);
        pbxs::delete(&mut change, scene.customer, scene.pbx)
            .await
            .unwrap();
        change.publish_for(&[scene.customer]).await.unwrap();
        assert!(store.directory().load().registrations().is_empty());
    }

    /// Names and places are checked: no second user of a name, no exchange of somebody else, no password that is none.
    #[tokio::test]
    async fn what_does_not_fit_is_told() {
        let (_folder, store) = fresh().await;
        let scene = scene(&store).await;
        let mut change = store.change().await.unwrap();
        let twice = insert(&mut change, scene.customer, &settings(&scene)).await;
        assert!(matches!(twice, Err(StoreError::Taken(_))));
        let bad: [fn(&mut RegistrationSettings); 5] = [
            |s| s.username = "a b".into(),
            |s| s.password = Password::Remove,
            |s| s.pbx_id = Uuid::nil(),
            |s| s.user_id = None,
            |s| s.auth_id = Some(String::new()),
        ];
        for (n, change_it) in bad.into_iter().enumerate() {
            let mut wrong = settings(&scene);
            change_it(&mut wrong);
            let refused = update(&mut change, scene.customer, scene.registration, &wrong).await;
            assert!(matches!(refused, Err(StoreError::Faults(_))), "{n}");
        }
        let busy = pbxs::delete(&mut change, scene.customer, scene.pbx).await;
        assert!(matches!(busy, Err(StoreError::Reference)));
    }
}
