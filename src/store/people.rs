//! People who sign in at an OpenID provider, and what they may do here.
//!
//! An account that was made for somebody says it. Else it follows from what is known: whoever administers a customer's tenant,
//! or has the address of its administrator there, is its administrator; a user of a customer is that user. A tenant speaks for
//! its own customer only, so that nobody becomes somebody else by giving themselves a name.

use super::accounts::{Account, account, add_session, end_sessions, unknown_password};
use super::error::Faults;
use super::rows::{id, micros, new_id, now};
use super::{AccessRole, Change, NewToken, Store, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

/// Who a provider says that somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Their tenant, where the provider has such.
    pub tenant: Option<Uuid>,
    /// Who they are there, for ever.
    pub subject: String,
    /// Their name to sign in.
    pub name: Option<String>,
    /// Whether they administer their tenant.
    pub global_administrator: bool,
}

/// For whom an account is made by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranger<'a> {
    /// Their tenant, where the provider has such.
    pub tenant: Option<Uuid>,
    /// Who they are there; none: whoever of the tenant comes with the account's name first, and from then on only they.
    pub subject: Option<&'a str>,
}

impl Store {
    /// Makes an account for somebody who signs in at the provider, or gives the one of this name another role and scope; its
    /// sign-ins end.
    pub async fn set_person(
        &self,
        name: &str,
        who: Stranger<'_>,
        role: AccessRole,
        scope: Option<Uuid>,
    ) -> Result<Account, StoreError> {
        let mut faults = Faults::default();
        faults.length("name", name, 1, 128);
        faults.demand(
            scope.is_some() == role.is_scoped(),
            "scope",
            "scope",
            "goes with the roles of one partner, customer or user, and with no other",
        );
        faults.demand(
            who.tenant.is_some() || who.subject.is_some(),
            "subject",
            "required",
            "is needed where the provider has no tenants",
        );
        faults.or(())?;
        let password = unknown_password();
        let mut change = self.rows().await?;
        sqlx::query(
            "INSERT INTO accounts (id, name, folded_name, role, scope, salt, hash, created_at, tenant, subject, derived)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
             ON CONFLICT (folded_name) DO UPDATE SET role = excluded.role, scope = excluded.scope, salt = excluded.salt,
             hash = excluded.hash, tenant = excluded.tenant, subject = excluded.subject, derived = 0",
        )
        .bind(new_id().to_string())
        .bind(name)
        .bind(name.to_lowercase())
        .bind(role.name())
        .bind(scope.map(|id| id.to_string()))
        .bind(&password.0[..])
        .bind(&password.1[..])
        .bind(micros(now()))
        .bind(who.tenant.map(|id| id.to_string()))
        .bind(who.subject)
        .execute(&mut *change)
        .await?;
        let query = sqlx::query("SELECT * FROM accounts WHERE folded_name = ?");
        let row = query
            .bind(name.to_lowercase())
            .fetch_one(&mut *change)
            .await?;
        let made = account(&row)?;
        end_sessions(&mut change, made.id).await?;
        change.keep().await?;
        Ok(made)
    }

    /// A token for somebody whom the provider vouches for, if they are anybody here; like one for a password.
    pub async fn sign_in_person(&self, who: &Identity) -> Result<Option<NewToken>, StoreError> {
        let mut change = self.rows().await?;
        let found = match by_hand(&mut change, who).await? {
            Some(account) => {
                forget_derived(&mut change, who).await?;
                Some(account)
            }
            None => derived(&mut change, who).await?,
        };
        let session = match &found {
            Some(account) => Some(add_session(&mut change, account).await?),
            None => None,
        };
        // Also that somebody is nobody any more.
        change.keep().await?;
        Ok(session)
    }
}

/// The account that was made for somebody.
async fn by_hand(change: &mut Change, who: &Identity) -> Result<Option<Account>, StoreError> {
    const KNOWN: &str = "SELECT * FROM accounts WHERE derived = 0 AND subject = ? AND tenant IS ?";
    const AWAITED: &str = "UPDATE accounts SET subject = ?1
        WHERE derived = 0 AND subject IS NULL AND tenant = ?2 AND folded_name = ?3 RETURNING *";
    let tenant = who.tenant.map(|id| id.to_string());
    let known = sqlx::query(KNOWN)
        .bind(&who.subject)
        .bind(&tenant)
        .fetch_optional(&mut **change)
        .await?;
    if let Some(row) = known {
        return Ok(Some(account(&row)?));
    }
    let name = who.name.as_deref().map(str::to_lowercase);
    let awaited = sqlx::query(AWAITED)
        .bind(&who.subject)
        .bind(&tenant)
        .bind(name)
        .fetch_optional(&mut **change)
        .await?;
    Ok(awaited.as_ref().map(account).transpose()?)
}

/// What follows of somebody from customers and users, as an account that follows them.
async fn derived(change: &mut Change, who: &Identity) -> Result<Option<Account>, StoreError> {
    let Some((role, scope)) = standing(change, who).await? else {
        forget_derived(change, who).await?;
        return Ok(None);
    };
    let tenant = who.tenant.map(|id| id.to_string());
    let name = who.name.as_deref().unwrap_or(&who.subject);
    let name: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
    let query = sqlx::query("SELECT * FROM accounts WHERE derived AND subject = ? AND tenant IS ?");
    let before = query
        .bind(&who.subject)
        .bind(&tenant)
        .fetch_optional(&mut **change)
        .await?;
    let row = match before {
        Some(before) => {
            let before = account(&before)?;
            if (before.role, before.scope) != (role, Some(scope)) {
                end_sessions(change, before.id).await?;
            }
            let update = sqlx::query(
                "UPDATE accounts SET name = ?, role = ?, scope = ? WHERE id = ? RETURNING *",
            );
            let update = update.bind(name).bind(role.name()).bind(scope.to_string());
            update
                .bind(before.id.to_string())
                .fetch_one(&mut **change)
                .await?
        }
        None => {
            let (password, id) = (unknown_password(), new_id().to_string());
            let insert = sqlx::query(
                "INSERT INTO accounts (id, name, folded_name, role, scope, salt, hash, created_at, tenant, subject, derived)
                 VALUES (?1, ?2, 'openid ' || ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1) RETURNING *",
            );
            insert
                .bind(id)
                .bind(name)
                .bind(role.name())
                .bind(scope.to_string())
                .bind(&password.0[..])
                .bind(&password.1[..])
                .bind(micros(now()))
                .bind(tenant)
                .bind(&who.subject)
                .fetch_one(&mut **change)
                .await?
        }
    };
    Ok(Some(account(&row)?))
}

/// What somebody is to the customer of their tenant.
async fn standing(
    connection: &mut SqliteConnection,
    who: &Identity,
) -> Result<Option<(AccessRole, Uuid)>, StoreError> {
    const CUSTOMER: &str =
        "SELECT id, lower(admin_email) = lower(?2) AS named FROM customers WHERE tenant_id = ?1";
    const USER: &str = "SELECT id FROM users WHERE customer_id = ?1 AND state = 'enabled'
        AND (teams_object_id = ?2 OR teams_object_id IS NULL AND upn = ?3) ORDER BY teams_object_id IS NULL LIMIT 1";
    let Some(tenant) = who.tenant else {
        return Ok(None);
    };
    let found = sqlx::query(CUSTOMER)
        .bind(tenant.to_string())
        .bind(&who.name)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(found) = found else { return Ok(None) };
    let customer = id(&found, "id")?;
    if who.global_administrator || is_true(&found, "named")? {
        return Ok(Some((AccessRole::CustomerAdmin, customer)));
    }
    let user = sqlx::query(USER)
        .bind(customer.to_string())
        .bind(&who.subject)
        .bind(&who.name)
        .fetch_optional(connection)
        .await?;
    let user = user.map(|user| id(&user, "id")).transpose()?;
    Ok(user.map(|user| (AccessRole::EndUser, user)))
}

/// Not, where there is nothing to compare.
fn is_true(row: &SqliteRow, column: &str) -> Result<bool, sqlx::Error> {
    Ok(row.try_get::<Option<bool>, _>(column)?.unwrap_or_default())
}

/// Removes what followed before, with its sign-ins.
async fn forget_derived(
    connection: &mut SqliteConnection,
    who: &Identity,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM accounts WHERE derived AND subject = ? AND tenant IS ?")
        .bind(&who.subject)
        .bind(who.tenant.map(|id| id.to_string()))
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::super::{activations, users};
    use super::*;
    use serde_json::json;

    const TENANT: Uuid = Uuid::from_u128(0x7e4a);

    fn identity(tenant: Uuid, subject: &str, name: &str) -> Identity {
        Identity {
            tenant: Some(tenant),
            subject: subject.into(),
            name: Some(name.into()),
            global_administrator: false,
        }
    }

    async fn role(store: &Store, who: &Identity) -> Option<(AccessRole, Option<Uuid>)> {
        let session = store.sign_in_person(who).await.unwrap();
        session.map(|session| (session.token.role, session.token.scope))
    }

    /// What somebody is follows from their tenant's customer, its administrator's address and its users; a name of another
    /// tenant opens nothing, and who is nobody any more loses the sign-ins of before.
    #[tokio::test]
    async fn a_tenant_speaks_for_its_own_customer() {
        let (_folder, store) = fresh().await;
        let mut change = store.rows().await.unwrap();
        let mut settings = acme();
        settings.admin_email = Some("Boss@acme.example".into());
        let customer = customers::insert(&mut change, &settings).await.unwrap().id;
        activations::set_tenant(&mut change, customer, TENANT)
            .await
            .unwrap();
        let mut user = async |upn: &str, object: Option<Uuid>| {
            let user = json!({ "upn": upn, "display_name": "Jo", "teams_object_id": object });
            let user = serde_json::from_value(user).unwrap();
            let made = users::insert(&mut change, customer, &user, &[]).await;
            made.unwrap().id
        };
        let object = Uuid::from_u128(9);
        let jo = user("jo@acme.example", Some(object)).await;
        let kim = user("kim@acme.example", None).await;
        change.keep().await.unwrap();
        let admin = Some((AccessRole::CustomerAdmin, Some(customer)));
        let is = |user| Some((AccessRole::EndUser, Some(user)));
        let (other, jos) = (Uuid::from_u128(1), object.to_string());
        for (who, expected) in [
            (identity(TENANT, "1", "boss@ACME.example"), admin),
            (identity(other, "1", "boss@acme.example"), None),
            (identity(TENANT, &jos, "renamed@acme.example"), is(jo)),
            (identity(TENANT, "2", "jo@acme.example"), None),
            (identity(TENANT, "3", "KIM@acme.example"), is(kim)),
            (identity(other, "3", "kim@acme.example"), None),
            (identity(TENANT, "4", "nobody@acme.example"), None),
        ] {
            assert_eq!(role(&store, &who).await, expected, "{who:?}");
        }
        let global = Identity {
            global_administrator: true,
            ..identity(TENANT, &jos, "jo@acme.example")
        };
        assert_eq!(role(&store, &global).await, admin, "no longer only a user");
        let who = identity(TENANT, "3", "kim@acme.example");
        let session = store.sign_in_person(&who).await.unwrap().unwrap();
        let text = session.text.expose();
        assert!(store.tokens().authenticate(text).await.unwrap().is_some());
        let mut change = store.rows().await.unwrap();
        users::delete(&mut change, customer, kim).await.unwrap();
        change.keep().await.unwrap();
        assert_eq!(role(&store, &who).await, None);
        assert_eq!(store.tokens().authenticate(text).await.unwrap(), None);
    }

    /// An account that was made for somebody wins. Without a subject it is for the first of its tenant who comes with its
    /// name, and then for nobody else of this name.
    #[tokio::test]
    async fn an_account_that_was_made_wins() {
        let (_folder, store) = fresh().await;
        let noc = AccessRole::Noc;
        let who = Stranger {
            tenant: Some(TENANT),
            subject: None,
        };
        store
            .set_person("Jo@carrier.example", who, noc, None)
            .await
            .unwrap();
        let other = identity(Uuid::from_u128(1), "1", "jo@carrier.example");
        assert_eq!(role(&store, &other).await, None, "of another tenant");
        let jo = identity(TENANT, "1", "JO@carrier.example");
        assert_eq!(role(&store, &jo).await, Some((noc, None)));
        let later = identity(TENANT, "2", "jo@carrier.example");
        assert_eq!(role(&store, &later).await, None, "the name was given away");
        let renamed = identity(TENANT, "1", "other@carrier.example");
        assert_eq!(role(&store, &renamed).await, Some((noc, None)));
        let password = crate::directory::Secret::new("correct horse battery");
        let opened = store.sign_in("jo@carrier.example", &password).await;
        assert!(opened.unwrap().is_none(), "there is no password");
        let plain = Stranger {
            tenant: None,
            subject: Some("sub-7"),
        };
        let admin = AccessRole::CarrierAdmin;
        store.set_person("root", plain, admin, None).await.unwrap();
        let root = Identity {
            tenant: None,
            ..identity(TENANT, "sub-7", "whoever")
        };
        assert_eq!(role(&store, &root).await, Some((admin, None)));
        for (role, scope, who) in [
            (noc, Some(Uuid::nil()), who),
            (AccessRole::EndUser, None, who),
            (
                noc,
                None,
                Stranger {
                    tenant: None,
                    subject: None,
                },
            ),
        ] {
            let made = store.set_person("x", who, role, scope).await;
            assert!(matches!(made, Err(StoreError::Faults(_))));
        }
        assert!(store.remove_account("ROOT").await.unwrap());
        assert_eq!(role(&store, &root).await, None);
    }
}
