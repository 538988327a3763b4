//! Fail points: how the tests show that a crash anywhere is survived.
//!
//! Without the cargo feature `faults` all of this compiles to nothing. With it, the environment variable
//! `FAILPOINTS` (see the crate `fail`) arms the points of [`Point`].

/// A moment at which an armed process dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point {
    /// The slot is created, nothing remembers it.
    SlotCreated,
    /// A chunk of a copy is on disk, none of it is published.
    ChunkSaved,
    /// A chunk is acknowledged, its progress is not saved.
    ChunkPublished,
    /// Some changes of a transaction are published, the rest is still to come.
    TransactionOpen,
    /// A whole transaction is published, nothing is confirmed.
    TransactionPublished,
    /// The position is saved, Postgres is not told.
    PositionSaved,
    /// The slot of an outbox is created, nothing remembers it.
    OutboxSlotCreated,
    /// It is kept that the slot takes over, the relay goes on polling for a moment.
    OutboxHandedOver,
    /// Rows of an outbox are acknowledged and kept as such, Postgres is not told.
    OutboxPositionSaved,
    /// The slot is dropped, it is not kept that the outbox is polled again.
    OutboxSlotDropped,
}

/// Dies here if the point is armed.
#[cfg(feature = "faults")]
pub(crate) fn point(point: Point) {
    fn die(name: &str) {
        tracing::error!(fail_point = name, "fail point reached: aborting");
        std::process::abort();
    }
    match point {
        Point::SlotCreated => fail::fail_point!("slot_created", |_| die("slot_created")),
        Point::ChunkSaved => fail::fail_point!("chunk_saved", |_| die("chunk_saved")),
        Point::ChunkPublished => fail::fail_point!("chunk_published", |_| die("chunk_published")),
        Point::TransactionOpen => {
            fail::fail_point!("transaction_open", |_| die("transaction_open"))
        }
        Point::TransactionPublished => {
            fail::fail_point!("transaction_published", |_| die("transaction_published"));
        }
        Point::PositionSaved => fail::fail_point!("position_saved", |_| die("position_saved")),
        Point::OutboxSlotCreated => {
            fail::fail_point!("outbox_slot_created", |_| die("outbox_slot_created"));
        }
        Point::OutboxHandedOver => {
            fail::fail_point!("outbox_handed_over", |_| die("outbox_handed_over"));
        }
        Point::OutboxPositionSaved => {
            fail::fail_point!("outbox_position_saved", |_| die("outbox_position_saved"));
        }
        Point::OutboxSlotDropped => {
            fail::fail_point!("outbox_slot_dropped", |_| die("outbox_slot_dropped"));
        }
    }
}

#[cfg(not(feature = "faults"))]
pub(crate) fn point(_: Point) {}
