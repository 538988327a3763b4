//! Topics that Kafka and its companions keep for themselves.

/// Ends of Kafka Connect's three topics, whatever the worker's group is called.
const CONNECT_ENDS: [&str; 5] = ["config", "configs", "offsets", "status", "statuses"];

/// What Debezium's history of table definitions is usually called.
const HISTORIES: [&str; 4] = [
    "schemahistory",
    "schema-history",
    "schema-changes",
    "dbhistory",
];

/// Topics of ours that carry no change events.
const OURS: [&str; 1] = ["lakehead.watermarks"];

/// Whether a pattern must pass the topic over: names with a leading `_` (Kafka's `__…`, a schema
/// registry's `_schemas`, Debezium's `__debezium-heartbeat.…`), the topics of a Connect worker
/// (`connect-offsets`, `my_connect_statuses`, …) and Debezium's histories of table definitions.
pub(super) fn is_internal(topic: &str) -> bool {
    let topic = topic.to_ascii_lowercase();
    topic.starts_with('_')
        || OURS.contains(&topic.as_str())
        || is_connect(&topic)
        || HISTORIES.iter().any(|history| has_part(&topic, history))
}

fn is_connect(topic: &str) -> bool {
    let parts: Vec<&str> = topic.split(['.', '-', '_']).collect();
    match parts.as_slice() {
        [.., "connect", last] => CONNECT_ENDS.contains(last),
        _ => false,
    }
}

/// Whether the words stand in the name by themselves, however they are joined.
fn has_part(topic: &str, words: &str) -> bool {
    let joined = topic.replace('_', "-");
    let edge = |byte: Option<u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
    joined.match_indices(words).any(|(at, _)| {
        let before = at.checked_sub(1).map(|at| joined.as_bytes()[at]);
        edge(before) && edge(joined.as_bytes().get(at + words.len()).copied())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_connects_and_debeziums_topics_are_known() {
        for topic in [
            "__consumer_offsets",
            "__debezium-heartbeat.shop",
            "_schemas",
            "connect-configs",
            "my_connect_offsets",
            "debezium.connect.status",
            "schema-changes.inventory",
            "schemahistory.fulfillment",
            "shop_schema_history",
            "dbhistory.inventory",
            "lakehead.watermarks",
        ] {
            assert!(is_internal(topic), "{topic}");
        }
    }

    #[test]
    fn services_may_use_the_same_words() {
        for topic in [
            "shop.orders",
            "connect.users",
            "billing.payment_status",
            "shop.offsets",
            "shop.myschemahistory",
        ] {
            assert!(!is_internal(topic), "{topic}");
        }
    }
}
