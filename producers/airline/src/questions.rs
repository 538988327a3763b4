//! What the demonstration asks of the lake.

use std::fmt::Write as _;

use crate::{FLIGHT_TABLE, Period};

const AIRLINES: &str = include_str!("../data/airlines.csv");

/// Fewer arrivals say little about an airline: one had a single flight in January.
const ARRIVALS_MIN: u32 = 100;

/// A question in words and in SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The question in words.
    pub title: String,
    /// The question for `lakehead sql`.
    pub sql: String,
}

/// Questions that a replay of the period can answer.
pub fn demo_questions(period: Period) -> Vec<Question> {
    vec![worst_carriers(period), in_the_air(), one_flight()]
}

fn worst_carriers(period: Period) -> Question {
    let mut airlines = String::new();
    for (carrier, name) in AIRLINES
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(','))
    {
        let comma = if airlines.is_empty() { "" } else { ", " };
        // Writing to a text cannot fail.
        let _ = write!(
            airlines,
            "{comma}('{carrier}', '{}')",
            name.trim().replace('\'', "''")
        );
    }
    Question {
        title: format!(
            "Which airlines arrived latest in {period}, on average? (of those with at least \
             {ARRIVALS_MIN} arrivals)"
        ),
        sql: format!(
            "SELECT a.name AS airline, count(*) AS arrivals,\n       \
             round(avg(f.arr_delay), 1) AS minutes_late\n\
             FROM {FLIGHT_TABLE} f\n\
             JOIN (VALUES {airlines}) AS a(carrier, name) ON a.carrier = f.carrier\n\
             WHERE f.status = 'arrived'\n\
             GROUP BY a.name\n\
             HAVING count(*) >= {ARRIVALS_MIN}\n\
             ORDER BY minutes_late DESC\n\
             LIMIT 5"
        ),
    }
}

/// A flight that has left and has not arrived is in the air; one that left more than a day ago
/// landed elsewhere.
fn in_the_air() -> Question {
    let at = "TIMESTAMP '2013-01-15T22:00:00Z'";
    Question {
        title: "How many flights were in the air on 15 January 2013 at 22:00 UTC? \
                (from the log of changes)"
            .to_owned(),
        sql: format!(
            "SELECT origin, count(*) AS in_the_air\n\
             FROM (SELECT origin,\n             \
             sum(CASE status WHEN 'departed' THEN 1 ELSE 0 END) AS departed,\n             \
             sum(CASE status WHEN 'arrived' THEN 1 ELSE 0 END) AS arrived\n      \
             FROM {FLIGHT_TABLE}_changes\n      \
             WHERE _event_time > {at} - INTERVAL '1' DAY AND _event_time <= {at}\n      \
             GROUP BY year, month, day, carrier, flight, origin, sched_dep_time)\n\
             WHERE departed > arrived\n\
             GROUP BY origin\n\
             ORDER BY origin"
        ),
    }
}

fn one_flight() -> Question {
    Question {
        title: "How did the row of United 1545 from Newark on 1 January 2013 come to be?"
            .to_owned(),
        sql: format!(
            "SELECT _event_time, _op, status, dep_time, dep_delay, arr_time, arr_delay, tailnum\n\
             FROM {FLIGHT_TABLE}_changes\n\
             WHERE year = 2013 AND month = 1 AND day = 1 AND carrier = 'UA' AND flight = 1545\n  \
             AND origin = 'EWR'\n\
             ORDER BY _offset"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_airline_has_its_name_in_the_question() {
        let questions = demo_questions(Period::January);
        assert_eq!(questions.len(), 3);
        assert_eq!(questions[0].sql.matches("('").count(), 16);
        assert!(questions[0].sql.contains("('UA', 'United Air Lines Inc.')"));
    }
}
