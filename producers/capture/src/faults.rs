//! Fail points: how the tests show that a crash anywhere is survived.
//!
//! Without the cargo feature `faults` all of this compiles to nothing.

use change_events::faults::reach;

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
pub(crate) fn point(point: Point) {
    reach(match point {
        Point::SlotCreated => "slot_created",
        Point::ChunkSaved => "chunk_saved",
        Point::ChunkPublished => "chunk_published",
        Point::TransactionOpen => "transaction_open",
        Point::TransactionPublished => "transaction_published",
        Point::PositionSaved => "position_saved",
        Point::OutboxSlotCreated => "outbox_slot_created",
        Point::OutboxHandedOver => "outbox_handed_over",
        Point::OutboxPositionSaved => "outbox_position_saved",
        Point::OutboxSlotDropped => "outbox_slot_dropped",
    });
}
