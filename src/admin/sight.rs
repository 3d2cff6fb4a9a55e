//! What of calls a caller of the API sees: whose calls, and whether the people in them. Records, live calls, traces and
//! ladders all ask here.

use super::Admin;
use super::auth::Caller;
use super::engine::LiveCall;
use super::error::ApiError;
use super::why::{self, Why};
use crate::b2bua::Cdr;
use crate::store::CustomerRecord;
use crate::telemetry::ladder::redact::Sight;
use uuid::Uuid;

impl Caller {
    /// Whether numbers and names of people are whole: not for the roles of `admin.redact_for`, wherever they look.
    pub(super) fn sight(&self, admin: &Admin) -> Sight {
        if admin.redact_for.contains(&self.role()) {
            Sight::NoPeople
        } else {
            Sight::People
        }
    }

    /// A call of this id or Call-ID into which the caller may look: it is in scope, and its customer shares such things
    /// with its own administrator. A call of nobody is for those who see everything.
    pub(super) async fn call(&self, admin: &Admin, id: &str) -> Result<Why, ApiError> {
        let why = why::find(admin, id).await?;
        match why.customer_id() {
            // Also of a customer that is gone.
            _ if !self.role().is_scoped() => {}
            Some(customer) => {
                self.customer_with_records(admin, customer).await?;
            }
            None => return Err(ApiError::not_found()),
        }
        Ok(why)
    }

    /// A customer in scope, if the caller may see what is kept of its calls.
    pub(super) async fn customer_with_records(
        &self,
        admin: &Admin,
        id: Uuid,
    ) -> Result<CustomerRecord, ApiError> {
        let customer = self.customer(&mut *admin.store.read().await?, id).await?;
        if !customer.settings.sip_data_access && !self.role().may_read_all_records() {
            return Err(ApiError::forbidden(
                "sip_data_access_off",
                "sip_data_access is off for this customer",
            ));
        }
        Ok(customer)
    }
}

/// What an emergency number is, everybody knows.
pub(super) fn record(sight: Sight, cdr: Cdr) -> Cdr {
    Cdr {
        from: sight.person(&cdr.from),
        to: if cdr.emergency {
            cdr.to
        } else {
            sight.person(&cdr.to)
        },
        transferred_to: cdr.transferred_to.as_deref().map(|to| sight.person(to)),
        ..cdr
    }
}

pub(super) fn live(sight: Sight, call: LiveCall) -> LiveCall {
    LiveCall {
        from: sight.person(&call.from),
        to: sight.person(&call.to),
        ..call
    }
}
