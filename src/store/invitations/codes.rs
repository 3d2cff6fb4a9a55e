//! What stands in an administrator's letter besides a link: the code that the link's page demands. And what stood in letters
//! before, so that whoever comes with an old one is told so.

use super::super::rows::{id, int, new_id};
use super::super::{Change, Keys, StoreError};
use super::hash;
use crate::directory::Secret;
use crate::provisioning::{InvitationCode, MOST_WRONG_CODES, invitation_code, typed_code};
use sqlx::{Row, SqliteConnection};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Where codes are.
const CODES: &str = "invitation_codes";
/// Codes and links of one invitation that are known; the oldest go first.
const KEPT: i64 = 20;

/// What a typed code is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// It was the right one, and is used up now.
    Right,
    /// It is none; the try was counted.
    Wrong,
    /// It was used before, or another letter has replaced it.
    Over,
    /// Too many were wrong; this one was not even looked at.
    TooMany,
}

/// Gives an invitation a code, in place of the one before; wrong ones are counted anew.
pub async fn issue(change: &mut Change, invitation: Uuid) -> Result<(), StoreError> {
    const VOID: &str =
        "UPDATE invitation_codes SET state = 'void' WHERE invitation_id = ? AND state = 'live'";
    const FORGET: &str = "DELETE FROM invitation_codes WHERE invitation_id = ?1 AND seq <= (
        SELECT seq FROM invitation_codes WHERE invitation_id = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
    const WANTED: &str = "UPDATE invitations SET code = ?, wrong_codes = 0 WHERE id = ?";
    let (new, invitation) = (new_id().to_string(), invitation.to_string());
    let code = Secret::new(invitation_code(rand::random()));
    let sealed = change.keys().seal(CODES, &new, code.expose())?;
    sqlx::query(VOID)
        .bind(&invitation)
        .execute(&mut **change)
        .await?;
    sqlx::query(
        "INSERT INTO invitation_codes (id, invitation_id, code, key_id, state) VALUES (?, ?, ?, ?, 'live')",
    )
    .bind(new)
    .bind(&invitation)
    .bind(sealed.text)
    .bind(sealed.key_id)
    .execute(&mut **change)
    .await?;
    sqlx::query(FORGET)
        .bind(&invitation)
        .bind(KEPT)
        .execute(&mut **change)
        .await?;
    sqlx::query(WANTED)
        .bind(InvitationCode::Wanted.name())
        .bind(&invitation)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// The code that counts, for the letter.
pub async fn live(
    connection: &mut SqliteConnection,
    keys: &Keys,
    invitation: Uuid,
) -> Result<Option<Secret>, StoreError> {
    let codes = known(connection, keys, invitation).await?;
    let live = codes.into_iter().find(|code| code.state == "live");
    Ok(live.map(|live| live.code))
}

struct Known {
    id: Uuid,
    code: Secret,
    state: String,
}

async fn known(
    connection: &mut SqliteConnection,
    keys: &Keys,
    invitation: Uuid,
) -> Result<Vec<Known>, StoreError> {
    let query = sqlx::query("SELECT * FROM invitation_codes WHERE invitation_id = ? ORDER BY seq");
    let rows = query
        .bind(invitation.to_string())
        .fetch_all(connection)
        .await?;
    let read = |row| {
        let id = id(row, "id")?;
        let (text, key_id) = (row.try_get("code")?, row.try_get("key_id")?);
        Ok(Known {
            id,
            code: keys.opened(CODES, &id.to_string(), text, key_id)?,
            state: row.try_get("state")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Looks at what somebody typed. All that comes of it is in the change, so that of many tries at once each counts.
pub async fn typed(change: &mut Change, invitation: Uuid, text: &str) -> Result<Typed, StoreError> {
    const USED: &str = "UPDATE invitation_codes SET state = 'used' WHERE id = ?";
    const GIVEN: &str = "UPDATE invitations SET code = ?, version = version + 1 WHERE id = ?";
    const WRONG: &str =
        "UPDATE invitations SET wrong_codes = wrong_codes + 1, version = version + 1 WHERE id = ?";
    let query = sqlx::query("SELECT wrong_codes FROM invitations WHERE id = ?");
    let row = query
        .bind(invitation.to_string())
        .fetch_one(&mut **change)
        .await?;
    if int::<u32>(&row, "wrong_codes")? >= MOST_WRONG_CODES {
        return Ok(Typed::TooMany);
    }
    let (keys, given) = (change.keys(), typed_code(text));
    let mut found = None;
    for known in known(change, &keys, invitation).await? {
        let fits = known.code.expose().as_bytes().ct_eq(given.as_bytes());
        if fits.into() {
            found = Some(known);
        }
    }
    match found {
        None => {
            sqlx::query(WRONG)
                .bind(invitation.to_string())
                .execute(&mut **change)
                .await?;
            Ok(Typed::Wrong)
        }
        Some(found) if found.state == "live" => {
            sqlx::query(USED)
                .bind(found.id.to_string())
                .execute(&mut **change)
                .await?;
            sqlx::query(GIVEN)
                .bind(InvitationCode::Given.name())
                .bind(invitation.to_string())
                .execute(&mut **change)
                .await?;
            Ok(Typed::Right)
        }
        Some(_) => Ok(Typed::Over),
    }
}

/// Remembers an invitation's link, which another one replaces.
pub(super) async fn replace_link(
    connection: &mut SqliteConnection,
    invitation: Uuid,
) -> Result<(), StoreError> {
    const KEEP: &str = "INSERT INTO invitation_links (token_hash, invitation_id)
        SELECT token_hash, id FROM invitations WHERE id = ?";
    const FORGET: &str = "DELETE FROM invitation_links WHERE invitation_id = ?1 AND seq <= (
        SELECT seq FROM invitation_links WHERE invitation_id = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
    let invitation = invitation.to_string();
    sqlx::query(KEEP)
        .bind(&invitation)
        .execute(&mut *connection)
        .await?;
    sqlx::query(FORGET)
        .bind(&invitation)
        .bind(KEPT)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether a link with this text was one, until another replaced it.
pub async fn is_replaced(
    connection: &mut SqliteConnection,
    token: &str,
) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM invitation_links WHERE token_hash = ?");
    let row = query.bind(hash(token)).fetch_optional(connection).await?;
    Ok(row.is_some())
}

#[cfg(test)]
mod tests {
    use super::super::super::customers::{self, tests::acme};
    use super::super::super::open::tests::fresh;
    use super::super::{Invitee, insert};
    use super::*;

    /// The right code counts once, one that was replaced never again, and after ten wrong ones nothing is looked at; codes
    /// are not in the database as they are typed.
    #[tokio::test]
    async fn a_code_counts_once_and_is_not_guessed() {
        let (folder, store) = fresh().await;
        let mut change = store.rows().await.unwrap();
        let customer = customers::insert(&mut change, &acme()).await.unwrap().id;
        let at = super::super::super::rows::now();
        let new = insert(&mut change, customer, None, &Invitee::default(), at).await;
        let (id, keys) = (new.unwrap().id, change.keys());
        let first = live(&mut change, &keys, id).await.unwrap().unwrap();
        issue(&mut change, id).await.unwrap();
        let second = live(&mut change, &keys, id).await.unwrap().unwrap();
        for (text, worth) in [
            (first.expose(), Typed::Over),
            ("", Typed::Wrong),
            (second.expose(), Typed::Right),
            (second.expose(), Typed::Over),
        ] {
            assert_eq!(typed(&mut change, id, text).await.unwrap(), worth);
        }
        for _ in 1..MOST_WRONG_CODES {
            let worth = typed(&mut change, id, "2345-6789-ABCD").await.unwrap();
            assert_eq!(worth, Typed::Wrong);
        }
        let worth = typed(&mut change, id, second.expose()).await.unwrap();
        assert_eq!(worth, Typed::TooMany);
        for _ in 0..2 * KEPT {
            issue(&mut change, id).await.unwrap();
        }
        let kept = known(&mut change, &keys, id).await.unwrap();
        assert_eq!(kept.len(), KEPT as usize);
        change.keep().await.unwrap();
        store.close().await;
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let code = second.expose().as_bytes();
            assert!(!bytes.windows(code.len()).any(|window| window == code));
        }
    }
}
