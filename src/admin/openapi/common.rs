//! What may come of any request, whatever its route says: layers around all routes answer so.

use serde_json::Value;
use std::collections::BTreeSet;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema};

const PROBLEM: &str = "application/problem+json";

/// Describes it for every route.
pub(super) fn describe(document: &mut OpenApi) {
    loosen(document);
    for item in document.paths.paths.values_mut() {
        let all = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in all.into_iter().flatten() {
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    name_problems(response);
                }
            }
            add_common(operation);
        }
    }
}

/// RFC 9457 §3: a problem says that it is one.
fn name_problems(response: &mut Response) {
    let is_problem = |content: &RefOr<Content>| match content {
        RefOr::T(content) => match &content.schema {
            Some(RefOr::Ref(schema)) => schema.ref_location.ends_with("/Problem"),
            _ => false,
        },
        RefOr::Ref(_) => false,
    };
    let content = std::mem::take(&mut response.content);
    let named = content.into_iter().map(|(kind, content)| {
        if is_problem(&content) {
            (PROBLEM.to_owned(), content)
        } else {
            (kind, content)
        }
    });
    response.content = named.collect();
}

fn add_common(operation: &mut Operation) {
    for (status, description) in common(operation) {
        let response = operation.responses.responses.entry(status.to_owned());
        let response = response.or_insert_with(|| {
            ResponseBuilder::new()
                .description(description)
                .build()
                .into()
        });
        if let RefOr::T(response) = response {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content.insert(PROBLEM.to_owned(), problem.into());
        }
    }
}

fn common(operation: &Operation) -> Vec<(&'static str, &'static str)> {
    let mut all = vec![("503", "not now")];
    if operation.security.is_none() {
        all.push(("401", "without a token that counts"));
        all.push(("403", "not with this token"));
    }
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let is_in_path = |parameter: &_| match parameter {
        RefOr::T(utoipa::openapi::path::Parameter { parameter_in, .. }) => {
            matches!(parameter_in, ParameterIn::Path)
        }
        RefOr::Ref(_) => false,
    };
    if !parameters.is_empty() || operation.request_body.is_some() {
        all.push(("400", "not understood"));
    }
    if parameters.iter().any(is_in_path) {
        all.push(("404", "not there"));
    }
    if operation.request_body.is_some() {
        all.push(("413", "too large"));
        all.push(("415", "of another media type"));
        all.push(("422", "against a rule"));
    }
    all
}

/// Settings that know no other fields are parts of records that do: a schema of `allOf` speaks for the whole.
fn loosen(document: &mut OpenApi) {
    let mut parts = BTreeSet::new();
    let whole = serde_json::to_value(&*document).expect("a description has a JSON form");
    find_parts(&whole, &mut parts);
    let components = document.components.get_or_insert_default();
    for name in parts {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&name)
            && let Some(AdditionalProperties::FreeForm(false)) =
                object.additional_properties.as_deref()
        {
            object.additional_properties = None;
        }
    }
}

/// The names of schemas that others are put together of.
fn find_parts(value: &Value, parts: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let all_of = fields.get("allOf").and_then(Value::as_array);
            let references = all_of.into_iter().flatten();
            let names =
                references.filter_map(|part| part.get("$ref")?.as_str()?.rsplit('/').next());
            parts.extend(names.map(str::to_owned));
            for inner in fields.values() {
                find_parts(inner, parts);
            }
        }
        Value::Array(items) => {
            for item in items {
                find_parts(item, parts);
            }
        }
        _ => {}
    }
}
