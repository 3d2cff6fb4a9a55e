//! Invitations of a customer's administrator, to register or to sign in at Microsoft for a service, and where each stands.

pub mod codes;

use super::mails::{self, EmailSent};
use super::rows::{
    id, int, micros, named, new_id, optional_id, optional_time, parsed, time, to_json,
};
use super::{Change, Keys, Listed, Page, StoreError};
use crate::directory::Secret;
use crate::provisioning::activation::Failure;
use crate::provisioning::{
    INVITATION_LASTS, InvitationCode, InvitationEvent, InvitationState, Letter,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Invitations that are kept of one service, or of a customer's administrator; the oldest go first.
const KEPT: i64 = 20;
/// Where the texts of links are.
const INVITATIONS: &str = "invitations";
/// Where the codes of sign-ins are.
const DEVICES: &str = "invitation_devices";

/// Who is invited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invitee {
    /// Where the letter goes.
    #[serde(default)]
    pub email: Option<String>,
    /// The one account that may sign in; without it every Global Administrator of the tenant may.
    #[serde(default)]
    pub admin_email: Option<String>,
}

/// A stored invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Invitation)]
pub struct InvitationRecord {
    /// Never used again.
    pub id: Uuid,
    /// Whose.
    pub customer_id: Uuid,
    /// For what; none: for the customer itself, whose administrator registers.
    pub service_id: Option<Uuid>,
    /// Who.
    #[serde(flatten)]
    pub invitee: Invitee,
    /// How far it is.
    pub state: InvitationState,
    /// Whether the code of the letter is needed.
    pub code_state: InvitationCode,
    /// Wrong codes since the last letter; ten are the end.
    pub wrong_codes: u32,
    /// Whether an administrator has signed in.
    pub device_authenticated: bool,
    /// Why the last step did not succeed.
    #[schema(value_type = Option<Object>)]
    pub failure: Option<Failure>,
    /// What became of the last letter.
    pub email_sent: EmailSent,
    /// How often that letter was handed to the mail server.
    pub email_attempts: u32,
    /// Why it has not left.
    pub email_error: Option<String>,
    /// Letters that were asked for.
    pub email_sent_count: u32,
    /// When the last one was.
    #[serde(with = "time::serde::rfc3339::option")]
    pub email_requested_at: Option<OffsetDateTime>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its link no longer counts.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

/// A sign-in at another device that has begun.
#[derive(Debug, Clone)]
pub struct DeviceSignIn {
    /// For which invitation.
    pub invitation_id: Uuid,
    /// For polling.
    pub device_code: Secret,
    /// What the administrator types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// Seconds between two polls.
    pub interval_s: u32,
    /// When it is polled.
    pub due_at: OffsetDateTime,
    /// When it is over.
    pub expires_at: OffsetDateTime,
}

const SELECT: &str = "SELECT invitations.*, mails.state AS mail_state, mails.attempts AS mail_attempts, mails.error AS mail_error
    FROM invitations LEFT JOIN mails ON mails.id = mail_id ";

/// As it stands at this time: whoever expired is not told so by anybody.
fn record(row: &SqliteRow, now: OffsetDateTime) -> Result<InvitationRecord, sqlx::Error> {
    let failure: Option<String> = row.try_get("failure")?;
    let expires_at = time(row, "expires_at")?;
    let stored: InvitationState = named(row, "state")?;
    let expired = (expires_at <= now).then(|| stored.on(InvitationEvent::Expired));
    let has_mail = row.try_get::<Option<String>, _>("mail_state")?.is_some();
    let state = expired.flatten().unwrap_or(stored);
    Ok(InvitationRecord {
        id: id(row, "id")?,
        customer_id: id(row, "customer_id")?,
        service_id: optional_id(row, "service_id")?,
        invitee: Invitee {
            email: row.try_get("email")?,
            admin_email: row.try_get("admin_email")?,
        },
        state,
        code_state: named(row, "code")?,
        wrong_codes: int(row, "wrong_codes")?,
        device_authenticated: matches!(
            stored,
            InvitationState::TokenAcquired | InvitationState::AuthenticationComplete
        ),
        failure: failure
            .map(|text| parsed("failure", serde_json::from_str(&text)))
            .transpose()?,
        email_sent: match has_mail {
            true => named(row, "mail_state")?,
            false => EmailSent::NotRequested,
        },
        email_attempts: match has_mail {
            true => int(row, "mail_attempts")?,
            false => 0,
        },
        email_error: row.try_get("mail_error")?,
        email_sent_count: int(row, "letters")?,
        email_requested_at: optional_time(row, "sent_at")?,
        created_at: time(row, "created_at")?,
        expires_at,
        version: row.try_get("version")?,
    })
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

fn new_token() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Invites somebody for a service of a customer; without one, to register as its administrator, with a code.
pub async fn insert(
    change: &mut Change,
    customer: Uuid,
    service: Option<Uuid>,
    invitee: &Invitee,
    at: OffsetDateTime,
) -> Result<InvitationRecord, StoreError> {
    const FORGET: &str = "DELETE FROM invitations WHERE customer_id = ?1 AND service_id IS ?2 AND seq <= (
        SELECT seq FROM invitations WHERE customer_id = ?1 AND service_id IS ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)";
    let (new, token) = (new_id(), new_token());
    let sealed = change.keys().seal(INVITATIONS, &new.to_string(), &token)?;
    sqlx::query(
        "INSERT INTO invitations (id, customer_id, service_id, email, admin_email, token_hash, token, key_id, state, letters,
         created_at, expires_at, version, code, wrong_codes)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'created', 0, ?, ?, 1, ?, 0)",
    )
    .bind(new.to_string())
    .bind(customer.to_string())
    .bind(service.map(|id| id.to_string()))
    .bind(&invitee.email)
    .bind(&invitee.admin_email)
    .bind(hash(&token))
    .bind(sealed.text)
    .bind(sealed.key_id)
    .bind(micros(at))
    .bind(micros(at + INVITATION_LASTS))
    .bind(InvitationCode::None.name())
    .execute(&mut **change)
    .await?;
    sqlx::query(FORGET)
        .bind(customer.to_string())
        .bind(service.map(|id| id.to_string()))
        .bind(KEPT)
        .execute(&mut **change)
        .await?;
    if service.is_none() {
        codes::issue(change, new).await?;
    }
    written(change, new, at).await
}

/// Gives an invitation another link, in place of the old one, another code if it has one, and its whole time again.
pub async fn renew(
    change: &mut Change,
    invitation: &InvitationRecord,
    state: InvitationState,
    at: OffsetDateTime,
) -> Result<InvitationRecord, StoreError> {
    const RENEW: &str =
        "UPDATE invitations SET token_hash = ?, token = ?, key_id = ?, state = ?, failure = NULL,
        expires_at = ?, version = version + 1 WHERE id = ?";
    let (id, token) = (invitation.id, new_token());
    codes::replace_link(change, id).await?;
    let sealed = change.keys().seal(INVITATIONS, &id.to_string(), &token)?;
    sqlx::query(RENEW)
        .bind(hash(&token))
        .bind(sealed.text)
        .bind(sealed.key_id)
        .bind(state.name())
        .bind(micros(at + INVITATION_LASTS))
        .bind(id.to_string())
        .execute(&mut **change)
        .await?;
    end_sign_in(change, id).await?;
    if invitation.code_state != InvitationCode::None {
        codes::issue(change, id).await?;
    }
    written(change, id, at).await
}

/// Has the letter with the link sent, in place of one that has not left.
pub async fn send(
    change: &mut Change,
    invitation: &InvitationRecord,
    to: &str,
    letter: &Letter,
    at: OffsetDateTime,
) -> Result<InvitationRecord, StoreError> {
    const SENT: &str = "UPDATE invitations SET mail_id = ?, letters = letters + 1, sent_at = ?, version = version + 1
        WHERE id = ?";
    withdraw_letter(change, invitation.id).await?;
    let mail = mails::queue(change, Some(invitation.customer_id), to, letter, at).await?;
    sqlx::query(SENT)
        .bind(mail.to_string())
        .bind(micros(at))
        .bind(invitation.id.to_string())
        .execute(&mut **change)
        .await?;
    written(change, invitation.id, at).await
}

/// Takes a letter back that has not left: its link no longer counts.
pub async fn withdraw_letter(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<(), StoreError> {
    let query = sqlx::query("SELECT mail_id FROM invitations WHERE id = ?").bind(id.to_string());
    let row = query.fetch_optional(&mut *connection).await?;
    if let Some(mail) = row
        .map(|row| optional_id(&row, "mail_id"))
        .transpose()?
        .flatten()
    {
        mails::withdraw(connection, mail, "the link no longer counts").await?;
    }
    Ok(())
}

/// Notes how far an invitation is, and why it is no further.
pub async fn set_state(
    connection: &mut SqliteConnection,
    id: Uuid,
    state: InvitationState,
    failure: Option<&Failure>,
) -> Result<(), StoreError> {
    const UPDATE: &str =
        "UPDATE invitations SET state = ?, failure = ?, version = version + 1 WHERE id = ?";
    sqlx::query(UPDATE)
        .bind(state.name())
        .bind(failure.map(to_json))
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The one of this id.
pub async fn find(
    connection: &mut SqliteConnection,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<InvitationRecord>, StoreError> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE invitations.id = ?"
    )));
    let row = query
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|row| record(&row, now)).transpose()?)
}

/// The one whose link has this text.
pub async fn by_token(
    connection: &mut SqliteConnection,
    token: &str,
    now: OffsetDateTime,
) -> Result<Option<InvitationRecord>, StoreError> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE token_hash = ?"
    )));
    let row = query.bind(hash(token)).fetch_optional(connection).await?;
    Ok(row.map(|row| record(&row, now)).transpose()?)
}

/// The newest of a service.
pub async fn of_service(
    connection: &mut SqliteConnection,
    service: Uuid,
    now: OffsetDateTime,
) -> Result<Option<InvitationRecord>, StoreError> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE service_id = ? ORDER BY invitations.seq DESC LIMIT 1"
    )));
    let row = query
        .bind(service.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|row| record(&row, now)).transpose()?)
}

/// A customer's, newest first.
pub async fn list(
    connection: &mut SqliteConnection,
    customer: Uuid,
    page: Page,
    now: OffsetDateTime,
) -> Result<Listed<InvitationRecord>, StoreError> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE invitations.customer_id = ? AND invitations.seq < ? ORDER BY invitations.seq DESC LIMIT ?"
    )));
    let query = query
        .bind(customer.to_string())
        .bind(page.after.unwrap_or(i64::MAX))
        .bind(page.fetch());
    let rows = query.fetch_all(connection).await?;
    Ok(page.cut(&rows, |row| record(row, now))?)
}

/// The text of an invitation's link.
pub async fn token(
    connection: &mut SqliteConnection,
    keys: &Keys,
    id: Uuid,
) -> Result<Option<Secret>, StoreError> {
    let query = sqlx::query("SELECT token, key_id FROM invitations WHERE id = ?");
    let row = query
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (text, key_id) = (row.try_get("token")?, row.try_get("key_id")?);
    Ok(Some(keys.opened(
        INVITATIONS,
        &id.to_string(),
        text,
        key_id,
    )?))
}

/// Notes that a sign-in has begun, in place of an older one.
pub async fn begin_sign_in(change: &mut Change, device: &DeviceSignIn) -> Result<(), StoreError> {
    let id = device.invitation_id.to_string();
    let sealed = change
        .keys()
        .seal(DEVICES, &id, device.device_code.expose())?;
    sqlx::query(
        "INSERT OR REPLACE INTO invitation_devices (invitation_id, device_code, key_id, user_code, verification_uri, interval_s,
         due_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(sealed.text)
    .bind(sealed.key_id)
    .bind(&device.user_code)
    .bind(&device.verification_uri)
    .bind(device.interval_s)
    .bind(micros(device.due_at))
    .bind(micros(device.expires_at))
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Puts the next poll of a sign-in off.
pub async fn poll_later(
    connection: &mut SqliteConnection,
    device: &DeviceSignIn,
    interval_s: u32,
    due: OffsetDateTime,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "UPDATE invitation_devices SET interval_s = ?, due_at = ? WHERE invitation_id = ?",
    );
    query
        .bind(interval_s)
        .bind(micros(due))
        .bind(device.invitation_id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// A sign-in is over, well or not.
pub async fn end_sign_in(connection: &mut SqliteConnection, id: Uuid) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM invitation_devices WHERE invitation_id = ?")
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The sign-in that an invitation waits for.
pub async fn sign_in(
    connection: &mut SqliteConnection,
    keys: &Keys,
    id: Uuid,
) -> Result<Option<DeviceSignIn>, StoreError> {
    let query = sqlx::query("SELECT * FROM invitation_devices WHERE invitation_id = ?");
    let row = query
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| device(&row, keys)).transpose()
}

/// Those that are to be polled by now, the longest overdue first.
pub async fn due_sign_ins(
    connection: &mut SqliteConnection,
    keys: &Keys,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<DeviceSignIn>, StoreError> {
    const DUE: &str = "SELECT * FROM invitation_devices WHERE due_at <= ? ORDER BY due_at LIMIT ?";
    let query = sqlx::query(DUE).bind(micros(now)).bind(limit);
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| device(row, keys)).collect()
}

/// When the next one is to be polled.
pub async fn next_poll(
    connection: &mut SqliteConnection,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let row = sqlx::query("SELECT min(due_at) AS due_at FROM invitation_devices");
    Ok(optional_time(&row.fetch_one(connection).await?, "due_at")?)
}

fn device(row: &SqliteRow, keys: &Keys) -> Result<DeviceSignIn, StoreError> {
    let invitation_id = id(row, "invitation_id")?;
    let (text, key_id) = (row.try_get("device_code")?, row.try_get("key_id")?);
    Ok(DeviceSignIn {
        invitation_id,
        device_code: keys.opened(DEVICES, &invitation_id.to_string(), text, key_id)?,
        user_code: row.try_get("user_code")?,
        verification_uri: row.try_get("verification_uri")?,
        interval_s: int(row, "interval_s")?,
        due_at: time(row, "due_at")?,
        expires_at: time(row, "expires_at")?,
    })
}

/// Notes the question that somebody takes to Microsoft's page of consent, in place of an older one.
pub async fn ask(
    connection: &mut SqliteConnection,
    invitation: Uuid,
    state_hash: &[u8; 32],
    expires_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO invitation_questions (invitation_id, state_hash, expires_at) VALUES (?, ?, ?)",
    )
    .bind(invitation.to_string())
    .bind(&state_hash[..])
    .bind(micros(expires_at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether such a question is open: who guesses must not make others wait.
pub async fn is_asked(
    connection: &mut SqliteConnection,
    state_hash: &[u8; 32],
) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM invitation_questions WHERE state_hash = ?");
    let row = query
        .bind(&state_hash[..])
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Takes the question that somebody brought back: there is none the second time, nor when its time is over.
pub async fn answer(
    connection: &mut SqliteConnection,
    state_hash: &[u8; 32],
    at: OffsetDateTime,
) -> Result<Option<Uuid>, StoreError> {
    const TAKE: &str =
        "DELETE FROM invitation_questions WHERE state_hash = ? RETURNING invitation_id, expires_at";
    let row = sqlx::query(TAKE)
        .bind(&state_hash[..])
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let in_time = time(&row, "expires_at")? > at;
    let id = id(&row, "invitation_id")?;
    Ok(in_time.then_some(id))
}

async fn written(
    connection: &mut SqliteConnection,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<InvitationRecord, StoreError> {
    let found = find(connection, id, now).await?;
    Ok(found.ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
mod tests {
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::super::{Store, services};
    use super::*;

    async fn invited(store: &Store, at: OffsetDateTime) -> (Change, InvitationRecord) {
        let mut change = store.rows().await.unwrap();
        let customer = customers::insert(&mut change, &acme()).await.unwrap().id;
        let service =
            serde_json::json!({ "full_name": "A", "short_name": "abc", "licensed_users": 1 });
        let service = serde_json::from_value(service).unwrap();
        let service = services::insert(&mut change, customer, &service)
            .await
            .unwrap();
        let invitee = Invitee {
            email: Some("it@acme.example".into()),
            admin_email: None,
        };
        let new = insert(&mut change, customer, Some(service.id), &invitee, at).await;
        (change, new.unwrap())
    }

    /// A link finds its invitation until it is renewed, and the invitation expires without anybody's doing.
    #[tokio::test]
    async fn a_link_counts_until_it_is_renewed_or_expires() {
        let (_folder, store) = fresh().await;
        let at = super::super::rows::now();
        let (mut change, new) = invited(&store, at).await;
        let keys = change.keys();
        let first = token(&mut change, &keys, new.id).await.unwrap().unwrap();
        assert_eq!(first.expose().len(), 43, "256 bits in base 64");
        let found = by_token(&mut change, first.expose(), at).await.unwrap();
        assert_eq!(found, Some(new.clone()));
        let late = at + INVITATION_LASTS;
        let found = by_token(&mut change, first.expose(), late)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.state, InvitationState::Expired);

        let renewed = renew(&mut change, &new, InvitationState::Created, late)
            .await
            .unwrap();
        assert_eq!(
            (renewed.state, renewed.version),
            (InvitationState::Created, 2)
        );
        assert_eq!(
            by_token(&mut change, first.expose(), late).await.unwrap(),
            None
        );
        let replaced = codes::is_replaced(&mut change, first.expose()).await;
        assert!(replaced.unwrap(), "who comes with it is told so");
        let second = token(&mut change, &keys, new.id).await.unwrap().unwrap();
        assert!(
            by_token(&mut change, second.expose(), late)
                .await
                .unwrap()
                .is_some()
        );
    }

    /// A new letter takes the place of one that waits, and each is counted.
    #[tokio::test]
    async fn a_second_letter_replaces_the_first() {
        let (_folder, store) = fresh().await;
        let at = super::super::rows::now();
        let (mut change, new) = invited(&store, at).await;
        assert_eq!(new.email_sent, EmailSent::NotRequested);
        let letter = Letter::token_invitation("Acme", "abc", "https://x.example/invite/1", at);
        for count in 1..=2 {
            let sent = send(&mut change, &new, "it@acme.example", &letter, at)
                .await
                .unwrap();
            assert_eq!(
                (sent.email_sent, sent.email_sent_count),
                (EmailSent::Queued, count)
            );
        }
        assert_eq!(mails::waiting(&mut change).await.unwrap(), 1);
    }

    /// A question is answered once, and not when its time is over; its code is polled when it is due.
    #[tokio::test]
    async fn questions_and_codes_have_their_time() {
        let (_folder, store) = fresh().await;
        let at = super::super::rows::now();
        let (mut change, new) = invited(&store, at).await;
        let minute = at + time::Duration::MINUTE;
        ask(&mut change, new.id, &[1; 32], minute).await.unwrap();
        assert_eq!(answer(&mut change, &[2; 32], at).await.unwrap(), None);
        assert_eq!(
            answer(&mut change, &[1; 32], at).await.unwrap(),
            Some(new.id)
        );
        assert_eq!(answer(&mut change, &[1; 32], at).await.unwrap(), None);
        ask(&mut change, new.id, &[1; 32], minute).await.unwrap();
        assert_eq!(answer(&mut change, &[1; 32], minute).await.unwrap(), None);

        let device = DeviceSignIn {
            invitation_id: new.id,
            device_code: Secret::new("the device's code"),
            user_code: "ABCD".into(),
            verification_uri: "https://login.example/device".into(),
            interval_s: 5,
            due_at: minute,
            expires_at: minute,
        };
        begin_sign_in(&mut change, &device).await.unwrap();
        let keys = change.keys();
        assert!(
            due_sign_ins(&mut change, &keys, at, 9)
                .await
                .unwrap()
                .is_empty()
        );
        let due = due_sign_ins(&mut change, &keys, minute, 9).await.unwrap();
        assert_eq!(due[0].device_code.expose(), "the device's code");
        assert_eq!(next_poll(&mut change).await.unwrap(), Some(minute));
        end_sign_in(&mut change, new.id).await.unwrap();
        assert_eq!(next_poll(&mut change).await.unwrap(), None);
    }
}
