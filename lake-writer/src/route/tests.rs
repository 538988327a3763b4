use super::*;

const CONTRACT: &str = r#"{"type":"record","name":"Order","lakehead.key":["id"],"fields":[
    {"name":"id","type":"long"},{"name":"line","type":"long"}]}"#;

fn matching(pattern: &str) -> TopicSettings {
    TopicSettings {
        pattern: Some(pattern.to_owned()),
        ..TopicSettings::default()
    }
}

fn with_table(settings: TopicSettings, table: &str) -> TopicSettings {
    TopicSettings {
        table: Some(table.to_owned()),
        ..settings
    }
}

fn routes(topics: &[TopicSettings]) -> Routes {
    Routes::new(topics, Path::new("")).unwrap()
}

fn problems(topics: &[TopicSettings]) -> String {
    let problems = Routes::new(topics, Path::new("/nowhere")).unwrap_err();
    problems.join("\n")
}

fn table_of(routes: &mut Routes, topic: &str) -> String {
    routes.route(topic).unwrap().unwrap().table.to_string()
}

#[test]
fn the_first_entry_that_takes_a_topic_decides() {
    let mut routes = routes(&[
        TopicSettings::named("cdc.shop.orders"),
        with_table(matching(r"cdc\.(\w+)\.(\w+)"), "raw_$1.$2"),
        matching(r"\w+\.\w+"),
    ]);
    assert!(routes.discovers());
    assert_eq!(routes.names().collect::<Vec<_>>(), ["cdc.shop.orders"]);
    assert_eq!(table_of(&mut routes, "cdc.shop.orders"), "shop.orders");
    // The rest of the first pattern is a name of its own: `raw_$1` ends at the dot.
    assert_eq!(table_of(&mut routes, "cdc.shop.lines"), "raw_shop.lines");
    assert_eq!(table_of(&mut routes, "crew.pilot"), "crew.pilot");
    // A pattern is about the whole name.
    assert!(routes.route("a.crew.pilot.x").is_none());
    assert!(routes.route("connect.status").is_none());
}

#[test]
fn a_table_has_one_topic() {
    let mut routes = routes(&[TopicSettings::named("shop.orders"), matching(".*")]);
    let taken = routes.route("cdc.shop.orders").unwrap().unwrap_err();
    assert!(matches!(taken, RouteError::TableTaken { .. }), "{taken}");
    assert_eq!(table_of(&mut routes, "crew.pilot"), "crew.pilot");
    let taken = routes.route("crew.Pilot").unwrap().unwrap_err();
    assert!(taken.to_string().contains("\"crew.pilot\""), "{taken}");
    // Asked again, the answers are the same.
    assert_eq!(table_of(&mut routes, "crew.pilot"), "crew.pilot");
    assert_eq!(routes.route("crew.Pilot").unwrap().unwrap_err(), taken);
}

#[test]
fn a_topic_found_later_is_refused_alone() {
    let mut routes = routes(&[matching(".*")]);
    for topic in ["orders", "shop.orders_history", "shop.marts.x", "system.x"] {
        let error = routes.route(topic).unwrap().unwrap_err();
        assert!(error.to_string().contains(topic), "{error}");
    }
    assert!(routes.route("__consumer_offsets").is_none());
    assert_eq!(table_of(&mut routes, "shop.orders"), "shop.orders");
}

#[test]
fn an_internal_topic_is_read_only_by_its_name() {
    let named = with_table(TopicSettings::named("_orders"), "shop.orders");
    let mut routes = routes(&[named, matching(".*")]);
    assert_eq!(table_of(&mut routes, "_orders"), "shop.orders");
    assert!(routes.route("_lines").is_none());
}

#[test]
fn of_watermarks_everything_but_the_name_is_known() {
    let named = TopicSettings::named("lakehead.watermarks");
    let mut all = routes(&[named.clone(), matching(".*")]);
    let route = all.route("lakehead.watermarks").unwrap().unwrap();
    assert_eq!(route.table, TableName::watermarks());
    assert_eq!((route.format, route.shape), (Format::Json, Shape::Append));
    let fields = route.contract.unwrap();
    assert_eq!(fields.fields()[0].name, "entity");
    let told = problems(&[with_table(named, "shop.marks")]);
    assert!(
        told.contains("leave out everything but name and start"),
        "{told}"
    );
    assert!(
        routes(&[matching(".*")])
            .route("lakehead.watermarks")
            .is_none()
    );
}

#[test]
fn every_problem_of_the_list_is_told_at_once() {
    let json = |name: &str| TopicSettings {
        format: Format::Json,
        ..TopicSettings::named(name)
    };
    let bare = |key: Option<&[&str]>| TopicSettings {
        key_format: Some(KeyFormat::Integer),
        key: key.map(|key| key.iter().map(|&part| part.to_owned()).collect()),
        ..TopicSettings::named("a.bare")
    };
    let both = TopicSettings {
        pattern: Some("x".to_owned()),
        ..TopicSettings::named("a.both")
    };
    let inferred = TopicSettings {
        infer: true,
        ..TopicSettings::named("a.inferred")
    };
    let ignored = TopicSettings {
        unknown_fields: UnknownFields::Ignore,
        ..TopicSettings::named("a.ignored")
    };
    let contract = TopicSettings {
        contract: Some("missing.avsc".into()),
        ..json("a.contract")
    };
    let told = problems(&[
        TopicSettings::default(),
        both,
        TopicSettings::named("not a topic"),
        matching("("),
        with_table(matching(r"b\.(.*)"), "$1_x.y"),
        TopicSettings::named("orders"),
        with_table(TopicSettings::named("a.x"), "a.same"),
        with_table(TopicSettings::named("a.y"), "a.same"),
        TopicSettings::named("b.late"),
        TopicSettings {
            format: Format::AvroSingleObject,
            ..TopicSettings::named("a.single")
        },
        bare(None),
        TopicSettings {
            name: Some("a.bare2".to_owned()),
            ..bare(Some(&["k", "l"]))
        },
        inferred,
        ignored,
        contract,
    ]);
    for part in [
        "neither name nor match",
        "has name and match",
        "not a name that Kafka allows",
        "unclosed group",
        "names group \"1_x\"",
        "\"orders\": the name has one part",
        "a.same is already fed by topic \"a.x\"",
        "\"b.late\": never used",
        "\"a.single\": format avro-single-object needs writer_schemas or a contract",
        "\"a.bare\": a string or integer key needs the name",
        "\"a.bare2\": a string or integer key is one column",
        "\"a.inferred\": infer = true is for json",
        "\"a.ignored\": unknown_fields is for json",
        "missing.avsc",
    ] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
    assert!(problems(&[]).contains("no [[topic]]"));
}

#[test]
fn contracts_may_be_found_by_the_topics_name() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("orders.avsc"), CONTRACT).unwrap();
    let settings = TopicSettings {
        format: Format::Json,
        key_format: Some(KeyFormat::String),
        contract: Some("$1.avsc".into()),
        ..matching(r"shop\.(.*)")
    };
    let mut routes = Routes::new(&[settings], directory.path()).unwrap();
    let orders = routes.route("shop.orders").unwrap().unwrap();
    assert_eq!(orders.contract.unwrap().key(), ["id"]);
    let error = routes.route("shop.lines").unwrap().unwrap_err();
    assert!(error.to_string().contains("lines.avsc"), "{error}");
    std::fs::write(directory.path().join("lines.avsc"), CONTRACT).unwrap();
    assert_eq!(table_of(&mut routes, "shop.lines"), "shop.lines");
}
