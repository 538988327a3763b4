//! Watermarks: what the pump asks and publishes for them.

use tokio::time::Instant;

use super::Pump;
use crate::relay::health::Health;
use crate::relay::stop::{Stop, lost};

impl Pump<'_> {
    /// Asks for a horizon when one is due. To be called before the outbox is read.
    pub(super) async fn look_ahead(&mut self) -> Result<(), Stop> {
        let now = Instant::now();
        let Some(watermarks) = &mut self.watermarks else {
            return Ok(());
        };
        if watermarks.is_due(now) {
            watermarks.go_for(self.store.horizon().await?, now);
        }
        Ok(())
    }

    /// Publishes the watermarks of a horizon that is reached.
    pub(super) async fn mark(&mut self) -> Result<(), Stop> {
        let acknowledged = self.window.acknowledged();
        let Some(watermarks) = &mut self.watermarks else {
            return Ok(());
        };
        let Some(time_us) = watermarks.reached(acknowledged, Instant::now()) else {
            return Ok(());
        };
        watermarks.count(acknowledged);
        let (offsets, parking) = (&self.offsets, &self.parking);
        let records = watermarks.at(time_us, |entity, topic| {
            let is_whole = !parking.has(entity);
            is_whole.then(|| offsets.ends(topic)).flatten()
        });
        if records.is_empty() {
            return Ok(());
        }
        // None goes back, whatever becomes of these.
        self.save(acknowledged, self.sent).await?;
        for record in &records {
            self.publisher.send(record).map_err(lost)?;
        }
        Ok(())
    }

    /// Says, before the relay ends, what is complete if all of the outbox is published.
    pub(super) async fn last_mark(&mut self, health: &mut Health) -> Result<(), Stop> {
        if self.watermarks.is_none() || !self.window.is_empty() {
            return Ok(());
        }
        let Some(horizon) = self.store.horizon().await? else {
            return Ok(());
        };
        let next = self.store.rows_after(self.sent, 1).await?;
        let unread = next.rows.first().map(|row| row.place - 1);
        if let Some(watermarks) = &mut self.watermarks {
            watermarks.go_for(Some(horizon), Instant::now());
            watermarks.read(self.sent, unread.unwrap_or(next.safe));
        }
        self.mark().await?;
        self.drain(health).await
    }
}
