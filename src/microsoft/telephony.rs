//! Numbers and policies of users, as far as Graph does them (provisioning §11.5).

use super::{Fault, Graph, MicrosoftError};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// A number as Microsoft has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumberAssignment {
    /// In E.164, perhaps with `;ext=`.
    pub telephone_number: String,
    /// Whose; none if nobody's.
    pub assignment_target_id: Option<Uuid>,
    /// `directRouting` and others.
    #[serde(default)]
    pub number_type: String,
    /// `activated`, `assignmentPending`, `assignmentFailed` and others.
    #[serde(default)]
    pub activation_state: String,
}

/// Something that Microsoft does in its own time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Operation {
    /// For asking again.
    pub id: String,
    /// How it stands.
    pub status: OperationState,
    /// What became of each number.
    #[serde(default)]
    pub numbers: Vec<OperationNumber>,
}

/// What became of a number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationNumber {
    /// How it stands.
    pub status: OperationState,
    /// Why, if it failed.
    pub status_detail: Option<String>,
}

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OperationState {
    /// It waits.
    NotStarted,
    /// It is being done.
    Running,
    /// It is done.
    Succeeded,
    /// It is not done.
    Failed,
    /// There was nothing to do.
    Skipped,
}

/// Numbers of one page of a list, and pages that are read.
const PAGE: usize = 1000;
const MOST_PAGES: usize = 100;
const PHONES: [&str; 3] = ["admin", "teams", "telephoneNumberManagement"];

impl Graph<'_> {
    /// The numbers that users of the tenant have; of a tenant with more than a hundred thousand the first of them.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn number_assignments(&self) -> Result<Vec<NumberAssignment>, MicrosoftError> {
        let path = [PHONES.as_slice(), &["numberAssignments"]].concat();
        let mut all = Vec::new();
        for page in 0..MOST_PAGES {
            let (top, skip) = (PAGE.to_string(), (page * PAGE).to_string());
            let query = [("$top", top.as_str()), ("$skip", skip.as_str())];
            let listed: Vec<NumberAssignment> = self.get(&path, &query).await?.values()?;
            let is_last = listed.len() < PAGE;
            all.extend(listed);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    /// Gives a user a number of ours; the id of the operation.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn assign_number(&self, number: &str, user: Uuid) -> Result<String, MicrosoftError> {
        let body = json!({ "telephoneNumber": number, "assignmentTargetId": user, "numberType": "directRouting" });
        self.change_number("assignNumber", &body).await
    }

    /// Takes a number away from whoever has it; the id of the operation.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn unassign_number(&self, number: &str) -> Result<String, MicrosoftError> {
        let body = json!({ "telephoneNumber": number, "numberType": "directRouting" });
        self.change_number("unassignNumber", &body).await
    }

    /// How an operation stands.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn operation(&self, id: &str) -> Result<Operation, MicrosoftError> {
        let path = [PHONES.as_slice(), &["operations", id]].concat();
        self.get(&path, &[]).await?.json()
    }

    /// Gives a user a policy of Teams, by its kind and id.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn assign_policy(
        &self,
        kind: &str,
        policy: &str,
        user: Uuid,
    ) -> Result<(), MicrosoftError> {
        let body = json!({ "value": [{ "userId": user, "policyType": kind, "policyId": policy }] });
        self.post(
            &["admin", "teams", "policy", "userAssignments", "assign"],
            &body,
        )
        .await
        .map(drop)
    }

    async fn change_number(
        &self,
        action: &str,
        body: &serde_json::Value,
    ) -> Result<String, MicrosoftError> {
        let path = [PHONES.as_slice(), &["numberAssignments", action]].concat();
        let answer = self.post(&path, body).await?;
        let location = answer.headers.get(reqwest::header::LOCATION);
        let operation = location
            .and_then(|location| location.to_str().ok())
            .and_then(|location| location.trim_end_matches('/').rsplit('/').next())
            .map(|last| {
                last.trim_start_matches("operations('")
                    .trim_end_matches("')")
                    .to_owned()
            });
        operation
            .filter(|id| !id.is_empty())
            .ok_or_else(|| MicrosoftError::new(Fault::Malformed, "the answer names no operation"))
    }
}
