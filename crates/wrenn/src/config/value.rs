//! How values of the file are read: by the types that their flags have, so that what is refused on the command line is
//! refused here.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use toml::Value;
use tracing_subscriber::EnvFilter;

/// Why a value is not taken.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is of another kind than this one.
    Kind(&'static str),
    /// It is of the right kind and says what cannot be.
    Value(String),
}

/// What a value says, as the flag would be given it: one value or several.
pub(super) type Read = fn(&Value) -> Result<Vec<String>, Wrong>;

/// A text that is a `T`.
pub(super) fn text<T>(value: &Value) -> Result<Vec<String>, Wrong>
where
    T: FromStr<Err: Display>,
{
    let text = value.as_str().ok_or(Wrong::Kind("a text in quotes"))?;
    parsed::<T>(text).map(|text| vec![text])
}

/// A number that is a `T`, as a `T` is written.
pub(super) fn number<T>(value: &Value) -> Result<Vec<String>, Wrong>
where
    T: FromStr<Err: Display> + Display,
{
    let text = match value {
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        _ => return Err(Wrong::Kind("a number without quotes")),
    };
    match text.parse::<T>() {
        Ok(number) => Ok(vec![number.to_string()]),
        Err(error) => Err(Wrong::Value(error.to_string())),
    }
}

/// A list of texts, each of which is a `T`.
pub(super) fn list<T>(value: &Value) -> Result<Vec<String>, Wrong>
where
    T: FromStr<Err: Display>,
{
    let kind = || Wrong::Kind("a list of texts in brackets");
    let texts = value.as_array().ok_or_else(kind)?.iter();
    texts
        .map(|text| parsed::<T>(text.as_str().ok_or_else(kind)?))
        .collect()
}

/// Yes or no.
pub(super) fn switch(value: &Value) -> Result<Vec<String>, Wrong> {
    let on = value.as_bool().ok_or(Wrong::Kind("true or false"))?;
    Ok(vec![on.to_string()])
}

/// The path of a file or folder: a file has no current directory that it could begin from.
pub(super) fn path(value: &Value) -> Result<Vec<String>, Wrong> {
    let path = text::<String>(value)?;
    if path.iter().all(|path| Path::new(path).is_absolute()) {
        Ok(path)
    } else {
        Err(Wrong::Value("it does not begin with /".to_owned()))
    }
}

/// The address of a server.
pub(super) fn url(value: &Value) -> Result<Vec<String>, Wrong> {
    let url = text::<String>(value)?;
    for url in &url {
        wrenn_client::Client::new(url, None).map_err(|error| Wrong::Value(error.to_string()))?;
    }
    Ok(url)
}

/// What to log.
pub(super) fn filter(value: &Value) -> Result<Vec<String>, Wrong> {
    text::<EnvFilter>(value)
}

fn parsed<T>(text: &str) -> Result<String, Wrong>
where
    T: FromStr<Err: Display>,
{
    if text.is_empty() {
        return Err(Wrong::Value("it is empty".to_owned()));
    }
    match text.parse::<T>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Wrong::Value(error.to_string())),
    }
}
