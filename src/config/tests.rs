use super::*;

const EXAMPLE: &str = include_str!("../../deploy/lakehead.example.toml");

#[test]
fn the_example_is_the_defaults() {
    let mut config: Config = toml::from_str(EXAMPLE).unwrap();
    // What has no default is shown in the example by example.
    assert!(!config.topics.is_empty() && config.registry.is_some() && config.http.is_some());
    let entity = "[[entity]]\nname = 'flights.flight'\ncontract = 'contracts/flights.flight.avsc'";
    let relay = format!("database_url = {{ env = 'DATABASE_URL' }}\n{entity}");
    assert_eq!(config.relay, Some(toml::from_str(&relay).unwrap()));
    config.relay = None;
    let table = "[[table]]\nname = 'public.booking'\nentity = 'booking'";
    let url = "postgres://lakehead@127.0.0.1:5432/shop";
    let http = "[http]\nlisten = '127.0.0.1:8082'";
    let capture = format!("service = 'shop'\ndatabase_url = '{url}'\n{http}\n{table}");
    assert_eq!(config.capture, Some(toml::from_str(&capture).unwrap()));
    config.capture = None;
    config.topics.clear();
    config.registry = None;
    config.http = None;
    assert_eq!(config, Config::default());
    for section in [
        "[lake]",
        "[kafka]",
        "[registry]",
        "[writer]",
        "[maintenance]",
        "[http]",
        "[relay]",
        "[capture]",
        "[[capture.table]]",
        "[[topic]]",
    ] {
        assert!(EXAMPLE.contains(section), "{section} is missing");
    }
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for (section, keys) in defaults {
        for key in keys.as_table().unwrap().keys() {
            assert!(
                EXAMPLE.contains(&format!("\n{key} = ")) || EXAMPLE.contains(&format!(".{key}]")),
                "{section}.{key} is missing"
            );
        }
    }
}

/// Settings without a default stand in the example behind a `#`; they must be right, too.
#[test]
fn what_the_example_has_commented_out_is_known() {
    let mut whole = String::new();
    for line in EXAMPLE.lines() {
        let setting = line.strip_prefix("# ").filter(|rest| {
            let name = rest.split(" = ").next().unwrap_or_default();
            rest.contains(" = ") && !name.trim_matches('"').contains([' ', '`'])
        });
        whole.push_str(setting.unwrap_or(line));
        whole.push('\n');
    }
    // Two ways to say who we are; one is enough.
    let config: Config = toml::from_str(&whole).unwrap_or_else(|error| panic!("{error}\n{whole}"));
    let registry = toml::to_string(&config.registry).unwrap();
    for name in [
        "username",
        "password",
        "token",
        "ca_location",
        "key_location",
    ] {
        assert!(
            registry.contains(name),
            "registry.{name} is not in the example"
        );
    }
    let topics = config.topics;
    assert!(
        topics.iter().any(|topic| topic.pattern.is_some()),
        "no match"
    );
    assert!(
        topics.iter().any(|topic| topic.key_format.is_some()),
        "no key_format"
    );
    assert!(
        topics.iter().any(|topic| topic.contract.is_some()),
        "no contract"
    );
}

#[test]
fn unknown_keys_are_refused() {
    let error = toml::from_str::<Config>("[writer]\nflush_age = '1s'").unwrap_err();
    assert!(error.to_string().contains("flush_age_max"), "{error}");
}

#[test]
fn the_example_works() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lakehead.toml");
    std::fs::write(&file, EXAMPLE).unwrap();
    let resolved = Config::read(&file).and_then(|config| config.resolve(&file));
    assert!(resolved.is_ok_and(|resolved| resolved.routes.discovers()));
}

fn failure(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lakehead.toml");
    std::fs::write(&file, text).unwrap();
    let result = Config::read(&file).and_then(|config| config.resolve(&file));
    format!("{:?}", result.map(|_| ()).unwrap_err())
}

#[test]
fn every_problem_is_told_at_once() {
    let failure = failure(
        "[lake]\nurl = 'ftp://x'\n\
         [writer]\nflush_rows_max = 0\n\
         [kafka]\ngroup_id = ''\n\
         [kafka.properties]\n\
         \"sasl.password\" = { env = 'LAKEHEAD_TEST_NO_SUCH_VARIABLE' }\n\
         \"ssl.key.password\" = { file = 'no-such-file' }\n\
         \"ssl.ca.location\" = 'no-such-ca.pem'\n\
         \"auto.offset.reset\" = 'latest'\n\
         \"sasl.pasword\" = 'x'\n\
         [[topic]]\nname = 'a'\nformat = 'avro-single-object'\n\
         [[topic]]\nname = 'b.c'",
    );
    for part in [
        "ftp://",
        "flush_rows_max",
        "group_id",
        "LAKEHEAD_TEST_NO_SUCH_VARIABLE",
        "no-such-file",
        "no-such-ca.pem",
        "auto.offset.reset",
        "sasl.pasword",
        "the name has one part",
        "needs writer_schemas or a contract",
        "registry.url",
    ] {
        assert!(failure.contains(part), "{part}: {failure}");
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let failure = failure(
        "[kafka.properties]\n\"sasl.password\" = 'hunter2'\n\
         [lake.options]\naws_secret_access_key = 'hunter2'\n\
         [registry]\nurl = 'http://r'\nusername = 'u'\npassword = 'hunter2'\n\
         [[topic]]\nname = 'a.b'",
    );
    for part in [
        "sasl.password",
        "aws_secret_access_key",
        "registry.password",
    ] {
        assert!(failure.contains(part), "{part}: {failure}");
    }
    assert!(!failure.contains("hunter2"), "{failure}");
}

#[test]
fn a_file_that_is_no_toml_is_not_quoted() {
    let failure = failure("[kafka.properties]\n\"sasl.password\" = hunter2");
    assert!(!failure.contains("hunter2"), "{failure}");
    assert!(failure.contains("line 2"), "{failure}");
}
