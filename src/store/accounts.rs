//! Accounts of people: those who sign in with a password, for the hour in which nothing else works, and those who do so
//! [at an OpenID provider](super::people).
//!
//! A password is kept as Argon2id (RFC 9106) with a salt of its own. Whoever signs in gets a token that is like the others of
//! the API, but ends by itself; of one account at most [`MOST_SESSIONS`] count at once.

use super::error::Faults;
use super::rows::{id, micros, named, new_id, now, optional_id, time};
use super::tokens::new_token;
use super::{AccessRole, Change, NewToken, Store, StoreError};
use crate::directory::Secret;
use argon2::Argon2;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};
use tokio::task::spawn_blocking;
use uuid::Uuid;

/// How long a sign-in counts.
pub const SESSION_LASTS: Duration = Duration::hours(12);
/// Sign-ins of one account that count at once; the oldest ends when there is one more.
pub const MOST_SESSIONS: i64 = 10;
/// The shortest password, in characters.
const SHORTEST: usize = 12;
/// The longest one, in bytes: computing must have an end.
pub const LONGEST_PASSWORD: usize = 256;

/// A stored account, without what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Never used again.
    pub id: Uuid,
    /// The name to sign in, in whatever case.
    pub name: String,
    /// What its owner may do.
    pub role: AccessRole,
    /// The partner, customer or user that a scoped role is confined to.
    pub scope: Option<Uuid>,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

/// What is kept of a password.
struct Proof {
    salt: [u8; 16],
    hash: [u8; 32],
}

impl Proof {
    fn of(password: &Secret, salt: [u8; 16]) -> Self {
        let mut hash = [0; 32];
        // Too long a password is the only thing that can be wrong, and was refused before.
        if Argon2::default()
            .hash_password_into(password.expose().as_bytes(), &salt, &mut hash)
            .is_err()
        {
            hash = rand::random();
        }
        Self { salt, hash }
    }
}

pub(super) fn account(row: &SqliteRow) -> Result<Account, sqlx::Error> {
    Ok(Account {
        id: id(row, "id")?,
        name: row.try_get("name")?,
        role: named(row, "role")?,
        scope: optional_id(row, "scope")?,
        created_at: time(row, "created_at")?,
    })
}

fn proof(row: &SqliteRow) -> Result<Proof, sqlx::Error> {
    let bytes = |column: &str| row.try_get::<Vec<u8>, _>(column);
    Ok(Proof {
        salt: bytes("salt")?.try_into().unwrap_or_default(),
        hash: bytes("hash")?.try_into().unwrap_or_default(),
    })
}

async fn hashed(password: Secret, salt: [u8; 16]) -> Proof {
    spawn_blocking(move || Proof::of(&password, salt))
        .await
        .expect("hashing does not panic")
}

impl Store {
    /// Makes an account, or gives the one of this name another password, role and scope; its sign-ins end.
    pub async fn set_account(
        &self,
        name: &str,
        password: &Secret,
        role: AccessRole,
        scope: Option<Uuid>,
    ) -> Result<Account, StoreError> {
        let mut faults = Faults::default();
        faults.length("name", name, 1, 128);
        let length = password.expose().chars().count();
        faults.demand(
            length >= SHORTEST && password.expose().len() <= LONGEST_PASSWORD,
            "password",
            "length",
            format!("must have {SHORTEST} characters to {LONGEST_PASSWORD} bytes"),
        );
        faults.demand(
            scope.is_some() == role.is_scoped(),
            "scope",
            "scope",
            "goes with the roles of one partner, customer or user, and with no other",
        );
        faults.or(())?;
        let proof = hashed(password.clone(), rand::random()).await;
        let mut change = self.rows().await?;
        sqlx::query(
            "INSERT INTO accounts (id, name, folded_name, role, scope, salt, hash, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (folded_name) DO UPDATE SET role = excluded.role, scope = excluded.scope, salt = excluded.salt,
             hash = excluded.hash, tenant = NULL, subject = NULL",
        )
        .bind(new_id().to_string())
        .bind(name)
        .bind(name.to_lowercase())
        .bind(role.name())
        .bind(scope.map(|id| id.to_string()))
        .bind(&proof.salt[..])
        .bind(&proof.hash[..])
        .bind(micros(now()))
        .execute(&mut *change)
        .await?;
        let row = sqlx::query("SELECT * FROM accounts WHERE folded_name = ?")
            .bind(name.to_lowercase())
            .fetch_one(&mut *change)
            .await?;
        let account = account(&row)?;
        end_sessions(&mut change, account.id).await?;
        change.keep().await?;
        Ok(account)
    }

    /// Removes an account with its sign-ins. False if there is none of this name.
    pub async fn remove_account(&self, name: &str) -> Result<bool, StoreError> {
        let mut change = self.rows().await?;
        let gone = sqlx::query("DELETE FROM accounts WHERE folded_name = ?")
            .bind(name.to_lowercase())
            .execute(&mut *change)
            .await?;
        change.keep().await?;
        Ok(gone.rows_affected() == 1)
    }

    /// A token for whoever knows the password of this account; none for anybody else. It takes the same time whether there
    /// is such an account or not.
    pub async fn sign_in(
        &self,
        name: &str,
        password: &Secret,
    ) -> Result<Option<NewToken>, StoreError> {
        let query = sqlx::query("SELECT * FROM accounts WHERE folded_name = ?");
        let row = query
            .bind(name.to_lowercase())
            .fetch_optional(&self.pool)
            .await?;
        let kept = row.as_ref().map(proof).transpose()?;
        let salt = kept.as_ref().map_or([0; 16], |kept| kept.salt);
        let given = hashed(password.clone(), salt).await;
        let expected = kept.as_ref().map_or([0; 32], |kept| kept.hash);
        let fits: bool = given.hash.ct_eq(&expected).into();
        let Some(row) = row.filter(|_| fits) else {
            return Ok(None);
        };
        self.keep_session(&account(&row)?, &expected).await
    }

    /// None if the account has gone or has another password since this one was looked at.
    async fn keep_session(
        &self,
        account: &Account,
        hash: &[u8; 32],
    ) -> Result<Option<NewToken>, StoreError> {
        let mut change = self.rows().await?;
        let still = sqlx::query("SELECT 1 FROM accounts WHERE id = ? AND hash = ?")
            .bind(account.id.to_string())
            .bind(&hash[..])
            .fetch_optional(&mut *change)
            .await?;
        if still.is_none() {
            return Ok(None);
        }
        let new = add_session(&mut change, account).await?;
        change.keep().await?;
        Ok(Some(new))
    }
}

/// What is kept of a password that nobody knows: its salt, and a hash that none has.
pub(super) fn unknown_password() -> ([u8; 16], [u8; 32]) {
    (rand::random(), rand::random())
}

/// Ends all sign-ins of an account.
pub(super) async fn end_sessions(
    connection: &mut SqliteConnection,
    account: Uuid,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE tokens SET revoked_at = ? WHERE account_id = ? AND revoked_at IS NULL")
        .bind(micros(now()))
        .bind(account.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Signs an account in.
pub(super) async fn add_session(
    change: &mut Change,
    account: &Account,
) -> Result<NewToken, StoreError> {
    const END: &str = "UPDATE tokens SET revoked_at = ?1 WHERE account_id = ?2 AND revoked_at IS NULL AND seq <= (
        SELECT seq FROM tokens WHERE account_id = ?2 AND revoked_at IS NULL ORDER BY seq DESC LIMIT 1 OFFSET ?3)";
    const FORGET: &str = "DELETE FROM tokens WHERE account_id = ? AND expires_at < ?";
    let ends = Some(now() + SESSION_LASTS);
    let new = new_token(&account.name, account.role, account.scope, ends);
    super::tokens::insert(change, &new, Some(account.id)).await?;
    sqlx::query(END)
        .bind(micros(now()))
        .bind(account.id.to_string())
        .bind(MOST_SESSIONS)
        .execute(&mut **change)
        .await?;
    // The audit names sign-ins by their account's name, too; those of long ago need no row of their own.
    sqlx::query(FORGET)
        .bind(account.id.to_string())
        .bind(micros(now() - Duration::days(30)))
        .execute(&mut **change)
        .await?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::super::open::tests::fresh;
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    /// The right password opens, in whatever case the name is; another one, another name and an account with a new password
    /// do not; and neither the password nor the token is in the file.
    #[tokio::test]
    async fn the_password_opens_and_nothing_else() {
        let (folder, store) = fresh().await;
        let password = secret("correct horse battery");
        let role = AccessRole::CarrierAdmin;
        store
            .set_account("Root", &password, role, None)
            .await
            .unwrap();
        let session = store.sign_in("rOOT", &password).await.unwrap().unwrap();
        let text = session.text.expose().to_owned();
        let token = store.tokens().authenticate(&text).await.unwrap().unwrap();
        assert_eq!((token.role, token.name.as_str()), (role, "Root"));
        assert!(token.expires_at.unwrap() <= now() + SESSION_LASTS);
        for (name, password) in [
            ("root", "correct horse batterz"),
            ("boot", "correct horse battery"),
            ("", ""),
        ] {
            assert!(
                store
                    .sign_in(name, &secret(password))
                    .await
                    .unwrap()
                    .is_none()
            );
        }
        store
            .set_account("root", &secret("another password"), role, None)
            .await
            .unwrap();
        assert!(store.sign_in("root", &password).await.unwrap().is_none());
        assert_eq!(
            store.tokens().authenticate(&text).await.unwrap(),
            None,
            "old sign-ins end"
        );
        for (name, password, scope) in [
            ("x", "short", None),
            ("", "long enough for it", None),
            ("x", "long enough for it", Some(Uuid::nil())),
        ] {
            let made = store
                .set_account(name, &secret(password), role, scope)
                .await;
            assert!(matches!(made, Err(StoreError::Faults(_))));
        }
        let second = secret("another password");
        let session = store.sign_in("root", &second).await.unwrap().unwrap();
        assert!(store.remove_account("ROOT").await.unwrap());
        assert!(!store.remove_account("ROOT").await.unwrap());
        let left = store.tokens().authenticate(session.text.expose()).await;
        assert_eq!(left.unwrap(), None);
        store.close().await;
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            for secret in ["correct horse", "another password", text.as_str()] {
                assert!(
                    !bytes
                        .windows(secret.len())
                        .any(|window| window == secret.as_bytes())
                );
            }
        }
    }

    /// A password that is changed while somebody signs in with the old one opens nothing.
    #[tokio::test]
    async fn a_password_that_changes_meanwhile_opens_nothing() {
        let (_folder, store) = fresh().await;
        let role = AccessRole::Noc;
        let account = store
            .set_account("root", &secret("correct horse battery"), role, None)
            .await
            .unwrap();
        let kept = store.keep_session(&account, &[7; 32]).await.unwrap();
        assert!(kept.is_none());
        assert!(store.tokens().list().await.unwrap().is_empty());
    }

    /// One more sign-in than may be ends the oldest.
    #[tokio::test]
    async fn sign_ins_are_bounded() {
        let (_folder, store) = fresh().await;
        let password = secret("correct horse battery");
        store
            .set_account("root", &password, AccessRole::Noc, None)
            .await
            .unwrap();
        let mut texts = Vec::new();
        for _ in 0..=MOST_SESSIONS {
            let session = store.sign_in("root", &password).await.unwrap().unwrap();
            texts.push(session.text.expose().to_owned());
        }
        let mut count = Vec::new();
        for text in &texts {
            count.push(store.tokens().authenticate(text).await.unwrap().is_some());
        }
        assert_eq!(
            count.iter().filter(|counts| **counts).count(),
            MOST_SESSIONS as usize
        );
        assert!(!count[0] && count[1]);
    }
}
