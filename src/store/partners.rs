//! Partners: a tree of two steps.

use super::error::{Faults, billing_references};
use super::rows::{id, json, micros, named, new_id, now, optional_id, time, to_json};
use super::{Fault, Listed, Page, StoreError};
use crate::provisioning::{Offering, PartnerState, PartnerTree, TreeFault, is_email};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Who sells to customers: a master reseller, or a reseller below one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartnerSettings {
    /// The partner above; none is the carrier itself. Never changed.
    #[serde(default)]
    pub parent_id: Option<Uuid>,
    /// For people; 1 to 128 characters.
    pub name: String,
    /// Where its invitation goes; no other partner and no customer's administrator has it, in whatever case.
    #[schema(example = "sales@reseller.example")]
    pub email: String,
    /// What it sells; nothing that its parent does not sell.
    pub offerings: Vec<Offering>,
    /// Copied to billing; at most 16 of 1 to 128 characters.
    #[serde(default)]
    pub billing_references: Vec<String>,
    /// Whether its tokens may change anything; set by the carrier.
    #[serde(default)]
    pub state: PartnerState,
}

/// A stored partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Partner)]
pub struct PartnerRecord {
    /// Never used again.
    pub id: Uuid,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: PartnerSettings,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; in quotes it is the ETag.
    pub version: i64,
}

impl PartnerSettings {
    fn check(&self) -> Result<(), StoreError> {
        let mut faults = Faults::default();
        faults.length("name", &self.name, 1, 128);
        faults.demand(
            is_email(&self.email),
            "email",
            "format",
            "must be an email address",
        );
        faults.offerings(&self.offerings);
        billing_references(&mut faults, &self.billing_references);
        faults.or(())
    }
}

fn record(row: &SqliteRow) -> Result<PartnerRecord, sqlx::Error> {
    Ok(PartnerRecord {
        id: id(row, "id")?,
        settings: PartnerSettings {
            parent_id: optional_id(row, "parent_id")?,
            name: row.try_get("name")?,
            email: row.try_get("email")?,
            offerings: json(row, "offerings")?,
            billing_references: json(row, "billing_references")?,
            state: named(row, "state")?,
        },
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Adds one.
pub async fn insert(
    connection: &mut SqliteConnection,
    settings: &PartnerSettings,
) -> Result<PartnerRecord, StoreError> {
    settings.check()?;
    check_tree(connection, settings).await?;
    let (id, at) = (new_id(), micros(now()));
    sqlx::query(
        "INSERT INTO partners (id, parent_id, name, email, offerings, billing_references, state, created_at, updated_at, version)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
    )
    .bind(id.to_string())
    .bind(settings.parent_id.map(|id| id.to_string()))
    .bind(&settings.name)
    .bind(&settings.email)
    .bind(to_json(&settings.offerings))
    .bind(to_json(&settings.billing_references))
    .bind(settings.state.name())
    .bind(at)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    written(connection, id).await
}

/// Changes all but the parent, which stays. [`StoreError::Reference`] if it would no longer sell what its customers or
/// its resellers have of it.
pub async fn update(
    connection: &mut SqliteConnection,
    id: Uuid,
    settings: &PartnerSettings,
) -> Result<PartnerRecord, StoreError> {
    settings.check()?;
    check_tree(connection, settings).await?;
    if sells_more_below(connection, id, &settings.offerings).await? {
        return Err(StoreError::Reference);
    }
    sqlx::query(
        "UPDATE partners SET name = ?, email = ?, offerings = ?, billing_references = ?, state = ?, updated_at = ?,
         version = version + 1 WHERE id = ?",
    )
    .bind(&settings.name)
    .bind(&settings.email)
    .bind(to_json(&settings.offerings))
    .bind(to_json(&settings.billing_references))
    .bind(settings.state.name())
    .bind(micros(now()))
    .bind(id.to_string())
    .execute(&mut *connection)
    .await?;
    written(connection, id).await
}

/// Removes one; [`StoreError::Reference`] if it has customers or resellers.
pub async fn delete(connection: &mut SqliteConnection, id: Uuid) -> Result<(), StoreError> {
    let customers = sqlx::query("SELECT 1 FROM customers WHERE partner_id = ? LIMIT 1");
    let customers = customers.bind(id.to_string());
    if customers.fetch_optional(&mut *connection).await?.is_some() {
        return Err(StoreError::Reference);
    }
    sqlx::query("DELETE FROM partners WHERE id = ?")
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The one of this id.
pub async fn find(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<Option<PartnerRecord>, StoreError> {
    let query = sqlx::query("SELECT * FROM partners WHERE id = ?").bind(id.to_string());
    let row = query.fetch_optional(connection).await?;
    Ok(row.as_ref().map(record).transpose()?)
}

/// In the order of creation; one partner and those below it, if asked for.
pub async fn list(
    connection: &mut SqliteConnection,
    within: Option<Uuid>,
    page: Page,
) -> Result<Listed<PartnerRecord>, StoreError> {
    let mut query = sqlx::QueryBuilder::new("SELECT * FROM partners WHERE seq > ");
    query.push_bind(page.after.unwrap_or(0));
    if let Some(within) = within {
        let within = within.to_string();
        query.push(" AND (id = ").push_bind(within.clone());
        query.push(" OR parent_id = ").push_bind(within).push(")");
    }
    query.push(" ORDER BY seq LIMIT ").push_bind(page.fetch());
    let rows = query.build().fetch_all(connection).await?;
    Ok(page.cut(&rows, record)?)
}

/// Whether a partner is this one or stands below it.
pub async fn is_within(
    connection: &mut SqliteConnection,
    partner: Uuid,
    top: Uuid,
) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM partners WHERE id = ?1 AND (id = ?2 OR parent_id = ?2)");
    let row = query.bind(partner.to_string()).bind(top.to_string());
    Ok(row.fetch_optional(connection).await?.is_some())
}

/// Whether it may act: it is there, active, and so is the partner above.
pub async fn is_active(
    connection: &mut SqliteConnection,
    partner: Uuid,
) -> Result<bool, StoreError> {
    const ACTIVE: &str =
        "SELECT 1 FROM partners p LEFT JOIN partners above ON above.id = p.parent_id
        WHERE p.id = ? AND p.state = 'active' AND ifnull(above.state, 'active') = 'active'";
    let query = sqlx::query(ACTIVE).bind(partner.to_string());
    Ok(query.fetch_optional(connection).await?.is_some())
}

async fn check_tree(
    connection: &mut SqliteConnection,
    settings: &PartnerSettings,
) -> Result<(), StoreError> {
    let Some(parent) = settings.parent_id else {
        return Ok(());
    };
    let mut faults = Faults::default();
    match find(connection, parent).await? {
        None => faults.demand(false, "parent_id", "unknown_partner", "is no partner's id"),
        Some(parent) => {
            let tree = PartnerTree {
                parent_is_child: parent.settings.parent_id.is_some(),
                parent_offerings: parent.settings.offerings,
            };
            if let Err(fault) = tree.check(&settings.offerings) {
                faults.push(told(fault));
            }
        }
    }
    faults.or(())
}

fn told(fault: TreeFault) -> Fault {
    let (field, code) = match fault {
        TreeFault::TooDeep => ("parent_id", "too_deep"),
        TreeFault::NotOffered(_) => ("offerings", "not_offered"),
    };
    Fault {
        field: field.into(),
        code: code.into(),
        message: fault.to_string(),
    }
}

async fn sells_more_below(
    connection: &mut SqliteConnection,
    id: Uuid,
    offerings: &[Offering],
) -> Result<bool, StoreError> {
    const MORE: &str =
        "SELECT 1 FROM customers, json_each(customers.offerings) AS had WHERE partner_id = ?1
            AND had.value NOT IN (SELECT value FROM json_each(?2))
        UNION ALL SELECT 1 FROM partners, json_each(partners.offerings) AS had WHERE parent_id = ?1
            AND had.value NOT IN (SELECT value FROM json_each(?2)) LIMIT 1";
    let query = sqlx::query(MORE)
        .bind(id.to_string())
        .bind(to_json(&offerings));
    Ok(query.fetch_optional(connection).await?.is_some())
}

async fn written(connection: &mut SqliteConnection, id: Uuid) -> Result<PartnerRecord, StoreError> {
    Ok(find(connection, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::CustomerSettings;
    use super::super::customers::{self, tests::acme};
    use super::super::open::tests::fresh;
    use super::*;

    pub(in super::super) fn reseller(email: &str, parent_id: Option<Uuid>) -> PartnerSettings {
        PartnerSettings {
            parent_id,
            name: email.into(),
            email: email.into(),
            offerings: vec![Offering::Trunk],
            billing_references: vec!["cost centre 7".into()],
            state: PartnerState::Active,
        }
    }

    /// Master reseller, reseller, and no further; what is sold below must be sold above, before and after a change.
    #[tokio::test]
    async fn the_tree_has_two_steps() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let master = insert(&mut change, &reseller("m@p.example", None))
            .await
            .unwrap();
        let child = insert(&mut change, &reseller("c@p.example", Some(master.id)))
            .await
            .unwrap();
        let faults = |result: Result<PartnerRecord, StoreError>| match result {
            Err(StoreError::Faults(faults)) => faults[0].code.clone(),
            other => panic!("{other:?}"),
        };
        let third = reseller("t@p.example", Some(child.id));
        assert_eq!(faults(insert(&mut change, &third).await), "too_deep");
        let lost = reseller("t@p.example", Some(Uuid::nil()));
        assert_eq!(faults(insert(&mut change, &lost).await), "unknown_partner");
        let more = PartnerSettings {
            offerings: vec![Offering::Pbx],
            ..reseller("t@p.example", Some(master.id))
        };
        assert_eq!(faults(insert(&mut change, &more).await), "not_offered");
        let less = PartnerSettings {
            offerings: vec![Offering::Pbx],
            ..master.settings.clone()
        };
        assert!(matches!(
            update(&mut change, master.id, &less).await,
            Err(StoreError::Reference)
        ));
        let listed = list(&mut change, Some(master.id), Page::default())
            .await
            .unwrap();
        assert_eq!(listed.items.len(), 2);
        assert!(is_within(&mut change, child.id, master.id).await.unwrap());
        assert!(!is_within(&mut change, master.id, child.id).await.unwrap());
        assert!(is_active(&mut change, child.id).await.unwrap());
        let off = PartnerSettings {
            state: PartnerState::Disabled,
            ..master.settings.clone()
        };
        update(&mut change, master.id, &off).await.unwrap();
        assert!(
            !is_active(&mut change, child.id).await.unwrap(),
            "its master is not"
        );
    }

    /// T-02: one space of addresses, in whatever case, kept by the database.
    #[tokio::test]
    async fn an_email_has_one_owner() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let partner = insert(&mut change, &reseller("One@p.example", None))
            .await
            .unwrap();
        let with = |account: &str, email: Option<&str>| CustomerSettings {
            account_id: account.into(),
            admin_email: email.map(str::to_owned),
            ..acme()
        };
        let taken =
            |error: StoreError| matches!(error, StoreError::Taken(what) if what == "emails.email");
        let twice = insert(&mut change, &reseller("oNE@P.example", None)).await;
        assert!(taken(twice.unwrap_err()));
        let twice = customers::insert(&mut change, &with("a", Some("one@p.EXAMPLE"))).await;
        assert!(taken(twice.unwrap_err()));
        let other = customers::insert(&mut change, &with("b", Some("two@p.example")))
            .await
            .unwrap();
        let moved =
            customers::update(&mut change, other.id, &with("a", Some("ONE@p.example"))).await;
        assert!(taken(moved.unwrap_err()));
        let moved = PartnerSettings {
            email: "TWO@p.example".into(),
            ..partner.settings.clone()
        };
        assert!(taken(
            update(&mut change, partner.id, &moved).await.unwrap_err()
        ));
        customers::update(&mut change, other.id, &with("a", None))
            .await
            .unwrap();
        update(&mut change, partner.id, &moved)
            .await
            .expect("it is free again");
        delete(&mut change, partner.id).await.unwrap();
        customers::update(&mut change, other.id, &with("a", Some("two@p.example")))
            .await
            .expect("it is free once more");
    }

    #[tokio::test]
    async fn a_partner_with_customers_stays() {
        let (_folder, store) = fresh().await;
        let mut change = store.change().await.unwrap();
        let partner = insert(&mut change, &reseller("m@p.example", None))
            .await
            .unwrap();
        let ours = CustomerSettings {
            partner_id: Some(partner.id),
            ..acme()
        };
        let customer = customers::insert(&mut change, &ours).await.unwrap();
        assert!(matches!(
            delete(&mut change, partner.id).await,
            Err(StoreError::Reference)
        ));
        customers::delete(&mut change, customer.id).await.unwrap();
        delete(&mut change, partner.id).await.unwrap();
        assert_eq!(find(&mut change, partner.id).await.unwrap(), None);
    }
}
