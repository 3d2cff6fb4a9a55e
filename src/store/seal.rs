//! Secrets at rest. What the database holds of them is sealed with AES-256-GCM, and the key lies in a file of its own: who
//! gets hold of the database alone, or of a copy of it, learns no password.
//!
//! The file has a line for each key: its id, a blank, 32 bytes in base 64. What is written is sealed with the first one.
//! Another one only opens what it sealed before, until the next start seals that anew; so keys are changed by putting a line
//! in front. A sealed text is bound to the table and the row that it is for, and opens nowhere else.

use super::{Store, StoreError};
use crate::directory::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sqlx::{Row, SqliteConnection};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Keys that one file may have.
const MOST_KEYS: usize = 16;
/// Bytes before what is encrypted.
const NONCE: usize = 12;

/// Why a secret cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the key file {} cannot be used: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// Everybody on the machine could read it.
    #[error("the key file {} is open to others: chmod 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It is no such file.
    #[error("line {line} of the key file {} is no id and key of 32 bytes in base 64", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The database has secrets that the lost file was for; a new key would not open them.
    #[error("the key file {} is missing, and the database has secrets that were sealed with it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// No key of this id is in the file.
    #[error("the key {0} is not in the key file")]
    Unknown(String),
    /// What is stored is not what was sealed with this key for this place.
    #[error("a sealed secret does not open: {0}")]
    Broken(String),
}

/// The keys. Clones share them; by default there are none, and nothing can be sealed.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<Vec<Key>>);

#[derive(Debug)]
struct Key {
    id: String,
    key: RandomizedNonceKey,
}

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key that opens it.
    pub key_id: String,
    /// Nonce, ciphertext and tag, in base 64.
    pub text: String,
}

impl Keys {
    /// Those of this file; none if there is no such file.
    ///
    /// # Errors
    /// The file cannot be read, or is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let failed = |error: std::io::Error| file_error(path, &error);
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
            });
        }
        let lines = (1..).zip(text.lines());
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let keys = lines.map(|(number, line)| {
            Key::read(line).ok_or_else(|| KeyError::Malformed {
                path: path.to_owned(),
                line: number,
            })
        });
        let keys = keys.take(MOST_KEYS).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(KeyError::Malformed {
                path: path.to_owned(),
                line: 1,
            });
        }
        Ok(Some(Self(Arc::new(keys))))
    }

    /// Those of this file, which is made with one new key if it is not there.
    ///
    /// # Errors
    /// The file cannot be made or read, or is no such file.
    pub fn read_or_make(path: &Path) -> Result<Self, KeyError> {
        if let Some(keys) = Self::read(path)? {
            return Ok(keys);
        }
        // Another process may do the same at this moment: the first one's file stays, and nobody sees half of one.
        let new = write_beside(path, &new_line())?;
        let placed = fs::hard_link(&new, path);
        let _ = fs::remove_file(&new);
        match placed {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(file_error(path, &error));
            }
            _ => {}
        }
        Self::read(path)?.ok_or_else(|| file_error(path, &ErrorKind::NotFound.into()))
    }

    /// Puts a new key in front of those in the file: from the next start on, everything is sealed with it.
    ///
    /// # Errors
    /// There is no such file, it cannot be written, or has too many keys.
    pub fn rotate(path: &Path) -> Result<(), KeyError> {
        let keys = Self::read(path)?.ok_or_else(|| KeyError::Missing {
            path: path.to_owned(),
        })?;
        if keys.0.len() >= MOST_KEYS {
            let reason = format!("it has {MOST_KEYS} keys; remove the last ones");
            return Err(KeyError::File {
                path: path.to_owned(),
                reason,
            });
        }
        let old = fs::read_to_string(path).map_err(|error| file_error(path, &error))?;
        let new = write_beside(path, &Zeroizing::new(new_line().to_string() + &old))?;
        fs::rename(&new, path).map_err(|error| file_error(path, &error))
    }

    /// The id of the key that seals.
    fn current(&self) -> Option<&Key> {
        self.0.first()
    }

    /// Seals a secret for a row of a table.
    ///
    /// # Errors
    /// There are no keys.
    pub fn seal(&self, table: &str, row: &str, secret: &str) -> Result<Sealed, KeyError> {
        let none = || KeyError::Unknown("to seal with".to_owned());
        let key = self.current().ok_or_else(none)?;
        let mut text = secret.as_bytes().to_vec();
        let nonce = key
            .key
            .seal_in_place_append_tag(place(table, row), &mut text)
            .map_err(|_| KeyError::Broken(format!("{table} cannot be sealed")))?;
        let mut whole = nonce.as_ref().to_vec();
        whole.extend(text);
        Ok(Sealed {
            key_id: key.id.clone(),
            text: BASE64_STANDARD.encode(whole),
        })
    }

    /// Opens what was sealed for this row of this table.
    ///
    /// # Errors
    /// The key is not there, or it was sealed for another place or changed since.
    pub fn open(&self, table: &str, row: &str, sealed: &Sealed) -> Result<Secret, KeyError> {
        let broken = || KeyError::Broken(format!("{table} {row}"));
        let key = self.0.iter().find(|key| key.id == sealed.key_id);
        let key = key.ok_or_else(|| KeyError::Unknown(sealed.key_id.clone()))?;
        let whole = BASE64_STANDARD.decode(&sealed.text).map_err(|_| broken())?;
        let (nonce, text) = whole.split_at_checked(NONCE).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = key
            .key
            .open_in_place(nonce, place(table, row), &mut text)
            .map_err(|_| broken())?;
        let opened = std::str::from_utf8(opened).map_err(|_| broken())?;
        Ok(Secret::new(opened))
    }

    /// The same for columns as they are read; a text without a key is from before there were any.
    pub(super) fn opened(
        &self,
        table: &str,
        row: &str,
        text: String,
        key_id: Option<String>,
    ) -> Result<Secret, StoreError> {
        Ok(match key_id {
            Some(key_id) => self.open(table, row, &Sealed { key_id, text })?,
            None => Secret::new(text),
        })
    }
}

fn place(table: &str, row: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("{table}/{row}").into_bytes())
}

impl Key {
    fn read(line: &str) -> Option<Self> {
        let (id, key) = line.trim().split_once(' ')?;
        let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric());
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(key.trim()).ok()?);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?;
        is_id.then(|| Self {
            id: id.to_owned(),
            key,
        })
    }
}

/// A new key, as a line of the file.
fn new_line() -> Zeroizing<String> {
    let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
    let mut line = String::new();
    for byte in rand::random::<[u8; 8]>() {
        let _ = write!(line, "{byte:02x}");
    }
    let _ = writeln!(line, " {}", BASE64_STANDARD.encode(*bytes));
    Zeroizing::new(line)
}

/// Writes a file beside this one, for its owner's eyes only.
fn write_beside(path: &Path, text: &str) -> Result<PathBuf, KeyError> {
    let failed = |error: std::io::Error| file_error(path, &error);
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let new = path.with_extension(format!("{:016x}", rand::random::<u64>()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(new)
}

fn file_error(path: &Path, error: &std::io::Error) -> KeyError {
    KeyError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// A column of secrets, beside a column `key_id`.
struct Column {
    table: &'static str,
    /// `id`, `secret` and `key_id` of those that another key sealed, or none.
    stale: &'static str,
    /// Writes both.
    write: &'static str,
}

const COLUMNS: [Column; 11] = [
    Column {
        table: "trunk_passwords",
        stale: "SELECT trunk_id AS id, password AS secret, key_id FROM trunk_passwords WHERE key_id IS NOT ?",
        write: "UPDATE trunk_passwords SET password = ?, key_id = ? WHERE trunk_id = ?",
    },
    Column {
        table: "pbx_registrations",
        stale: "SELECT id, password AS secret, key_id FROM pbx_registrations WHERE key_id IS NOT ?",
        write: "UPDATE pbx_registrations SET password = ?, key_id = ? WHERE id = ?",
    },
    Column {
        table: "devices",
        stale: "SELECT id, secrets AS secret, key_id FROM devices WHERE key_id IS NOT ?",
        write: "UPDATE devices SET secrets = ?, key_id = ? WHERE id = ?",
    },
    Column {
        table: "activation_codes",
        stale: "SELECT device_id AS id, code AS secret, key_id FROM activation_codes WHERE code IS NOT NULL AND key_id IS NOT ?",
        write: "UPDATE activation_codes SET code = ?, key_id = ? WHERE device_id = ? AND code IS NOT NULL",
    },
    Column {
        table: "tenant_tokens",
        stale: "SELECT customer_id AS id, refresh_token AS secret, key_id FROM tenant_tokens WHERE key_id IS NOT ?",
        write: "UPDATE tenant_tokens SET refresh_token = ?, key_id = ? WHERE customer_id = ?",
    },
    Column {
        table: "consent_questions",
        stale: "SELECT activation_id AS id, verifier AS secret, key_id FROM consent_questions WHERE key_id IS NOT ?",
        write: "UPDATE consent_questions SET verifier = ?, key_id = ? WHERE activation_id = ?",
    },
    Column {
        table: "mails",
        stale: "SELECT id, body AS secret, key_id FROM mails WHERE body IS NOT NULL AND key_id IS NOT ?",
        write: "UPDATE mails SET body = ?, key_id = ? WHERE id = ?",
    },
    Column {
        table: "invitations",
        stale: "SELECT id, token AS secret, key_id FROM invitations WHERE key_id IS NOT ?",
        write: "UPDATE invitations SET token = ?, key_id = ? WHERE id = ?",
    },
    Column {
        table: "invitation_devices",
        stale: "SELECT invitation_id AS id, device_code AS secret, key_id FROM invitation_devices WHERE key_id IS NOT ?",
        write: "UPDATE invitation_devices SET device_code = ?, key_id = ? WHERE invitation_id = ?",
    },
    Column {
        table: "invitation_codes",
        stale: "SELECT id, code AS secret, key_id FROM invitation_codes WHERE key_id IS NOT ?",
        write: "UPDATE invitation_codes SET code = ?, key_id = ? WHERE id = ?",
    },
    Column {
        table: "upgrades",
        stale: "SELECT service_id AS id, password AS secret, key_id FROM upgrades WHERE password IS NOT NULL AND key_id IS NOT ?",
        write: "UPDATE upgrades SET password = ?, key_id = ? WHERE service_id = ?",
    },
];

/// Whether something in the database was sealed.
pub(super) async fn has_sealed(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    for column in &COLUMNS {
        // Nothing equals the empty text, so these are all of them.
        let rows = sqlx::query(column.stale)
            .bind("")
            .fetch_all(&mut *connection)
            .await?;
        for row in rows {
            if row.try_get::<Option<String>, _>("key_id")?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

impl Store {
    /// Seals with the current key what another one sealed, or none. Then nothing of it is left in the file, either.
    pub(super) async fn seal_anew(&self) -> Result<(), StoreError> {
        let Some(current) = self.keys.current() else {
            return Ok(());
        };
        let mut change = self.rows().await?;
        let mut bare = false;
        for column in &COLUMNS {
            let stale = sqlx::query(column.stale).bind(&current.id);
            for row in stale.fetch_all(&mut *change).await? {
                let id: String = row.try_get("id")?;
                let key_id: Option<String> = row.try_get("key_id")?;
                bare |= key_id.is_none();
                let secret = self
                    .keys
                    .opened(column.table, &id, row.try_get("secret")?, key_id)?;
                let sealed = self.keys.seal(column.table, &id, secret.expose())?;
                sqlx::query(column.write)
                    .bind(sealed.text)
                    .bind(sealed.key_id)
                    .bind(id)
                    .execute(&mut *change)
                    .await?;
            }
        }
        change.keep().await?;
        if bare {
            sqlx::query("VACUUM").execute(&self.pool).await?;
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::customers::{self, tests::acme};
    use super::super::{activations, pbxs, registrations, trunks, users};
    use super::*;
    use crate::directory;
    use serde_json::json;

    fn keys() -> (tempfile::TempDir, PathBuf, Keys) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        let keys = Keys::read_or_make(&path).unwrap();
        (folder, path, keys)
    }

    /// A secret opens where it was sealed for, with the key that sealed it, and as it was; nowhere and nothing else.
    #[test]
    fn a_secret_opens_in_its_place_only() {
        let (_folder, path, keys) = keys();
        let sealed = keys.seal("trunk_passwords", "1", "s3same").unwrap();
        let other = keys.seal("trunk_passwords", "1", "s3same").unwrap();
        assert_ne!(sealed.text, other.text, "each has a nonce of its own");
        let open = |keys: &Keys, table, row, sealed: &Sealed| {
            keys.open(table, row, sealed)
                .map(|secret| secret.expose().to_owned())
        };
        let opened = open(&keys, "trunk_passwords", "1", &sealed);
        assert_eq!(opened.as_deref(), Ok("s3same"));
        for (table, row) in [("trunk_passwords", "2"), ("tenant_tokens", "1")] {
            let moved = open(&keys, table, row, &sealed);
            assert!(matches!(moved, Err(KeyError::Broken(_))), "{table} {row}");
        }
        let mut changed = BASE64_STANDARD.decode(&sealed.text).unwrap();
        changed[NONCE] ^= 1;
        for bytes in [changed.as_slice(), &changed[..NONCE], &[]] {
            let text = BASE64_STANDARD.encode(bytes);
            let changed = Sealed {
                text,
                ..sealed.clone()
            };
            let opened = open(&keys, "trunk_passwords", "1", &changed);
            assert!(matches!(opened, Err(KeyError::Broken(_))));
        }
        fs::remove_file(&path).unwrap();
        let others = Keys::read_or_make(&path).unwrap();
        let opened = open(&others, "trunk_passwords", "1", &sealed);
        assert_eq!(opened, Err(KeyError::Unknown(sealed.key_id.clone())));
        assert!(Keys::default().seal("t", "1", "x").is_err());
        let shown = format!("{keys:?}");
        let file = fs::read_to_string(&path).unwrap();
        assert!(!shown.contains(file.split(' ').nth(1).unwrap().trim()));
    }

    /// The file is its owner's alone; one that others can read, or that has something else in it, is refused.
    #[test]
    fn the_file_is_its_owners_alone() {
        let (_folder, path, _) = keys();
        let mode = |bits| fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        mode(0o604);
        assert!(matches!(Keys::read(&path), Err(KeyError::Exposed { .. })));
        mode(0o600);
        for text in [
            "",
            "# nothing\n",
            "id c2hvcnQ=\n",
            "no blank\n",
            "a/b AAAA\n",
        ] {
            fs::write(&path, text).unwrap();
            let read = Keys::read(&path);
            assert!(matches!(read, Err(KeyError::Malformed { .. })), "{text:?}");
        }
        let before = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(before, 1, "nothing is left beside it");
    }

    /// A new key in front seals from then on, and what the old one sealed is opened all the same.
    #[test]
    fn keys_are_changed_without_losing_anything() {
        let (_folder, path, old) = keys();
        let sealed = old.seal("t", "1", "x").unwrap();
        Keys::rotate(&path).unwrap();
        let new = Keys::read(&path).unwrap().unwrap();
        assert_eq!(new.open("t", "1", &sealed).unwrap().expose(), "x");
        let again = new.seal("t", "1", "x").unwrap();
        assert_ne!(again.key_id, sealed.key_id);
        assert!(matches!(
            old.open("t", "1", &again),
            Err(KeyError::Unknown(_))
        ));
        for _ in 2..MOST_KEYS {
            Keys::rotate(&path).unwrap();
        }
        assert!(Keys::rotate(&path).is_err(), "there is an end to it");
    }

    async fn open(path: &Path) -> Result<Store, StoreError> {
        Store::open(path, directory::Config::default()).await
    }

    /// Bytes of all files of the database that hold this text.
    fn holds(path: &Path, text: &str) -> bool {
        let folder = path.parent().unwrap();
        let files = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path());
        let files = files.filter(|file| file.extension().is_none_or(|kind| kind != "key"));
        files.map(|file| fs::read(file).unwrap()).any(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }

    async fn password(store: &Store) -> String {
        let mut connection = store.read().await.unwrap();
        let all = trunks::all(&mut connection, &store.keys, None)
            .await
            .unwrap();
        all[0].password.as_ref().unwrap().expose().to_owned()
    }

    /// A user that is registered at an exchange, with this password.
    async fn register(change: &mut super::super::Change, customer: uuid::Uuid, password: &str) {
        let pbx =
            json!({ "pbx_type": "netsapiens", "location": "HQ", "sip_domain": "pbx.example" });
        let pbx = serde_json::from_value(pbx).unwrap();
        let pbx = pbxs::insert(change, customer, &pbx).await.unwrap().id;
        let user = json!({ "upn": "jo@contoso.example", "display_name": "Jo" });
        let user = serde_json::from_value(user).unwrap();
        let user = users::insert(change, customer, &user, &[])
            .await
            .unwrap()
            .id;
        let settings =
            json!({ "user_id": user, "pbx_id": pbx, "username": "1001", "password": password });
        let settings = serde_json::from_value(settings).unwrap();
        registrations::insert(change, customer, &settings)
            .await
            .unwrap();
    }

    async fn line_password(store: &Store) -> String {
        let mut connection = store.read().await.unwrap();
        let all = registrations::all(&mut connection, &store.keys, None);
        all.await.unwrap()[0].password.expose().to_owned()
    }

    /// Passwords and tokens are in no file of the database, neither those that are written now nor those that an older
    /// version wrote; after a change of keys the old one is no longer needed.
    #[tokio::test]
    async fn the_database_holds_no_secret_in_clear() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollgate.db");
        let store = open(&path).await.unwrap();
        let mut change = store.change().await.unwrap();
        let customer = customers::insert(&mut change, &acme()).await.unwrap().id;
        let trunk = json!({ "name": "pbx", "role": "pbx", "transport": "udp", "host": "pbx.example.net",
            "password": "swordfish-swordfish" });
        let trunk = serde_json::from_value(trunk).unwrap();
        trunks::insert(&mut change, None, &trunk).await.unwrap();
        register(&mut change, customer, "barracuda-barracuda").await;
        let (token, at) = (
            Secret::new("refresh-me-refresh-me"),
            super::super::rows::now(),
        );
        activations::keep_token(&mut change, customer, Some(&token), at)
            .await
            .unwrap();
        change.publish().await.unwrap();
        assert_eq!(password(&store).await, "swordfish-swordfish");
        assert_eq!(line_password(&store).await, "barracuda-barracuda");
        let kept = store.tenant_token(customer).await.unwrap().unwrap();
        assert_eq!(kept.expose(), token.expose());
        store.close().await;
        for secret in ["swordfish", "barracuda", "refresh-me"] {
            assert!(!holds(&path, secret), "{secret}");
        }

        // As an older version left it.
        let store = open(&path).await.unwrap();
        for bare in [
            "UPDATE trunk_passwords SET password = 'old-and-bare', key_id = NULL",
            "UPDATE pbx_registrations SET password = 'bare-line', key_id = NULL",
        ] {
            sqlx::query(bare).execute(&store.pool).await.unwrap();
        }
        store.close().await;
        for bare in ["old-and-bare", "bare-line"] {
            assert!(holds(&path, bare), "or this test shows nothing");
        }
        let store = open(&path).await.unwrap();
        assert_eq!(password(&store).await, "old-and-bare");
        store.close().await;
        for bare in ["old-and-bare", "bare-line"] {
            assert!(!holds(&path, bare), "{bare}");
        }

        let keys = folder.path().join("secrets.key");
        Keys::rotate(&keys).unwrap();
        open(&path).await.unwrap().close().await;
        let text = fs::read_to_string(&keys).unwrap();
        fs::write(&keys, text.lines().next().unwrap()).unwrap();
        let store = open(&path).await.unwrap();
        assert_eq!(password(&store).await, "old-and-bare");
        assert_eq!(line_password(&store).await, "bare-line");
        store.close().await;

        fs::remove_file(&keys).unwrap();
        let told = open(&path).await.unwrap_err();
        assert!(
            matches!(told, StoreError::Key(KeyError::Missing { .. })),
            "{told}"
        );
        assert!(!keys.exists(), "a new key would open nothing");
    }
}
