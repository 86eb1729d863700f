//! Examples of what the document's schemas say: its own, and beside them whatever keeps the schema.

use serde_json::{Map, Value, json};

use super::document::{DOCUMENT, Document};

/// How much of what a schema allows is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All that may be there.
    Whole,
    /// What has to be there, and nothing else.
    Bare,
}

/// For texts whose schema has no example of its own. Where none fits, the document has to have one.
const TEXTS: [&str; 5] = ["text", "/tmp/text", "1.1.1.0/24", "Y", ""];

impl Document {
    /// An example of the schema of this name.
    pub(crate) fn example_of(&self, name: &str, shape: Shape) -> Value {
        self.example(self.schema(name), shape)
    }

    /// An example of a schema, which keeps it.
    pub(crate) fn example(&self, schema: &Value, shape: Shape) -> Value {
        let example = Maker { shape }.make(schema, None);
        if let Err(wrong) = self.check(schema, &example) {
            panic!("no example of {schema} could be made, but {example}: {wrong}");
        }
        example
    }
}

struct Maker {
    shape: Shape,
}

impl Maker {
    /// `hint` is what the example of the whole has in its place.
    fn make(&self, schema: &Value, hint: Option<&Value>) -> Value {
        let hint = schema.get("example").or(hint);
        if schema.get("$ref").is_some() {
            return self.make(DOCUMENT.resolved(schema), hint);
        }
        if let Some(all) = schema["allOf"].as_array() {
            let parts = all.iter().map(|part| self.make(part, hint));
            return parts.fold(json!({}), |mut whole, part| {
                let part = part.as_object().unwrap().clone();
                whole.as_object_mut().unwrap().extend(part);
                whole
            });
        }
        if let Some(either) = schema["oneOf"].as_array() {
            return self.make(&either[0], hint);
        }
        if let Some(choices) = schema["enum"].as_array() {
            let choice = match self.shape {
                Shape::Whole => choices.first(),
                Shape::Bare => choices.last(),
            };
            return choice.unwrap().clone();
        }
        let kind = schema["type"].as_array().map_or(&schema["type"], |kinds| {
            kinds.iter().find(|kind| *kind != "null").unwrap()
        });
        match kind.as_str() {
            Some("object") if schema.get("properties").is_some() => self.object(schema, hint),
            Some("object") => hint.cloned().unwrap_or_else(
                || json!({ "name": self.make(&schema["additionalProperties"], None) }),
            ),
            Some("array") => {
                let hint = hint.and_then(|hint| hint.get(0));
                json!([self.make(&schema["items"], hint)])
            }
            // One says more than the other only where it is not what holds when nothing is said.
            Some("boolean") => json!(self.shape == Shape::Whole),
            Some("integer" | "number") => hint.cloned().unwrap_or_else(|| {
                let at_least = schema["minimum"].as_i64().unwrap_or(7);
                json!(at_least.max(7).min(schema["maximum"].as_i64().unwrap_or(7)))
            }),
            Some("string") => hint.cloned().unwrap_or_else(|| text(schema)),
            other => {
                panic!("the document has something that is not known here: {other:?} in {schema}")
            }
        }
    }

    fn object(&self, schema: &Value, hint: Option<&Value>) -> Value {
        let required = schema["required"].as_array();
        let is_there = |name: &str| {
            self.shape == Shape::Whole
                || required.is_some_and(|required| required.iter().any(|needed| needed == name))
        };
        let properties = schema["properties"].as_object().unwrap().iter();
        let there = properties.filter(|(name, _)| is_there(name));
        let made = there.map(|(name, schema)| {
            let hint = hint.and_then(|hint| hint.get(name));
            (name.clone(), self.make(schema, hint))
        });
        Value::Object(made.collect::<Map<_, _>>())
    }
}

fn text(schema: &Value) -> Value {
    let mut fitting = TEXTS.iter().map(|text| json!(text));
    fitting
        .find(|text| DOCUMENT.check(schema, text).is_ok())
        .unwrap_or_else(|| panic!("the document has no example of {schema}"))
}
