//! The table that a topic's own name stands for.

use regex::{Captures, Regex};
use schemas::TableName;

/// The table of a topic that has none in the configuration: `service.entity` is itself, and of a
/// longer name (`prefix.schema.table`, as Debezium writes it) the last two parts.
pub(super) fn default_table(topic: &str) -> Result<TableName, String> {
    let mut parts = topic.rsplit('.');
    match (parts.next(), parts.next()) {
        (Some(entity), Some(service)) => settle(&format!("{service}.{entity}")),
        _ => Err(format!(
            "the name has one part, and a table is service.entity; set table, for example \
             \"service.{topic}\""
        )),
    }
}

/// The table that a template with groups of a pattern stands for.
pub(super) fn captured_table(template: &str, captures: &Captures<'_>) -> Result<TableName, String> {
    let mut name = String::new();
    captures.expand(template, &mut name);
    settle(&name)
}

/// Names that come from topics are brought into the form of a table's name where nothing but
/// case and hyphens stands against it. Two topics that differ in nothing else collide, and that
/// is told.
fn settle(name: &str) -> Result<TableName, String> {
    let settled = name.to_ascii_lowercase().replace('-', "_");
    settled
        .parse()
        .map_err(|error: schemas::NameError| format!("{error} and set it as table"))
}

/// Groups that a template names and the pattern does not have.
pub(super) fn unknown_groups(template: &str, pattern: &Regex) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(escaped) = rest.strip_prefix('$') {
            rest = escaped;
            continue;
        }
        let group = match rest.strip_prefix('{') {
            Some(braced) => braced.split('}').next().unwrap_or(braced),
            None => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                rest.find(|c| !word(c)).map_or(rest, |end| &rest[..end])
            }
        };
        let known = match group.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => pattern.capture_names().flatten().any(|name| name == group),
        };
        if !known {
            unknown.push(group.to_owned());
        }
    }
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_names_its_table() {
        for (topic, table) in [
            ("shop.orders", "shop.orders"),
            ("dbserver1.inventory.customers", "inventory.customers"),
            ("a.b.c.d", "c.d"),
            ("ORA.INVENTORY.CUSTOMERS", "inventory.customers"),
            ("order-service.order-lines", "order_service.order_lines"),
        ] {
            assert_eq!(default_table(topic).unwrap().to_string(), table);
        }
    }

    #[test]
    fn a_topic_that_names_none_is_told_what_to_do() {
        for topic in [
            "orders",
            "a..b.",
            "shop.1st",
            "shop.orders_changes",
            "system.x",
            "x.system.y",
        ] {
            let why = default_table(topic).unwrap_err();
            assert!(why.contains("set"), "{topic}: {why}");
        }
    }

    #[test]
    fn a_template_takes_groups_and_names_those_it_lacks() {
        let pattern = Regex::new(r"^(?:cdc\.(?<service>\w+)\.(\w+))$").unwrap();
        let captures = pattern.captures("cdc.Shop.orders").unwrap();
        let table = captured_table("${service}.$2", &captures).unwrap();
        assert_eq!(table.to_string(), "shop.orders");
        assert!(unknown_groups("${service}.$2$$", &pattern).is_empty());
        assert_eq!(unknown_groups("$1_raw.${2}_$x", &pattern), ["1_raw", "x"]);
    }
}
