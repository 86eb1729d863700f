//! Whole numbers of a request.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// A whole number or `null`. JSON knows numbers and no kinds of them: `6.0` is as whole as `6`, and some languages write
/// nothing else.
pub(crate) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    from.deserialize_any(Whole)
}

/// A whole number.
pub(crate) fn required<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let number = from.deserialize_any(Whole)?;
    number.ok_or_else(|| D::Error::invalid_type(Unexpected::Unit, &Whole))
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let signed = i64::try_from(number);
        let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
        signed.map(Some).map_err(|_| wrong())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        // Beyond 2^53 nobody knows which whole number was meant.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() != 0.0 || number.abs() > EXACT {
            return Err(E::invalid_value(Unexpected::Float(number), &self));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole, and within bounds"
        )]
        Ok(Some(number as i64))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Given {
        #[serde(default, deserialize_with = "super::optional")]
        n: Option<i64>,
    }

    fn read(json: &str) -> Result<Option<i64>, serde_json::Error> {
        serde_json::from_str::<Given>(json).map(|given| given.n)
    }

    #[test]
    fn what_is_whole_is_read_however_it_is_written() {
        for (json, number) in [
            ("{}", None),
            (r#"{"n":null}"#, None),
            (r#"{"n":6}"#, Some(6)),
            (r#"{"n":6.0}"#, Some(6)),
            (r#"{"n":-0.0}"#, Some(0)),
            (r#"{"n":6e2}"#, Some(600)),
            (r#"{"n":-9223372036854775808}"#, Some(i64::MIN)),
        ] {
            assert_eq!(read(json).unwrap(), number, "{json}");
        }
    }

    #[test]
    fn what_is_not_is_refused() {
        for json in [
            r#"{"n":6.5}"#,
            r#"{"n":1e30}"#,
            r#"{"n":9223372036854775808}"#,
            r#"{"n":"6"}"#,
            r#"{"n":true}"#,
            r#"{"n":[6]}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
