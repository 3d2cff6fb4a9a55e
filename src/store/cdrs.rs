//! Call detail records.

use super::rows::{json, micros, to_json};
use super::{Listed, Page, Store, StoreError, traces};
use crate::b2bua::{Cdr, Direction, Trace};
use sqlx::{QueryBuilder, SqliteConnection};
use time::OffsetDateTime;
use uuid::Uuid;

/// Which records to list; what is none does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CdrFilter {
    /// Of this customer.
    pub customer: Option<Uuid>,
    /// Of the customers of this partner.
    pub partner: Option<Uuid>,
    /// Started then or later.
    pub from: Option<OffsetDateTime>,
    /// Started before.
    pub until: Option<OffsetDateTime>,
    /// Called or calling.
    pub number: Option<String>,
    /// Final status.
    pub sip_code: Option<u16>,
    /// The rule that refused it.
    pub refused_by: Option<String>,
    /// Which way.
    pub direction: Option<Direction>,
}

impl Store {
    /// Adds records that are not there yet, all or none; how many were new.
    pub async fn add_cdrs(&self, cdrs: &[Cdr]) -> Result<u64, StoreError> {
        let mut new = 0;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for cdr in cdrs {
            traces::insert(&mut transaction, cdr).await?;
            let record = Cdr {
                why: Trace::default(),
                ..cdr.clone()
            };
            let done = sqlx::query(
                "INSERT OR IGNORE INTO cdrs (id, customer_id, trunk_id, direction, caller, called, start, sip_code, refused_by, record)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(cdr.id.to_string())
            .bind(cdr.customer_id.map(|id| id.to_string()))
            .bind(cdr.trunk_id.map(|id| id.to_string()))
            .bind(cdr.direction.name())
            .bind(&cdr.from)
            .bind(&cdr.to)
            .bind(micros(cdr.start))
            .bind(cdr.sip_code)
            .bind(&cdr.refused_by)
            .bind(to_json(&record))
            .execute(&mut *transaction)
            .await?;
            new += done.rows_affected();
        }
        transaction.commit().await?;
        Ok(new)
    }
}

/// Newest first, by the order in which they were stored.
pub async fn list(
    connection: &mut SqliteConnection,
    filter: &CdrFilter,
    page: Page,
) -> Result<Listed<Cdr>, StoreError> {
    let mut query = QueryBuilder::new("SELECT seq, record FROM cdrs WHERE seq < ");
    query.push_bind(page.after.unwrap_or(i64::MAX));
    if let Some(customer) = filter.customer {
        query
            .push(" AND customer_id = ")
            .push_bind(customer.to_string());
    }
    if let Some(partner) = filter.partner {
        query.push(" AND customer_id IN (SELECT id FROM customers WHERE partner_id = ");
        query.push_bind(partner.to_string()).push(")");
    }
    if let Some(from) = filter.from {
        query.push(" AND start >= ").push_bind(micros(from));
    }
    if let Some(until) = filter.until {
        query.push(" AND start < ").push_bind(micros(until));
    }
    if let Some(number) = &filter.number {
        query.push(" AND (caller = ").push_bind(number.clone());
        query
            .push(" OR called = ")
            .push_bind(number.clone())
            .push(")");
    }
    if let Some(sip_code) = filter.sip_code {
        query.push(" AND sip_code = ").push_bind(sip_code);
    }
    if let Some(refused_by) = &filter.refused_by {
        query
            .push(" AND refused_by = ")
            .push_bind(refused_by.clone());
    }
    if let Some(direction) = filter.direction {
        query.push(" AND direction = ").push_bind(direction.name());
    }
    query
        .push(" ORDER BY seq DESC LIMIT ")
        .push_bind(page.fetch());
    let rows = query.build().fetch_all(connection).await?;
    Ok(page.cut(&rows, |row| json(row, "record"))?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::open::tests::fresh;
    use super::*;
    use time::macros::datetime;

    /// An attempt that was refused at 03:04:`second`.
    pub(in super::super) fn cdr(id: u128, second: u8) -> Cdr {
        let start = datetime!(2026-01-02 03:04:00 UTC)
            .replace_second(second)
            .unwrap();
        Cdr {
            id: Uuid::from_u128(id),
            generation: 1,
            customer_id: Some(Uuid::from_u128(1)),
            trunk_id: None,
            gateway: None,
            direction: Direction::ToTeams,
            emergency: false,
            from: "+4930123456".into(),
            to: "+14255550100".into(),
            a_call_id: "a".into(),
            b_call_id: None,
            start,
            ringing: None,
            answer: None,
            end: start,
            sip_code: Some(486),
            q850: Some(34),
            reason: "all channels are busy".into(),
            refused_by: Some("limit".into()),
            ended_by: None,
            music: None,
            transferred_to: None,
            a_media: None,
            b_media: None,
            why: Trace::default(),
        }
    }

    #[tokio::test]
    async fn a_record_that_comes_twice_is_kept_once() {
        let (_folder, store) = fresh().await;
        assert_eq!(
            store
                .add_cdrs(&[cdr(1, 0), cdr(2, 1), cdr(1, 0)])
                .await
                .unwrap(),
            2
        );
        assert_eq!(store.add_cdrs(&[cdr(2, 1), cdr(3, 2)]).await.unwrap(), 1);
        let listed = list(
            &mut store.read().await.unwrap(),
            &CdrFilter::default(),
            Page::default(),
        )
        .await
        .unwrap();
        assert_eq!(listed.items, [cdr(3, 2), cdr(2, 1), cdr(1, 0)]);
    }

    #[tokio::test]
    async fn every_filter_leaves_out_what_it_says() {
        let (_folder, store) = fresh().await;
        let other = Cdr {
            customer_id: None,
            direction: Direction::FromTeams,
            to: "112".into(),
            sip_code: Some(200),
            refused_by: None,
            ..cdr(2, 30)
        };
        store.add_cdrs(&[cdr(1, 0), other]).await.unwrap();
        let none = CdrFilter::default();
        let at = datetime!(2026-01-02 03:04:30 UTC);
        for (filter, expected) in [
            (none.clone(), &[2, 1][..]),
            (
                CdrFilter {
                    customer: Some(Uuid::from_u128(1)),
                    ..none.clone()
                },
                &[1],
            ),
            (
                CdrFilter {
                    partner: Some(Uuid::from_u128(1)),
                    ..none.clone()
                },
                &[],
            ),
            (
                CdrFilter {
                    from: Some(at),
                    ..none.clone()
                },
                &[2],
            ),
            (
                CdrFilter {
                    until: Some(at),
                    ..none.clone()
                },
                &[1],
            ),
            (
                CdrFilter {
                    number: Some("112".into()),
                    ..none.clone()
                },
                &[2],
            ),
            (
                CdrFilter {
                    number: Some("+4930123456".into()),
                    ..none.clone()
                },
                &[2, 1],
            ),
            (
                CdrFilter {
                    sip_code: Some(486),
                    ..none.clone()
                },
                &[1],
            ),
            (
                CdrFilter {
                    refused_by: Some("limit".into()),
                    ..none.clone()
                },
                &[1],
            ),
            (
                CdrFilter {
                    direction: Some(Direction::FromTeams),
                    ..none.clone()
                },
                &[2],
            ),
        ] {
            let listed = list(&mut store.read().await.unwrap(), &filter, Page::default())
                .await
                .unwrap();
            let ids: Vec<_> = listed.items.iter().map(|cdr| cdr.id.as_u128()).collect();
            assert_eq!(ids, expected, "{filter:?}");
        }
    }
}
