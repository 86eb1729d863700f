//! The document, as something to ask: which operation a request is, and whether a value is what a schema says.

use std::sync::LazyLock;

use jsonschema::draft202012;
use serde_json::{Map, Value, json};

/// The document that the handlers make.
pub(crate) static DOCUMENT: LazyLock<Document> = LazyLock::new(|| Document {
    root: serde_json::from_str(wrenn_http::document::json()).unwrap(),
});

pub(crate) struct Document {
    root: Value,
}

/// One operation of the document.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) said: &'a Value,
}

impl std::fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method.to_uppercase(), self.path)
    }
}

impl Document {
    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.root["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, item)| {
            let item = item.as_object().unwrap().iter();
            item.map(move |(method, said)| Operation { method, path, said })
        })
    }

    /// The operation of this method and route.
    pub(crate) fn operation(&self, named: &str) -> Option<Operation<'_>> {
        self.operations()
            .find(|operation| operation.to_string() == named)
    }

    /// What a reference means, or what stands in its place.
    pub(crate) fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        match part["$ref"].as_str() {
            Some(place) => self.root.pointer(place.trim_start_matches('#')).unwrap(),
            None => part,
        }
    }

    /// The schema of this name.
    pub(crate) fn schema(&self, name: &str) -> &Value {
        let schema = self.root["components"]["schemas"].get(name);
        schema.unwrap_or_else(|| panic!("the document has no schema {name}"))
    }

    /// Whether a value is what a schema says, formats and all.
    pub(crate) fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        // What it refers to lies where its references look for it.
        let whole = json!({ "allOf": [schema], "components": self.root["components"] });
        let validator = draft202012::options()
            .should_validate_formats(true)
            .with_format("ipv4-range", |text| {
                text.parse::<wrenn_model::Subnet>().is_ok()
            })
            .build(&whole)
            .unwrap();
        let wrong: Vec<_> = validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(wrong.join("; "))
    }
}

impl<'a> Operation<'a> {
    /// Its parameters of one kind.
    pub(crate) fn parameters(self, place: &'static str) -> impl Iterator<Item = &'a Value> {
        let all = self.said["parameters"].as_array().into_iter().flatten();
        all.filter(move |parameter| parameter["in"] == place)
    }

    /// The document's own example of a parameter, as text.
    pub(crate) fn example(self, place: &'static str, name: &str) -> Option<String> {
        let named = |parameter: &&Value| parameter["name"] == name;
        Some(match &self.parameters(place).find(named)?["example"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// What stands in the braces of its path, if there are any.
    pub(crate) fn named(self) -> String {
        let parameter = self.parameters("path").next();
        let name = parameter.and_then(|parameter| parameter["name"].as_str());
        name.and_then(|name| self.example("path", name))
            .unwrap_or_default()
    }

    /// The schemas of the bodies that it takes, by their types.
    pub(crate) fn bodies(self) -> Option<&'a Map<String, Value>> {
        self.said["requestBody"]["content"].as_object()
    }

    /// The schema of the body that it takes, of whichever type.
    pub(crate) fn body(self) -> Option<&'a Value> {
        self.bodies()?.values().next().map(|body| &body["schema"])
    }

    /// The statuses of its answers, good ones or refusals.
    pub(crate) fn statuses(self, refused: bool) -> impl Iterator<Item = u16> {
        let all = self.said["responses"].as_object().unwrap().keys();
        all.map(|status| status.parse::<u16>().unwrap())
            .filter(move |status| (*status >= 400) == refused)
    }

    /// What the document says of the answer with this status.
    pub(crate) fn answer(self, status: u16) -> &'a Value {
        DOCUMENT.resolved(&self.said["responses"][status.to_string()])
    }

    /// The codes that a refusal with this status may have.
    pub(crate) fn codes(self, status: u16) -> Vec<&'a str> {
        let told = self.answer(status)["description"].as_str().unwrap();
        let codes: Vec<_> = told.split('`').skip(1).step_by(2).collect();
        assert!(!codes.is_empty(), "{self}: {status} names no code: {told}");
        codes
    }
}
