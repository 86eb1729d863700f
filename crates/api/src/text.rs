//! Texts with a rule that no type of Rust's shows, as the document writes them. What checks them is `check`; where a rule
//! counts bytes, the document has as many characters: more would be too many in any encoding.

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::limits;

/// No NUL character, of which neither Linux nor PostgreSQL would take any.
const NO_NUL: &str = r"^[^\x00]*$";

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
}

fn pairs(names: ObjectBuilder, values: ObjectBuilder, most: usize) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(names.build()))
        .additional_properties(Some(values))
        .max_properties(Some(most))
        .into()
}

/// One argument of a command.
pub(crate) enum Argument {}

impl PartialSchema for Argument {
    fn schema() -> RefOr<Schema> {
        text(NO_NUL)
            .description(Some("An argument of a command, of up to 131071 bytes."))
            .into()
    }
}

impl ToSchema for Argument {}

/// A caller's labels.
pub(crate) enum Labels {}

impl PartialSchema for Labels {
    fn schema() -> RefOr<Schema> {
        let names = text(r"^[^=\x00]+$").max_length(Some(limits::METADATA_KEY_BYTES));
        let values = text(NO_NUL).max_length(Some(limits::METADATA_VALUE_BYTES));
        pairs(names, values, limits::METADATA_PAIRS)
    }
}

impl ToSchema for Labels {}

/// Environment variables.
pub(crate) enum Variables {}

impl PartialSchema for Variables {
    fn schema() -> RefOr<Schema> {
        let names = text("^[A-Za-z_][A-Za-z0-9_]*$").max_length(Some(limits::ENV_NAME_BYTES));
        pairs(names, text(NO_NUL), limits::ENV_PAIRS)
    }
}

impl ToSchema for Variables {}

/// A range of IPv4 addresses.
pub(crate) enum AddressRange {}

impl PartialSchema for AddressRange {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::Custom("ipv4-range".to_owned())))
            .description(Some(
                "An IPv4 address, or a range of them with no bit set behind its prefix: `1.1.1.0/24`.",
            ))
            .into()
    }
}

impl ToSchema for AddressRange {}
