mod common;

use super::error::Problem;
use super::{
    Admin, action_items, activate, activation, alarms, announcements, audit, calls, catalogues,
    cdrs, co_management, consent, customers, devices, diagnosis, docs, events, gateways, health,
    invitations, invite, ladder, media, music, numbers, oidc, partners, pbxs, portable, regions,
    registrations, services, session, sync, tables, trunks, upgrades, users, why,
};
use axum::Json;
use axum::extract::DefaultBodyLimit;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, Schema};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Tollgate",
        description = "Provisioning and operation of the Tollgate session border controller. Every write takes effect \
                       at once, but for numbers and users, which wait for the customer's Sync; `Tollgate-Generation` \
                       names the directory by which calls obey it. Errors are problems \
                       (RFC 9457). PATCH takes a merge patch (RFC 7396); PATCH and DELETE need `If-Match`. A POST may \
                       carry an `Idempotency-Key`, which is remembered for a day."
    ),
    components(schemas(Problem)),
    modifiers(&Bearer),
    security(("bearer" = []))
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`tg_…`"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The description of the API.
pub fn openapi() -> OpenApi {
    let mut document = documented().into_openapi();
    describe_patches(&mut document);
    common::describe(&mut document);
    document
}

/// A merge patch names only what changes: in its schema nothing is required.
fn describe_patches(document: &mut OpenApi) {
    const KIND: &str = "application/merge-patch+json";
    let components = document.components.get_or_insert_default();
    let changes = document
        .paths
        .paths
        .values_mut()
        .filter_map(|item| item.patch.as_mut());
    for body in changes.filter_map(|operation| operation.request_body.as_mut()) {
        let RefOr::T(body) = body else { continue };
        let Some(RefOr::T(mut content)) = body.content.remove("application/json") else {
            continue;
        };
        if let Some(RefOr::Ref(whole)) = &content.schema {
            let name = whole
                .ref_location
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            let patch = format!("{name}Patch");
            if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get(&name) {
                let mut object = object.clone();
                object.required.clear();
                components
                    .schemas
                    .insert(patch.clone(), Schema::Object(object).into());
                content.schema = Some(Ref::from_schema_name(patch).into());
            }
        }
        body.content.insert(KIND.to_owned(), content.into());
    }
}

/// All routes, each with its description.
pub(super) fn documented() -> OpenApiRouter<Admin> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(document))
        .routes(routes!(docs::index))
        .routes(routes!(docs::file))
        .routes(routes!(session::show, session::sign_in, session::sign_out))
        .routes(routes!(portable::export))
        .routes(whole_files(routes!(portable::import)))
        .routes(routes!(oidc::begin))
        .routes(routes!(oidc::callback))
        .routes(routes!(regions::list, regions::create))
        .routes(routes!(regions::show, regions::change, regions::delete))
        .routes(routes!(partners::list, partners::create))
        .routes(routes!(partners::show, partners::change, partners::delete))
        .routes(routes!(partners::invite))
        .routes(routes!(activate::show, activate::activate))
        .routes(routes!(
            catalogues::list_pbx_types,
            catalogues::create_pbx_type
        ))
        .routes(routes!(
            catalogues::show_pbx_type,
            catalogues::change_pbx_type
        ))
        .routes(routes!(catalogues::list_license_types))
        .routes(routes!(customers::list, customers::create))
        .routes(routes!(
            customers::show,
            customers::change,
            customers::delete
        ))
        .routes(routes!(customers::disable))
        .routes(routes!(customers::enable))
        .routes(routes!(customers::channels))
        .routes(routes!(customers::suggest_channels))
        .routes(routes!(
            co_management::show,
            co_management::put,
            co_management::delete
        ))
        .routes(routes!(cdrs::list_of_customer))
        .routes(routes!(gateways::list, gateways::create))
        .routes(routes!(gateways::show, gateways::change, gateways::delete))
        .routes(routes!(
            activation::show,
            activation::choose,
            activation::start,
            activation::cancel
        ))
        .routes(routes!(activation::show_script))
        .routes(routes!(consent::callback))
        .routes(routes!(numbers::list, numbers::create))
        .routes(routes!(tables::of_numbers))
        .routes(routes!(numbers::show, numbers::change, numbers::delete))
        .routes(routes!(numbers::list_inventory, numbers::stock))
        .routes(routes!(numbers::discard))
        .routes(routes!(sync::show, sync::begin))
        .routes(routes!(events::list))
        .routes(routes!(action_items::list))
        .routes(routes!(sync::list_jobs))
        .routes(routes!(sync::show_job))
        .routes(routes!(sync::show_task, sync::cancel_task))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::create_many))
        .routes(routes!(tables::of_users))
        .routes(routes!(users::show, users::change, users::delete))
        .routes(routes!(users::suggest))
        .routes(routes!(devices::models::catalogue))
        .routes(routes!(devices::models::list, devices::models::add))
        .routes(routes!(devices::models::remove))
        .routes(routes!(devices::list, devices::create))
        .routes(routes!(devices::bulk::create))
        .routes(routes!(devices::show, devices::change, devices::delete))
        .routes(routes!(devices::report::show))
        .routes(routes!(
            devices::actions::show_code,
            devices::actions::regenerate_code
        ))
        .routes(routes!(devices::actions::reboot))
        .routes(routes!(devices::actions::deactivate))
        .routes(routes!(devices::actions::swap))
        .routes(routes!(devices::actions::resend_welcome))
        .routes(routes!(services::list, services::create))
        .routes(routes!(services::show, services::change, services::delete))
        .routes(routes!(pbxs::list, pbxs::create))
        .routes(routes!(pbxs::show, pbxs::change, pbxs::delete))
        .routes(routes!(registrations::list, registrations::create))
        .routes(routes!(
            registrations::show,
            registrations::change,
            registrations::delete
        ))
        .routes(routes!(registrations::restart))
        .routes(routes!(upgrades::show, upgrades::enter, upgrades::begin))
        .routes(routes!(invitations::list, invitations::create))
        .routes(routes!(invitations::show, invitations::revoke))
        .routes(routes!(invitations::resend))
        .routes(routes!(invitations::validate))
        .routes(routes!(invite::show, invite::give_code))
        .routes(routes!(invite::start))
        .routes(routes!(invite::go_on))
        .routes(routes!(trunks::list, trunks::create))
        .routes(routes!(trunks::show, trunks::change, trunks::delete))
        .routes(routes!(trunks::list_shared, trunks::create_shared))
        .routes(routes!(
            trunks::show_shared,
            trunks::change_shared,
            trunks::delete_shared
        ))
        .routes(files(routes!(music::show, music::put, music::delete)))
        .routes(routes!(music::hear))
        .routes(files(routes!(
            music::show_partner,
            music::put_partner,
            music::delete_partner
        )))
        .routes(routes!(music::hear_partner))
        .routes(files(routes!(
            announcements::show,
            announcements::put,
            announcements::delete
        )))
        .routes(routes!(announcements::hear))
        .routes(routes!(calls::list))
        .routes(routes!(calls::show, calls::hang_up))
        .routes(routes!(media::show))
        .routes(routes!(why::show))
        .routes(routes!(ladder::show))
        .routes(routes!(cdrs::list))
        .routes(routes!(audit::list))
        .routes(routes!(alarms::list))
        .routes(routes!(diagnosis::show))
}

/// Routes that take files.
fn files(routes: UtoipaMethodRouter<Admin>) -> UtoipaMethodRouter<Admin> {
    routes.layer(DefaultBodyLimit::max(music::FILE_LIMIT))
}

/// A route that takes all of the configuration at once.
fn whole_files(routes: UtoipaMethodRouter<Admin>) -> UtoipaMethodRouter<Admin> {
    routes.layer(DefaultBodyLimit::max(portable::FILE_LIMIT))
}

/// This document
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health", security(()), responses((status = 200, content_type = "application/json")))]
async fn document() -> Json<OpenApi> {
    Json(openapi())
}
