use proptest::prelude::*;

use super::*;

/// A value to be put into a message.
#[derive(Clone, Debug)]
enum Sample {
    Null,
    Unchanged,
    Text(Vec<u8>),
}

fn put_tuple(values: &[Sample], out: &mut Vec<u8>) {
    out.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        match value {
            Sample::Null => out.push(b'n'),
            Sample::Unchanged => out.push(b'u'),
            Sample::Text(text) => {
                out.push(b't');
                out.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
                out.extend_from_slice(text);
            }
        }
    }
}

fn values(samples: &[Sample]) -> Tuple<'_> {
    let value = |sample| match sample {
        &Sample::Null => Value::Null,
        &Sample::Unchanged => Value::Unchanged,
        Sample::Text(text) => Value::Text(text),
    };
    samples.iter().map(value).collect()
}

fn relation_bytes() -> Vec<u8> {
    let mut bytes = b"R\0\0\0\x07public\0seat\0f\0\x02".to_vec();
    bytes.extend_from_slice(b"\x01id\0\0\0\0\x17\xFF\xFF\xFF\xFF");
    bytes.extend_from_slice(b"\x00note\0\0\0\0\x19\0\0\0\x08");
    bytes
}

#[test]
fn a_relation_names_its_table_and_columns() {
    let column = |name, in_identity, type_oid, type_modifier| RelationColumn {
        in_identity,
        name,
        type_oid,
        type_modifier,
    };
    let expected = Relation {
        id: 7,
        schema: "public",
        name: "seat",
        identity: b'f',
        columns: vec![column("id", true, 23, -1), column("note", false, 25, 8)],
    };
    let bytes = relation_bytes();
    assert_eq!(decode(&bytes), Ok(Message::Relation(expected)));
}

#[test]
fn what_is_not_needed_is_passed_over_and_what_is_unknown_is_told() {
    assert_eq!(decode(b"Y\0\0"), Ok(Message::Other));
    assert_eq!(decode(b"Oxyz"), Ok(Message::Other));
    let text = |bytes| decode(bytes).unwrap_err().to_string();
    assert!(text(b"Z").contains("'Z' is no known kind of a message"));
    assert!(text(b"").contains("cut off"));
    assert!(text(b"I\0\0\0\x01N\0\x01b\0\0\0\0").contains("'b' is no known kind of a value"));
    // A count that promises four thousand million relations takes no memory.
    assert!(text(b"T\xFF\xFF\xFF\xFF\0").contains("cut off"));
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        Just(Sample::Null),
        Just(Sample::Unchanged),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Sample::Text),
    ]
}

fn row() -> impl Strategy<Value = Vec<Sample>> {
    prop::collection::vec(sample(), 0..6)
}

proptest! {
    #[test]
    fn rows_are_read_as_written_and_no_cut_or_addition_is_taken_for_one(
        relation: u32,
        old in prop::option::of(row()),
        new in row(),
    ) {
        let mut update = vec![b'U'];
        update.extend_from_slice(&relation.to_be_bytes());
        if let Some(old) = &old {
            update.push(b'O');
            put_tuple(old, &mut update);
        }
        update.push(b'N');
        put_tuple(&new, &mut update);
        let expected = Message::Update {
            relation,
            old: old.as_deref().map(|old| OldRow { is_whole: true, values: values(old) }),
            new: values(&new),
        };
        prop_assert_eq!(decode(&update), Ok(expected));
        for cut in 0..update.len() {
            prop_assert!(decode(&update[..cut]).is_err());
        }
        update.push(0);
        prop_assert!(decode(&update).is_err());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(
        kind in prop::sample::select(b"RIUDTYO".to_vec()),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = vec![kind];
        bytes.extend(rest);
        decode(&bytes).ok();
    }

    #[test]
    fn a_relation_with_a_byte_changed_is_decoded_or_refused(at in 0_usize..44, byte: u8) {
        let mut bytes = relation_bytes();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        decode(&bytes).ok();
    }
}
