//! Checks that several requests share. Each answers with a fault that names the field and the rule.

use std::collections::BTreeMap;

use wrenn_model::{ErrorKind, Fault};

use crate::limits;

/// A refusal of the request itself.
pub(crate) fn refuse(message: impl Into<String>, remedy: impl Into<String>) -> Fault {
    Fault::new(ErrorKind::InvalidRequest, message, remedy)
}

/// A path in the guest: absolute, without NUL, no longer than Linux allows.
///
/// # Errors
/// `invalid_request`, naming the rule that it breaks.
pub fn absolute_path(path: &str) -> Result<(), Fault> {
    if !path.starts_with('/') {
        return Err(refuse(
            "the path is not absolute",
            "give a path that begins with \"/\"",
        ));
    }
    no_nul("path", path)?;
    at_most("path", path, limits::PATH_BYTES)
}

/// The name of a user in the guest.
///
/// # Errors
/// `invalid_request`, naming the rule that it breaks.
pub fn user_name(user: &str) -> Result<(), Fault> {
    at_most("user", user, limits::USER_BYTES)?;
    if user.is_empty() || user.contains(|c: char| c.is_control() || matches!(c, ':' | '/')) {
        return Err(refuse(
            "user is no user name",
            "name a user of the guest, or leave it out for root",
        ));
    }
    Ok(())
}

/// What Linux takes as a host name: one label of RFC 1123.
pub(crate) fn hostname(name: &str) -> Result<(), Fault> {
    let valid = (1..=limits::HOSTNAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if valid {
        return Ok(());
    }
    Err(refuse(
        "hostname is no host name",
        "use 1 to 63 letters, digits and \"-\", neither beginning nor ending with \"-\"",
    ))
}

/// Labels: few, short, and no NUL in them, since databases differ about it.
pub(crate) fn metadata(pairs: &BTreeMap<String, String>) -> Result<(), Fault> {
    if pairs.len() > limits::METADATA_PAIRS {
        return Err(refuse(
            format!("metadata has {} pairs", pairs.len()),
            format!("give at most {}", limits::METADATA_PAIRS),
        ));
    }
    for (key, value) in pairs {
        if key.is_empty() {
            return Err(refuse(
                "metadata has a pair without a name",
                "give every pair a name",
            ));
        }
        // A filter is written `key=value`.
        if key.contains('=') {
            return Err(refuse(
                "a metadata name contains \"=\"",
                "leave \"=\" out of names",
            ));
        }
        no_nul("metadata", key)?;
        no_nul("metadata", value)?;
        at_most("a metadata name", key, limits::METADATA_KEY_BYTES)?;
        at_most("a metadata value", value, limits::METADATA_VALUE_BYTES)?;
    }
    Ok(())
}

/// Environment variables with names that any shell can use.
pub(crate) fn envs(pairs: &BTreeMap<String, String>) -> Result<(), Fault> {
    if pairs.len() > limits::ENV_PAIRS {
        return Err(refuse(
            format!("envs has {} variables", pairs.len()),
            format!("give at most {}", limits::ENV_PAIRS),
        ));
    }
    for (name, value) in pairs {
        let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !valid {
            return Err(refuse(
                "envs has a name that is no variable's",
                "use letters, digits and \"_\", not beginning with a digit",
            ));
        }
        no_nul("envs", value)?;
        at_most("a variable's name", name, limits::ENV_NAME_BYTES)?;
        at_most("a variable's value", value, limits::ENV_VALUE_BYTES)?;
    }
    let total: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if total > limits::ENV_TOTAL_BYTES {
        return Err(refuse(
            format!("envs has {total} bytes"),
            format!(
                "give at most {} bytes of names and values",
                limits::ENV_TOTAL_BYTES
            ),
        ));
    }
    Ok(())
}

/// What execve takes: a command, its arguments, a folder.
pub(crate) fn command(cmd: &str, args: &[String], cwd: Option<&str>) -> Result<(), Fault> {
    if cmd.is_empty() {
        return Err(refuse("cmd is empty", "name the program to run"));
    }
    no_nul("cmd", cmd)?;
    at_most("cmd", cmd, limits::PATH_BYTES)?;
    if args.len() > limits::ARGS {
        return Err(refuse(
            format!("args has {} entries", args.len()),
            format!("give at most {}, or write them to a file", limits::ARGS),
        ));
    }
    for arg in args {
        no_nul("args", arg)?;
        at_most("an argument", arg, limits::ARG_BYTES)?;
    }
    cwd.map_or(Ok(()), absolute_path)
}

/// A number where absent, zero and less mean the default.
pub(crate) fn positive(field: &str, given: Option<i64>, max: u32) -> Result<Option<u32>, Fault> {
    match given {
        None | Some(..=0) => Ok(None),
        Some(number) => match u32::try_from(number) {
            Ok(number) if number <= max => Ok(Some(number)),
            _ => Err(refuse(
                format!("{field} is {number}"),
                format!("give at most {max}"),
            )),
        },
    }
}

/// A number from 1 on.
pub(crate) fn between(field: &str, given: i64, max: u32) -> Result<u32, Fault> {
    let number = u32::try_from(given).ok();
    number
        .filter(|number| (1..=max).contains(number))
        .ok_or_else(|| refuse(format!("{field} is {given}"), format!("give 1 to {max}")))
}

/// A number from 0 on.
pub(crate) fn up_to(field: &str, given: i64, max: u32) -> Result<u32, Fault> {
    let number = u32::try_from(given).ok();
    number
        .filter(|number| *number <= max)
        .ok_or_else(|| refuse(format!("{field} is {given}"), format!("give 0 to {max}")))
}

fn no_nul(field: &str, text: &str) -> Result<(), Fault> {
    if text.contains('\0') {
        return Err(refuse(
            format!("{field} contains a NUL character"),
            "leave NUL characters out",
        ));
    }
    Ok(())
}

pub(crate) fn at_most(field: &str, text: &str, bytes: usize) -> Result<(), Fault> {
    if text.len() > bytes {
        return Err(refuse(
            format!("{field} has {} bytes", text.len()),
            format!("give at most {bytes} bytes"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn paths_are_absolute_and_short() {
        assert!(absolute_path("/tmp/a b/ü").is_ok());
        for bad in [
            "",
            "tmp",
            "./x",
            "../x",
            "/a\0b",
            &format!("/{}", "x".repeat(5000)),
        ] {
            assert!(absolute_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_names_are_one_label() {
        for good in ["a", "box-1", "A1", &"x".repeat(63)] {
            assert!(hostname(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a.b", "a b", "ä", "a\n", &"x".repeat(64)] {
            assert!(hostname(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_and_variables_are_bounded() {
        assert!(metadata(&one("team", "red = blue")).is_ok());
        for (key, value) in [
            ("", "x"),
            ("a=b", "x"),
            ("a", "\0"),
            ("a", &"x".repeat(1025)),
        ] {
            assert!(metadata(&one(key, value)).is_err(), "{key}");
        }
        let many = (0..65).map(|i| (i.to_string(), String::new())).collect();
        assert!(metadata(&many).is_err());

        assert!(envs(&one("_PATH2", "a=b\n")).is_ok());
        for (name, value) in [
            ("", "x"),
            ("2A", "x"),
            ("A=B", "x"),
            ("A-B", "x"),
            ("A", "\0"),
        ] {
            assert!(envs(&one(name, value)).is_err(), "{name}");
        }
        let large = (0..5)
            .map(|i| (format!("V{i}"), "x".repeat(32 * 1024)))
            .collect();
        assert!(envs(&large).is_err());
    }

    #[test]
    fn a_command_is_what_execve_takes() {
        assert!(command("sh", &["-c".into(), String::new()], Some("/")).is_ok());
        assert!(command("", &[], None).is_err());
        assert!(command("a\0", &[], None).is_err());
        assert!(command("a", &["\0".into()], None).is_err());
        assert!(command("a", &["x".repeat(1 << 17)], None).is_err());
        assert!(command("a", &vec![String::new(); 5000], None).is_err());
        assert!(command("a", &[], Some("relative")).is_err());
    }

    #[test]
    fn nothing_and_less_mean_the_default() {
        assert_eq!(positive("n", None, 9).unwrap(), None);
        assert_eq!(positive("n", Some(-3), 9).unwrap(), None);
        assert_eq!(positive("n", Some(9), 9).unwrap(), Some(9));
        assert!(positive("n", Some(10), 9).is_err());
        assert!(positive("n", Some(i64::MAX), u32::MAX).is_err());
    }

    #[test]
    fn of_some_numbers_one_is_the_least() {
        assert_eq!(between("n", 1, 9).unwrap(), 1);
        assert_eq!(between("n", 9, 9).unwrap(), 9);
        for bad in [0, -1, 10, i64::MAX] {
            assert!(between("n", bad, 9).is_err(), "{bad}");
            assert_eq!(up_to("n", bad, 9).ok(), (bad == 0).then_some(0), "{bad}");
        }
        assert_eq!(up_to("n", 9, 9).unwrap(), 9);
    }
}
