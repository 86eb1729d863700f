//! The variables that OpenTelemetry's programs have in common. They hold where neither a flag nor a variable of ours nor the file
//! says something.

use super::keys;
use super::{Advised, Settings};

/// A variable, and the key that it stands for.
const VARIABLES: &[(&str, &str)] = &[("OTEL_EXPORTER_OTLP_ENDPOINT", "traces.otlp_endpoint")];

/// See [`Settings::put_standard`].
pub(super) fn put(
    settings: &mut Settings,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Advised> {
    for (name, key) in VARIABLES {
        let set = variable(name).filter(|value| !value.is_empty());
        let Some(value) = set.filter(|_| settings.get(key).is_none()) else {
            continue;
        };
        let key = keys::find(key).unwrap_or_else(|| unreachable!("a key of the table"));
        if (key.read)(&toml::Value::String(value.clone())).is_err() {
            // It is not shown: there may be a password in it.
            return Err(Advised::new(
                format!("what the variable {name} says is not usable"),
                format!(
                    "write it like {}, unset it, or say something else with --otlp-endpoint or WRENN_OTLP_ENDPOINT",
                    key.example
                ),
            ));
        }
        settings.put(key, value);
    }
    Ok(())
}
