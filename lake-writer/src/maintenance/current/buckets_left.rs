//! The files that the last refresh left in a table, one a bucket.
//!
//! Nobody else writes to what is derived. Who does all the same (a DELETE or an UPDATE that is meant for the
//! changes' owner, a RESTORE of an earlier version) leaves a table that says that it covers changes whose
//! rows it does not have. So each commit keeps a number of all files there are then.

use std::collections::BTreeMap;

use lake_store::BUCKET;

use crate::action::Add;
use crate::app_id;
use crate::delta_log::TableState;

/// The files of a table at this state, by their buckets.
///
/// # Errors
/// Another program wrote to the table. Not told of one whose last commit kept no number.
pub(crate) fn buckets_left(
    current: &TableState,
    path: &str,
    files: Vec<Add>,
) -> Result<BTreeMap<u32, Add>, String> {
    let found = number(0, &files);
    let buckets = by_bucket(files)?;
    match current.txns.get(&app_id::files(path)) {
        Some(left) if *left != found => Err(
            "its files are not those that the last refresh left: another program wrote to the table (a \
             DELETE, an UPDATE, a RESTORE); `lakehead rebuild` computes it anew"
                .to_owned(),
        ),
        _ => Ok(buckets),
    }
}

/// The number of files, by their paths, whatever their order; and of others, which have this number.
pub(super) fn number<'a>(others: i64, files: impl IntoIterator<Item = &'a Add>) -> i64 {
    let each = files.into_iter();
    let each = each.map(|file| app_id::number_of(file.path.as_bytes()));
    each.fold(others, |sum, each| sum.wrapping_add(each) & i64::MAX)
}

/// The buckets that files are of, one each.
pub(super) fn by_bucket(files: Vec<Add>) -> Result<BTreeMap<u32, Add>, String> {
    let mut base = BTreeMap::new();
    for file in files {
        let bucket = file.partition_values.get(BUCKET).cloned().flatten();
        let bucket = bucket.and_then(|bucket| bucket.parse::<u32>().ok());
        match bucket.filter(|bucket| !base.contains_key(bucket)) {
            Some(bucket) => base.insert(bucket, file),
            None => {
                return Err(format!(
                    "{} is not the one file of a bucket: another program wrote to the table; \
                     `lakehead rebuild` computes it anew",
                    file.path
                ));
            }
        };
    }
    Ok(base)
}
