//! Which customers a list shows, and in which order.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{CustomerRecord, record};
use crate::directory::{ActivationState, AdminState};
use crate::provisioning::SyncState;
use crate::store::{Listed, Page, StoreError};

/// Which customers to list; what is none does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomerFilter {
    /// Of this partner or of one below it.
    pub within: Option<Uuid>,
    /// Of this very partner.
    pub partner: Option<Uuid>,
    /// This one.
    pub only: Option<Uuid>,
    /// Has this in its account id, name or tenant name.
    pub text: Option<String>,
    /// Stands there.
    pub state: Option<CustomerStates>,
    /// In this order.
    pub sort: CustomerSort,
}

/// One of the states that a customer has beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustomerStates {
    /// What the operator wants.
    Admin(AdminState),
    /// How far Teams is.
    Activation(ActivationState),
    /// Whether calls obey what is stored.
    Sync(SyncState),
}

/// The order of a list of customers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CustomerSort {
    /// Oldest first.
    #[default]
    Oldest,
    /// Newest first.
    Newest,
    /// By name, case does not count.
    Name,
    /// The same backwards.
    NameDown,
    /// By account id.
    Account,
    /// The same backwards.
    AccountDown,
}

impl CustomerSort {
    /// What is compared, besides `seq`; none compares `seq` alone.
    fn column(self) -> Option<&'static str> {
        match self {
            Self::Oldest | Self::Newest => None,
            Self::Name | Self::NameDown => Some("name COLLATE NOCASE"),
            Self::Account | Self::AccountDown => Some("account_id"),
        }
    }

    fn is_down(self) -> bool {
        matches!(self, Self::Newest | Self::NameDown | Self::AccountDown)
    }
}

/// Those that the filter lets through, in its order.
pub async fn list(
    connection: &mut SqliteConnection,
    filter: &CustomerFilter,
    page: Page,
) -> Result<Listed<CustomerRecord>, StoreError> {
    let mut query = sqlx::QueryBuilder::new("SELECT * FROM customers WHERE TRUE");
    if let Some(top) = filter.within {
        let top = top.to_string();
        query.push(" AND partner_id IN (SELECT id FROM partners WHERE id = ");
        query.push_bind(top.clone()).push(" OR parent_id = ");
        query.push_bind(top).push(")");
    }
    if let Some(partner) = filter.partner {
        query
            .push(" AND partner_id = ")
            .push_bind(partner.to_string());
    }
    if let Some(only) = filter.only {
        query.push(" AND id = ").push_bind(only.to_string());
    }
    if let Some(state) = filter.state {
        let (column, name) = match state {
            CustomerStates::Admin(state) => ("admin_state", state.name()),
            CustomerStates::Activation(state) => ("activation_state", state.name()),
            CustomerStates::Sync(state) => ("sync_state", state.name()),
        };
        query.push(format_args!(" AND {column} = ")).push_bind(name);
    }
    if let Some(text) = &filter.text {
        search(connection, &mut query, text).await?;
    }
    order(connection, &mut query, filter.sort, page).await?;
    let rows = query.build().fetch_all(connection).await?;
    Ok(page.cut(&rows, record)?)
}

type Query = sqlx::QueryBuilder<sqlx::Sqlite>;

/// With more, a text is so common that customers who have it are met soon, wherever one begins.
const RARE: i64 = 1000;

/// Three characters or more are looked up, if they are rare enough for that; else they are looked for.
async fn search(
    connection: &mut SqliteConnection,
    query: &mut Query,
    text: &str,
) -> Result<(), StoreError> {
    if text.chars().count() >= 3 {
        let phrase = format!("\"{}\"", text.replace('"', "\"\""));
        // The index knows more letters without case than LIKE does.
        if !text.is_ascii() || is_rare(connection, &phrase).await? {
            query.push(
                " AND seq IN (SELECT rowid FROM customers_search WHERE customers_search MATCH ",
            );
            query.push_bind(phrase).push(")");
            return Ok(());
        }
    }
    let escaped = text
        .replace('!', "!!")
        .replace('%', "!%")
        .replace('_', "!_");
    for (index, column) in ["account_id", "name", "tenant_name"].iter().enumerate() {
        let joined = if index == 0 { " AND (" } else { " OR " };
        query.push(format_args!("{joined}{column} LIKE "));
        query.push_bind(format!("%{escaped}%")).push(" ESCAPE '!'");
    }
    query.push(")");
    Ok(())
}

async fn is_rare(connection: &mut SqliteConnection, phrase: &str) -> Result<bool, StoreError> {
    const COUNT: &str = "SELECT count(*) FROM
        (SELECT 1 FROM customers_search WHERE customers_search MATCH ? LIMIT ?)";
    let found: i64 = sqlx::query_scalar(COUNT)
        .bind(phrase)
        .bind(RARE + 1)
        .fetch_one(connection)
        .await?;
    Ok(found <= RARE)
}

/// From the row after the last page's on.
async fn order(
    connection: &mut SqliteConnection,
    query: &mut Query,
    sort: CustomerSort,
    page: Page,
) -> Result<(), StoreError> {
    let (beyond, direction) = if sort.is_down() {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    if let Some(after) = page.after {
        match sort.column() {
            None => query.push(format_args!(" AND seq {beyond} ")),
            Some(column) => {
                let place = sqlx::query("SELECT 1 FROM customers WHERE seq = ?").bind(after);
                if place.fetch_optional(connection).await?.is_none() {
                    return Err(StoreError::LostPlace);
                }
                query.push(format_args!(
                    " AND ({column}, seq) {beyond} (SELECT {column}, seq FROM customers WHERE seq = "
                ))
            }
        };
        query.push_bind(after);
        query.push(sort.column().map_or("", |_| ")"));
    }
    query.push(" ORDER BY ");
    if let Some(column) = sort.column() {
        query.push(format_args!("{column} {direction}, "));
    }
    query.push(format_args!("seq {direction} LIMIT "));
    query.push_bind(page.fetch());
    Ok(())
}
