use schemas::Counted;
use schemas::canonical::hash;

use super::*;

/// The events with these sequences, each with a row of its own.
fn sums(sequences: impl IntoIterator<Item = i64>) -> EventSums {
    let mut sums = EventSums::default();
    for sequence in sequences {
        sums.add(&format!("event {sequence}"), hash(&sequence.to_le_bytes()));
    }
    sums
}

fn marks(through: &[i64]) -> Vec<Mark> {
    let mark = |through: &i64| Mark {
        complete_through_us: through * 10,
        through: *through,
        total: Counted {
            after: 2,
            sums: sums(3..=*through),
        },
    };
    through.iter().map(mark).collect()
}

fn land(sections: &mut Sections<'_>, sequences: impl IntoIterator<Item = i64>) {
    for sequence in sequences {
        if let Some(place) = sections.place(sequence) {
            sections.landed[place].join(&sums([sequence]));
        }
    }
}

fn of(landed: &[i64], buried: &[i64]) -> Evidence {
    let marks = marks(&[10, 20, 30]);
    let mut sections = Sections::of(&marks);
    land(&mut sections, landed.iter().copied());
    for sequence in buried {
        sections.bury(*sequence, &format!("event {sequence}"));
    }
    sections.evidence("/cabin/1").unwrap()
}

#[test]
fn what_was_published_is_found_whole_and_nothing_else_is() {
    // What was there before it was counted, and what came later, do not count.
    let all: Vec<i64> = (0..40).collect();
    let whole = of(&all, &[]);
    assert!(whole.is_whole() && whole.parts.is_empty());
    assert_eq!((whole.complete_through_us, whole.through), (300, 30));

    let lost: Vec<i64> = all.iter().copied().filter(|one| *one != 15).collect();
    let found = of(&lost, &[]);
    assert!(!found.is_whole());
    assert_eq!(found.parts, [(10, 20)]);
    assert_eq!((found.published.count, found.landed.count), (28, 27));

    let twice: Vec<i64> = all.iter().copied().chain([3, 30]).collect();
    assert_eq!(of(&twice, &[]).parts, [(2, 10), (20, 30)]);
}

#[test]
fn a_dead_letter_is_there_though_it_has_no_row() {
    let rest: Vec<i64> = (3..=30).filter(|one| *one != 15).collect();
    let found = of(&rest, &[15, 31]);
    assert!(found.is_whole() && found.parts.is_empty(), "{found:?}");
    assert_eq!(found.dead_letters, 1);
    // With another one in its place it is not.
    assert!(!of(&rest, &[16]).is_whole());
}
