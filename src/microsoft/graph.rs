use super::http::{Answer, Http};
use super::login::under;
use super::{Fault, Microsoft, MicrosoftError};
use crate::directory::Secret;
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// The directory of one tenant.
#[derive(Debug, Clone, Copy)]
pub struct Graph<'a> {
    base: &'a str,
    http: &'a Http,
    token: &'a Secret,
}

/// A domain of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// Its name.
    pub id: String,
    /// Whether the tenant has shown that it may use it.
    #[serde(default)]
    pub is_verified: bool,
}

/// A user of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// For ever.
    pub id: Uuid,
    /// The name to sign in.
    pub user_principal_name: String,
    /// Licences, and how they were taken.
    #[serde(default)]
    pub license_assignment_states: Vec<LicenseState>,
}

/// How a licence was taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LicenseState {
    /// Which.
    pub sku_id: Uuid,
    /// `Active` when it was.
    #[serde(default)]
    pub state: String,
    /// `None`, or `CountViolation` and the like.
    #[serde(default)]
    pub error: Option<String>,
}

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser<'a> {
    /// The name to sign in.
    pub upn: &'a str,
    /// For people.
    pub display_name: &'a str,
    /// Two letters: licences are sold by country.
    pub usage_location: &'a str,
    /// Nobody's; it is forgotten at once.
    pub password: Secret,
}

/// A licence that the tenant has bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sku {
    /// Which.
    pub id: Uuid,
    /// Its name on bills.
    pub part_number: String,
    /// Units that no user has.
    pub free: u32,
    /// Whether Teams is part of it.
    pub has_teams: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubscribedSku {
    sku_id: Uuid,
    #[serde(default)]
    sku_part_number: String,
    #[serde(default)]
    consumed_units: i64,
    prepaid_units: Option<Units>,
    #[serde(default)]
    service_plans: Vec<Plan>,
}

#[derive(Deserialize)]
struct Units {
    #[serde(default)]
    enabled: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    #[serde(default)]
    service_plan_name: String,
    #[serde(default)]
    provisioning_status: String,
}

/// A page of a list.
#[derive(Deserialize)]
struct Values<T> {
    value: Vec<T>,
}

/// A permission that somebody consented to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grant {
    consent_type: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Licenses<'a> {
    add_licenses: Vec<AddedLicense>,
    remove_licenses: &'a [Uuid],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddedLicense {
    sku_id: Uuid,
    disabled_plans: [Uuid; 0],
}

impl<'a> Graph<'a> {
    pub(super) fn new(microsoft: &'a Microsoft, token: &'a Secret) -> Self {
        Self {
            base: &microsoft.config.graph_base,
            http: &microsoft.http,
            token,
        }
    }

    /// A domain, if the tenant has it.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn domain(&self, name: &str) -> Result<Option<Domain>, MicrosoftError> {
        found(self.get(&["domains", name], &[]).await)?
            .map(|answer| answer.json())
            .transpose()
    }

    /// Gives the tenant a domain, not yet verified.
    ///
    /// # Errors
    /// [`Fault::AlreadyExists`], [`Fault::DomainInvalid`], and whatever else goes wrong.
    pub async fn create_domain(&self, name: &str) -> Result<Domain, MicrosoftError> {
        self.post(&["domains"], &json!({ "id": name }))
            .await?
            .json()
    }

    /// The text that Microsoft wants to find at the domain; none if it does not tell one.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn verification_text(&self, name: &str) -> Result<Option<String>, MicrosoftError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Record {
            #[serde(default)]
            record_type: String,
            text: Option<String>,
        }
        let path = ["domains", name, "verificationDnsRecords"];
        let records: Values<Record> = self.get(&path, &[]).await?.json()?;
        let text = records.value.into_iter().find_map(|record| {
            record
                .text
                .filter(|_| record.record_type.eq_ignore_ascii_case("txt"))
        });
        Ok(text.filter(|text| text.len() <= 255))
    }

    /// Has Microsoft look for the text.
    ///
    /// # Errors
    /// [`Fault::DnsNotSeen`] while it is not seen, [`Fault::DomainInOtherTenant`], and whatever else goes wrong.
    pub async fn verify_domain(&self, name: &str) -> Result<Domain, MicrosoftError> {
        let answer = self.post(&["domains", name, "verify"], &Value::Null).await;
        let domain: Domain = answer
            .map_err(|error| match error.fault {
                Fault::BadRequest | Fault::DomainInvalid => error.seen_as(Fault::DnsNotSeen),
                _ => error,
            })?
            .json()?;
        Ok(domain)
    }

    /// A user by the name to sign in.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn user(&self, upn: &str) -> Result<Option<User>, MicrosoftError> {
        let select = [("$select", "id,userPrincipalName,licenseAssignmentStates")];
        found(self.get(&["users", upn], &select).await)?
            .map(|answer| answer.json())
            .transpose()
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`Fault::AlreadyExists`], [`Fault::DomainNotReady`], and whatever else goes wrong.
    pub async fn create_user(&self, new: &NewUser<'_>) -> Result<User, MicrosoftError> {
        let nickname = new.upn.split('@').next().unwrap_or_default();
        let body = json!({
            "accountEnabled": true,
            "displayName": new.display_name,
            "mailNickname": nickname,
            "userPrincipalName": new.upn,
            "usageLocation": new.usage_location,
            "passwordProfile": { "forceChangePasswordNextSignIn": false, "password": new.password.expose() },
        });
        self.post(&["users"], &body).await?.json()
    }

    /// The licences that the tenant has bought.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn skus(&self) -> Result<Vec<Sku>, MicrosoftError> {
        let skus: Values<SubscribedSku> = self.get(&["subscribedSkus"], &[]).await?.json()?;
        Ok(skus.value.into_iter().map(Sku::from).collect())
    }

    /// Gives a user licences and takes others away.
    ///
    /// # Errors
    /// [`Fault::NoLicense`], [`Fault::UsageLocation`], and whatever else goes wrong.
    pub async fn assign_license(
        &self,
        user: Uuid,
        add: &[Uuid],
        remove: &[Uuid],
    ) -> Result<(), MicrosoftError> {
        let added = |sku_id: &Uuid| AddedLicense {
            sku_id: *sku_id,
            disabled_plans: [],
        };
        let body = Licenses {
            add_licenses: add.iter().map(added).collect(),
            remove_licenses: remove,
        };
        let user = user.to_string();
        self.post(&["users", &user, "assignLicense"], &body)
            .await
            .map(drop)
    }

    /// Our application as it is known in this tenant; none if nobody consented to anything.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn service_principal(
        &self,
        client_id: &str,
    ) -> Result<Option<String>, MicrosoftError> {
        let filter = format!("appId eq '{}'", client_id.replace('\'', "''"));
        let found: Values<Id> = self
            .get(&["servicePrincipals"], &[("$filter", &filter)])
            .await?
            .json()?;
        Ok(found.value.into_iter().next().map(|principal| principal.id))
    }

    /// Whether delegated permissions were given to it for everybody in the organisation.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn is_granted_for_all(&self, principal: &str) -> Result<bool, MicrosoftError> {
        let filter = format!("clientId eq '{}'", principal.replace('\'', "''"));
        let grants: Values<Grant> = self
            .get(&["oauth2PermissionGrants"], &[("$filter", &filter)])
            .await?
            .json()?;
        Ok(grants
            .value
            .iter()
            .any(|grant| grant.consent_type == "AllPrincipals"))
    }

    /// Whether application permissions were given to it, which are for the whole organisation by their nature.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub async fn has_application_roles(&self, principal: &str) -> Result<bool, MicrosoftError> {
        let path = ["servicePrincipals", principal, "appRoleAssignments"];
        let roles: Values<Value> = self.get(&path, &[]).await?.json()?;
        Ok(!roles.value.is_empty())
    }

    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, MicrosoftError> {
        let mut url = under(
            self.base,
            std::iter::once("v1.0").chain(path.iter().copied()),
        )?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.http.get(url.as_str())).await
    }

    pub(super) async fn post(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<Answer, MicrosoftError> {
        let url = under(
            self.base,
            std::iter::once("v1.0").chain(path.iter().copied()),
        )?;
        let request = self.http.post(url.as_str());
        let body = serde_json::to_value(body).unwrap_or_default();
        let request = if body.is_null() {
            request.header(reqwest::header::CONTENT_LENGTH, 0)
        } else {
            request.json(&body)
        };
        self.send(request).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, MicrosoftError> {
        let answer = self
            .http
            .send(request.bearer_auth(self.token.expose()))
            .await?;
        if answer.is_success() {
            return Ok(answer);
        }
        Err(MicrosoftError::from_graph(
            answer.status,
            &answer.headers,
            &answer.body,
        ))
    }
}

impl Answer {
    /// A list's items.
    pub(super) fn values<T: DeserializeOwned>(&self) -> Result<Vec<T>, MicrosoftError> {
        self.json::<Values<T>>().map(|page| page.value)
    }
}

impl From<SubscribedSku> for Sku {
    fn from(sku: SubscribedSku) -> Self {
        let bought = sku.prepaid_units.map_or(0, |units| units.enabled);
        let is_teams = |plan: &Plan| {
            plan.service_plan_name
                .to_ascii_uppercase()
                .starts_with("TEAMS")
                && plan.provisioning_status.eq_ignore_ascii_case("success")
        };
        Self {
            id: sku.sku_id,
            part_number: sku.sku_part_number,
            free: u32::try_from((bought - sku.consumed_units).max(0)).unwrap_or(u32::MAX),
            has_teams: sku.service_plans.iter().any(is_teams),
        }
    }
}

/// What is not there is no error.
fn found(answer: Result<Answer, MicrosoftError>) -> Result<Option<Answer>, MicrosoftError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.fault == Fault::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
