use super::*;
use crate::cli::Cli;
use clap::{Arg, CommandFactory};
use std::collections::BTreeSet;

const EXAMPLE: &str = include_str!("../../../../deploy/wrenn.toml");
const PROGRAMS: [&str; 3] = ["up", "agent", "server"];
/// Flags of one call alone, and a secret, which lies in a file that others may not read.
const NO_KEYS: [&str; 5] = ["help", "version", "config", "json", "api_key"];

fn read(text: &str) -> Result<Settings, Advised> {
    Settings::read(text, Path::new("/x/wrenn.toml"))
}

fn refusal(text: &str) -> String {
    let error = anyhow::Error::from(read(text).unwrap_err());
    crate::report::as_lines(&error)
}

/// The flags of a program that have long names, those of every command included.
fn flags(command: &clap::Command, program: &str) -> Vec<Arg> {
    let own = command.find_subcommand(program).unwrap().get_arguments();
    let all = own.chain(command.get_arguments());
    all.filter(|arg| !arg.is_hide_set() && arg.get_long().is_some())
        .filter(|arg| !NO_KEYS.contains(&arg.get_id().as_str()))
        .cloned()
        .collect()
}

/// The example with the lines uncommented that begin with one of these.
fn example(marks: &[&str]) -> String {
    let line = |line: &str| {
        let said = marks.iter().find_map(|mark| line.strip_prefix(mark));
        let is_key = |said: &&str| said.split(' ').nth(1) == Some("=");
        said.filter(is_key).unwrap_or(line).to_owned()
    };
    EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn names(settings: &Settings) -> BTreeSet<&'static str> {
    settings.given.iter().map(|(key, _)| key.name).collect()
}

#[test]
fn every_flag_of_a_program_has_a_key_and_a_variable() {
    let command = Cli::command();
    for program in PROGRAMS {
        for flag in flags(&command, program) {
            let id = flag.get_id().as_str();
            let has =
                |key: &&Key| key.arg == id && (key.of.is_empty() || key.of.contains(&program));
            assert!(KEYS.iter().any(|key| has(&key)), "{program}: --{id}");
            let variable = flag.get_env().unwrap_or_default().to_str().unwrap();
            assert!(variable.starts_with("WRENN_"), "{program}: --{id}");
        }
    }
    for key in KEYS {
        for program in key.of {
            let flags = flags(&command, program);
            assert!(
                flags.iter().any(|flag| flag.get_id() == key.arg),
                "{}",
                key.name
            );
        }
        assert!((key.read)(&value(key.example)).is_ok(), "{}", key.name);
    }
}

fn value(text: &str) -> Value {
    toml::from_str::<Table>(&format!("it = {text}")).unwrap()["it"].clone()
}

#[test]
fn the_example_has_every_key_and_says_what_holds_without_it() {
    assert_eq!(names(&read(EXAMPLE).unwrap()), BTreeSet::new());
    let defaults = read(&example(&["#"])).unwrap();
    let all = read(&example(&["# ", "#"])).unwrap();
    assert_eq!(names(&all), KEYS.iter().map(|key| key.name).collect());
    let (command, said) = (Cli::command(), defaults.as_defaults(Cli::command()));
    for program in PROGRAMS {
        let said = flags(&said, program);
        for flag in flags(&command, program) {
            let id = flag.get_id();
            let said = said.iter().find(|said| said.get_id() == id).unwrap();
            assert_eq!(
                flag.get_default_values(),
                said.get_default_values(),
                "{program}: {id}"
            );
        }
    }
    // What has no default stands there as an example only.
    let without = |key: &&Key| {
        let name = key.of.first().unwrap_or(&"up");
        let flags = flags(&command, name);
        let flag = flags.iter().find(|flag| flag.get_id() == key.arg).unwrap();
        flag.get_default_values().is_empty()
    };
    for key in KEYS {
        assert_eq!(
            !names(&defaults).contains(key.name),
            without(&key),
            "{}",
            key.name
        );
    }
}

#[test]
fn what_is_no_key_is_refused_and_the_nearest_one_named() {
    for (text, near) in [
        ("dirr = \"/x\"", "`dir`"),
        ("[api]\nadr = \"127.0.0.1:1\"", "`api.addr`"),
        ("addr = \"127.0.0.1:1\"", "`api.addr`"),
        ("[guest]\nmemory = 1", "`guests`"),
        ("[api]\nmemory = 1", "`guests.memory`"),
        ("[api]\nlisten-public = true", "`api.listen_public`"),
        ("api = 1", "`api`"),
    ] {
        let told = refusal(text);
        assert!(told.contains("/x/wrenn.toml is no key"), "{told}");
        assert!(
            told.contains(&format!("did you mean {near}?")),
            "{text}: {told}"
        );
    }
    let told = refusal("entirely_different = 1");
    assert!(told.contains("the keys are dir, cache"), "{told}");
}

#[test]
fn what_is_not_usable_says_where_and_how_to_write_it() {
    for (text, key, example) in [
        ("dir = 1", "dir", "dir = \"/var/lib/wrenn\""),
        ("dir = \"var\"", "dir", "dir = "),
        ("log_json = \"yes\"", "log_json", "log_json = true"),
        ("log = \"=[\"", "log", "log = \"info\""),
        ("url = \"127.0.0.1:8080\"", "url", "url = \"http"),
        ("[api]\naddr = 8080", "api.addr", "addr = \"127"),
        ("[api]\naddr = \"8080\"", "api.addr", "addr = \"127"),
        (
            "[guests]\nmemory = \"4 GiB\"",
            "guests.memory",
            "memory = 16384",
        ),
        ("[guests]\nmemory = -1", "guests.memory", "memory = "),
        (
            "[guests]\nmemory_overcommit = 17",
            "guests.memory_overcommit",
            "memory_overcommit = 1.5",
        ),
        (
            "[guests]\nallow_private = \"10.0.0.0/8\"",
            "guests.allow_private",
            "allow_private = [",
        ),
        (
            "[guests]\nallow_private = [\"8.8.8.8/33\"]",
            "guests.allow_private",
            "allow_private = [",
        ),
        (
            "[agent]\nserver_user = \"\"",
            "agent.server_user",
            "server_user = ",
        ),
        (
            "[traces]\notlp_endpoint = \"127.0.0.1:4317\"",
            "traces.otlp_endpoint",
            "otlp_endpoint = \"http",
        ),
        (
            "[server]\nagent = \"http://x:1\"",
            "server.agent",
            "agent = \"unix:",
        ),
    ] {
        let told = refusal(text);
        assert!(
            told.contains(&format!("`{key}` in /x/wrenn.toml is not usable")),
            "{told}"
        );
        assert!(
            told.contains(&format!("what to do: write it like {example}")),
            "{told}"
        );
    }
    let told = refusal("dir = \"/x\"\ncache = /y");
    assert!(told.contains("/x/wrenn.toml, line 2: "), "{told}");
    let twice = refusal("dir = \"/x\"\ndir = \"/y\"");
    assert!(twice.contains("line 2: "), "{twice}");
}

#[test]
fn the_fields_own_variable_holds_where_nothing_else_is_said() {
    let put = |text: &str, said: &str| {
        let mut settings = read(text).unwrap();
        settings.put_standard(|name| {
            (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| said.to_owned())
        })?;
        Ok::<_, Advised>(settings.get("traces.otlp_endpoint").map(str::to_owned))
    };
    let file = "[traces]\notlp_endpoint = \"http://a:4318\"";
    assert_eq!(
        put(file, "http://b:4318").unwrap().unwrap(),
        "http://a:4318"
    );
    assert_eq!(put("", "http://b:4318").unwrap().unwrap(), "http://b:4318");
    assert_eq!(put("", "").unwrap(), None);
    let refused = put("", "http://u:s3cret@b:4318").unwrap_err();
    let told = crate::report::as_lines(&refused.into());
    assert!(told.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
    // A flag wins over the variable that wins over the file.
    let command = Settings::as_defaults(&read(file).unwrap(), Cli::command());
    let with = |args: &[&str]| {
        let matches = command
            .clone()
            .get_matches_from([&["wrenn", "server"], args].concat());
        let (_, server) = matches.subcommand().unwrap();
        server
            .get_one::<crate::traces::Target>("otlp_endpoint")
            .unwrap()
            .0
            .clone()
    };
    assert_eq!(with(&[]).unwrap().to_string(), "http://a:4318");
    assert_eq!(
        with(&["--otlp-endpoint", "http://c:1"])
            .unwrap()
            .to_string(),
        "http://c:1"
    );
    assert_eq!(with(&["--otlp-endpoint", ""]), None);
}

#[test]
fn the_founding_variables_are_done_or_answered() {
    let put = |program: &str, set: &[(&str, &str)], text: &str| {
        let mut settings = read(text).unwrap();
        let variable = |name: &str| {
            let found = set.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let told = settings.put_founding(program, variable)?;
        Ok::<_, Advised>((settings.get("api.addr").map(str::to_owned), told))
    };
    let file = "[api]\naddr = \"127.0.0.1:1\"";
    let addr = |program, set: &[_]| put(program, set, file).unwrap().0.unwrap();
    assert_eq!(
        addr("server", &[("CP_LISTEN_ADDR", ":8080")]),
        "0.0.0.0:8080"
    );
    assert_eq!(
        addr("up", &[("CP_LISTEN_ADDR", "127.0.0.1:2")]),
        "127.0.0.1:2"
    );
    assert_eq!(addr("up", &[("ADDR", "127.0.0.1:3")]), "127.0.0.1:3");
    assert_eq!(addr("up", &[("CP_LISTEN_ADDR", "")]), "127.0.0.1:1");
    assert_eq!(addr("agent", &[("CP_LISTEN_ADDR", ":8080")]), "127.0.0.1:1");
    assert!(put("server", &[("CP_LISTEN_ADDR", "8080")], "").is_err());

    let mut settings = Settings::default();
    let variable = |name: &str| (name == "DATABASE_URL").then(|| "postgres://a/b".to_owned());
    settings.put_founding("server", variable).unwrap();
    assert_eq!(settings.get("database.url"), Some("postgres://a/b"));

    for (program, name) in [
        ("server", "CP_HOST_AGENT_ADDR"),
        ("agent", "AGENT_LISTEN_ADDR"),
    ] {
        let refused = put(program, &[(name, "localhost:50051")], "").unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
    }
    for name in ["KERNEL", "IMAGES", "SANDBOXES", "SNAPSHOTS"] {
        let name = format!("AGENT_{name}_PATH");
        for program in ["up", "agent"] {
            let (_, told) = put(program, &[(&name, "/x")], "").unwrap();
            assert!(
                matches!(&told[..], [one] if one.starts_with(&name)),
                "{told:?}"
            );
        }
        assert!(put("server", &[(&name, "/x")], "").unwrap().1.is_empty());
    }
}
