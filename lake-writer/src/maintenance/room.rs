//! Room in memory for the work that takes most of it.
//!
//! Tables are looked at side by side, as most of that is waiting for the store. But what a fold or a
//! rewrite holds is bounded for one of them: so there is one at a time in a process, and the rest
//! waits in line. Rewrites and period snapshots stand in a line of their own, and only the first of them in
//! that of the folds: a table that is to be brought up to date does not wait until all others are compacted,
//! or until all have their snapshots at a year's end.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

/// The lines that work stands in.
#[derive(Debug, Default)]
pub(crate) struct Room {
    work: Arc<Mutex<()>>,
    rewrites: Mutex<()>,
}

/// The room, until it is dropped.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Room {
    /// For the latest changes of a table that is brought up to date, or its list of files.
    pub(crate) async fn to_fold(&self) -> Turn {
        Arc::clone(&self.work).lock_owned().await
    }

    /// For what nobody waits for: data files that are read to be written anew, or to be looked through,
    /// and the changes that a period's snapshot is made of.
    pub(crate) async fn to_rewrite(&self) -> (MutexGuard<'_, ()>, Turn) {
        let first = self.rewrites.lock().await;
        (first, self.to_fold().await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Notes;
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_works_and_a_fold_does_not_wait_for_all_rewrites() {
        let (room, begun) = (Arc::new(Room::default()), Arc::new(Notes::new(Vec::new())));
        let mut tasks = JoinSet::new();
        for number in 0..6 {
            let (room, begun) = (Arc::clone(&room), Arc::clone(&begun));
            tasks.spawn(async move {
                // Rewrites 0 to 2 come first.
                sleep(Duration::from_millis(number)).await;
                let (rewrite, fold) = match number {
                    0..3 => (Some(room.to_rewrite().await), None),
                    _ => (None, Some(room.to_fold().await)),
                };
                begun.lock().unwrap().push(number);
                sleep(Duration::from_secs(1)).await;
                assert!(room.work.try_lock().is_err());
                drop((rewrite, fold));
            });
        }
        tasks.join_all().await;
        assert_eq!(*begun.lock().unwrap(), [0, 3, 4, 5, 1, 2]);
    }
}
