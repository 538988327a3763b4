//! The comparison, step by step.

use std::time::Duration;

use query_engine::{Engine, Entity, Snapshot};
use schemas::TableName;
use tokio::time::Instant;
use tracing::info;

use crate::VerifyError;
use crate::columns::Columns;
use crate::difference::Difference;
use crate::lake::LakeSide;
use crate::owner::{Owner, OwnerSnapshot};
use crate::point::Point;
use crate::ranges::Ranges;
use crate::rows::Rows;

/// Wait between two looks for a new version of the lake's table.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How far a comparison goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a change may take from the owner to the lake: a difference that has stayed for so
    /// long is one.
    pub wait_max: Duration,
    /// Rows of both sides together that are held in memory to say which of them differ. At least
    /// one range is looked into.
    pub rows_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_secs(60),
            rows_max: 200_000,
        }
    }
}

/// What came out of a comparison.
#[derive(Debug)]
pub struct Comparison {
    /// The version of the lake's table of changes.
    pub version: u64,
    /// The moment both sides are of.
    pub point: Point,
    /// Rows at the owner.
    pub owner_rows: u64,
    /// Rows in the lake as of the point.
    pub lake_rows: u64,
    /// Ranges whose counts or sums differ.
    pub ranges_differing: usize,
    /// Of those, how many were looked into for rows.
    pub ranges_examined: usize,
    /// What differs in them.
    pub differences: Vec<Difference>,
    /// Keys that the owner changed again meanwhile, of which nothing can be said.
    pub unsettled: usize,
    /// Columns of the lake that the owner's table lacks, not compared.
    pub only_lake: Vec<String>,
    /// Columns of the owner's table that the lake lacks, not compared.
    pub only_owner: Vec<String>,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty() && self.ranges_examined == self.ranges_differing
    }
}

/// One version of the lake, read for a comparison.
struct Look {
    snapshot: Snapshot,
    entity: Entity,
}

/// Compares an owner's table with the lake's state of an entity.
///
/// # Errors
/// One of the sides cannot be read, or they have nothing in common. That they differ is no error.
pub async fn compare(
    lake: &Engine,
    table: &TableName,
    owner: &Owner,
    limits: Limits,
) -> Result<Comparison, VerifyError> {
    let mut look = Look::now(lake, table).await?;
    let mut at_owner = owner.snapshot(table).await?;
    let since = Instant::now();
    let columns = Columns::common(table, &look.entity.contract, at_owner.columns())?;
    let owner_ranges = owner_ranges(&mut at_owner, &columns).await?;
    let point = at_owner.point().clone();
    info!(%table, rows = owner_ranges.rows(), ?point, "the owner's table is read");
    // The lake is looked at after the owner.
    look.renew(lake, table).await?;
    let (lake_ranges, differing) = loop {
        let ranges = look.ranges(table, &columns, &point).await?;
        let differing = owner_ranges.differing(&ranges);
        if differing.is_empty() {
            break (ranges, differing);
        }
        info!(%table, version = look.entity.version, ranges = differing.len(), "something differs");
        if !look
            .next_version(lake, table, since + limits.wait_max)
            .await?
        {
            break (ranges, differing);
        }
    };
    let examined = examined(&differing, limits.rows_max);
    let mut comparison = Comparison {
        version: look.entity.version,
        owner_rows: owner_ranges.rows(),
        lake_rows: lake_ranges.rows(),
        ranges_differing: differing.len(),
        ranges_examined: examined.len(),
        differences: Vec::new(),
        unsettled: 0,
        only_lake: columns.only_lake.clone(),
        only_owner: columns.only_owner.clone(),
        point,
    };
    if !examined.is_empty() {
        let owner_rows = owner_rows(&mut at_owner, &columns, &examined).await?;
        let lake_rows = look
            .rows(table, &columns, &comparison.point, &examined)
            .await?;
        let names = columns.fields.iter().map(|field| field.name.clone());
        let names: Vec<String> = names.collect();
        comparison.differences = owner_rows.differences(&lake_rows, &names);
        let side = look.side(table, &columns);
        if !side.is_exact(&comparison.point).await? {
            drop(at_owner);
            let mut later = owner.snapshot(table).await?;
            let later = self::owner_rows(&mut later, &columns, &examined).await?;
            let before = comparison.differences.len();
            let stayed = |found: &Difference| owner_rows.same(&later, &found.key_bytes);
            comparison.differences.retain(stayed);
            comparison.unsettled = before - comparison.differences.len();
        }
    }
    Ok(comparison)
}

/// As many of the ranges as have few enough rows, and at least one.
fn examined(differing: &[(usize, u64)], rows_max: u64) -> Vec<usize> {
    let mut rows = 0;
    let fits = |(place, (_, of_range)): &(usize, &(usize, u64))| {
        rows += of_range;
        *place == 0 || rows <= rows_max
    };
    let ranges = differing.iter().enumerate().take_while(fits);
    ranges.map(|(_, (range, _))| *range).collect()
}

async fn owner_ranges(owner: &mut OwnerSnapshot, columns: &Columns) -> Result<Ranges, VerifyError> {
    let mut sums = Ranges::new();
    owner.read(columns, &mut sums).await?;
    Ok(sums)
}

async fn owner_rows(
    owner: &mut OwnerSnapshot,
    columns: &Columns,
    ranges: &[usize],
) -> Result<Rows, VerifyError> {
    let mut rows = Rows::of_ranges(ranges);
    owner.read(columns, &mut rows).await?;
    Ok(rows)
}

impl Look {
    async fn now(lake: &Engine, table: &TableName) -> Result<Self, VerifyError> {
        let snapshot = lake.snapshot();
        let entity = snapshot.entity(table).await?;
        let entity = entity.ok_or_else(|| VerifyError::Table {
            table: table.clone(),
            why: "the lake has no table of it; `lakehead sql -c 'SHOW TABLES'` lists what is there"
                .to_owned(),
        })?;
        Ok(Self { snapshot, entity })
    }

    async fn renew(&mut self, lake: &Engine, table: &TableName) -> Result<(), VerifyError> {
        *self = Self::now(lake, table).await?;
        Ok(())
    }

    /// Waits for a version after this one; false if there is none before the deadline.
    async fn next_version(
        &mut self,
        lake: &Engine,
        table: &TableName,
        deadline: Instant,
    ) -> Result<bool, VerifyError> {
        let seen = self.entity.version;
        while Instant::now() < deadline {
            tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_EVERY)).await;
            self.renew(lake, table).await?;
            if self.entity.version != seen {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn side<'a>(&'a self, table: &'a TableName, columns: &'a Columns) -> LakeSide<'a> {
        LakeSide::new(&self.snapshot, table, columns)
    }

    async fn ranges(
        &self,
        table: &TableName,
        columns: &Columns,
        point: &Point,
    ) -> Result<Ranges, VerifyError> {
        let mut sums = Ranges::new();
        self.side(table, columns).read(point, &mut sums).await?;
        Ok(sums)
    }

    async fn rows(
        &self,
        table: &TableName,
        columns: &Columns,
        point: &Point,
        ranges: &[usize],
    ) -> Result<Rows, VerifyError> {
        let mut rows = Rows::of_ranges(ranges);
        self.side(table, columns).read(point, &mut rows).await?;
        Ok(rows)
    }
}
