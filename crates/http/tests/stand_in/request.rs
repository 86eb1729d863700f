//! A request against the document: the route, the parameters, the body.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Multipart, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, Uri};
use serde_json::{Map, Value, json};

use super::document::{DOCUMENT, Operation};

/// Headers that are HTTP's, or a WebSocket's, and need no word in the document.
const OF_HTTP: [&str; 10] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "sec-websocket-key",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
    // The document has it among its security schemes.
    "x-api-key",
];

/// A request that keeps to the document.
pub(crate) struct Kept {
    pub(crate) operation: Operation<'static>,
    /// What it carried: JSON, or a form's parts.
    pub(crate) body: Option<Value>,
}

/// What a request asks by the document, or how it breaks it.
pub(crate) async fn check(parts: &Parts, body: Bytes) -> Result<Kept, String> {
    let operation = operation(parts)?;
    query(operation, &parts.uri)?;
    headers(operation, &parts.headers)?;
    let body = content(operation, parts, body).await?;
    Ok(Kept { operation, body })
}

fn operation(parts: &Parts) -> Result<Operation<'static>, String> {
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let mut wrong = format!("the document has no {method} {path}");
    for operation in DOCUMENT.operations() {
        if !operation.method.eq_ignore_ascii_case(method) {
            continue;
        }
        match named(operation, path) {
            Some(Ok(())) => return Ok(operation),
            Some(Err(other)) => wrong = other,
            None => {}
        }
    }
    Err(wrong)
}

/// Whether a path is this operation's, and if so, whether it names what it names well.
fn named(operation: Operation<'_>, path: &str) -> Option<Result<(), String>> {
    let (wanted, given) = (operation.path.split('/'), path.split('/'));
    if wanted.clone().count() != given.clone().count() {
        return None;
    }
    let mut wrong = Ok(());
    for (wanted, given) in wanted.zip(given) {
        let Some(name) = wanted.strip_prefix('{') else {
            if wanted != given {
                return None;
            }
            continue;
        };
        let name = name.trim_end_matches('}');
        let mut parameters = operation.parameters("path");
        let parameter = parameters
            .find(|parameter| parameter["name"] == name)
            .unwrap();
        wrong = wrong.and(typed(parameter, vec![given.to_owned()]));
    }
    Some(wrong)
}

/// Whether what was given for a parameter is of its type.
fn typed(parameter: &Value, mut given: Vec<String>) -> Result<(), String> {
    let schema = DOCUMENT.resolved(&parameter["schema"]);
    let value = if schema["type"] == "array" {
        json!(given)
    } else {
        let text = given.pop().filter(|_| given.is_empty());
        let text = text.ok_or_else(|| format!("{} is there twice", parameter["name"]))?;
        match schema["type"].as_str() {
            Some("integer") => text
                .parse::<i64>()
                .map_or_else(|_| json!(text), |it| json!(it)),
            Some("boolean") => text
                .parse::<bool>()
                .map_or_else(|_| json!(text), |it| json!(it)),
            _ => json!(text),
        }
    };
    let checked = DOCUMENT.check(schema, &value);
    checked.map_err(|wrong| format!("{}: {wrong}", parameter["name"]))
}

fn query(operation: Operation<'_>, uri: &Uri) -> Result<(), String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| format!("its query cannot be read: {error}"))?;
    let of = |wanted: &str| {
        let of = pairs.iter().filter(|(name, _)| name == wanted);
        of.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    for (name, _) in &pairs {
        if !operation
            .parameters("query")
            .any(|known| known["name"] == *name)
        {
            return Err(format!("{operation} knows no {name} in its query"));
        }
    }
    for parameter in operation.parameters("query") {
        let given = of(parameter["name"].as_str().unwrap());
        if !given.is_empty() {
            typed(parameter, given)?;
        } else if parameter["required"] == true {
            return Err(format!("{operation} needs {}", parameter["name"]));
        }
    }
    Ok(())
}

fn headers(operation: Operation<'_>, headers: &HeaderMap) -> Result<(), String> {
    let open = operation.said["security"] == json!([{}]);
    if !open && !headers.contains_key("x-api-key") {
        return Err(format!("{operation} needs a key"));
    }
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    for name in headers
        .keys()
        .filter(|name| !OF_HTTP.contains(&name.as_str()))
    {
        let mut parameters = operation.parameters("header");
        let named = |parameter: &&Value| {
            let known = parameter["name"].as_str().unwrap();
            known.eq_ignore_ascii_case(name.as_str())
        };
        let parameter = parameters
            .find(named)
            .ok_or_else(|| format!("{operation} knows no header {name}"))?;
        typed(parameter, headers.get_all(name).iter().map(text).collect())?;
    }
    Ok(())
}

async fn content(
    operation: Operation<'_>,
    parts: &Parts,
    body: Bytes,
) -> Result<Option<Value>, String> {
    let said = &operation.said["requestBody"];
    if body.is_empty() {
        return match said["required"] == true {
            true => Err(format!("{operation} needs a body")),
            false => Ok(None),
        };
    }
    let kind = parts.headers.get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().to_owned();
    let schema = said["content"].get(&kind).map(|content| &content["schema"]);
    let schema = schema.ok_or_else(|| format!("{operation} takes no {kind:?}"))?;
    let value = match kind.as_str() {
        "multipart/form-data" => form(parts, body).await?,
        _ => serde_json::from_slice(&body).map_err(|error| format!("{operation}: {error}"))?,
    };
    let checked = DOCUMENT.check(schema, &value);
    checked.map_err(|wrong| format!("the body of {operation}: {wrong}"))?;
    Ok(Some(value))
}

/// The parts of a form, as texts.
async fn form(parts: &Parts, body: Bytes) -> Result<Value, String> {
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = parts.headers.clone();
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| error.to_string())?;
    let mut read = Map::new();
    while let Some(part) = form.next_field().await.map_err(|error| error.to_string())? {
        let name = part.name().unwrap_or_default().to_owned();
        // Its route reads it as it comes, and has to know where to by then: no schema has a word for that.
        if read.contains_key("file") {
            return Err(format!("the part {name} comes after the file"));
        }
        let text = part.text().await.map_err(|error| error.to_string())?;
        read.insert(name, Value::String(text));
    }
    Ok(Value::Object(read))
}
