//! What the care of a table takes, in CPU-seconds of this process.
//!
//! `maintenance refresh DIRECTORY [CHANGES [KEYS]]` copies generated changes (10 million of 1 million
//! keys) with the product's own writer into a lake below an empty directory, and prints a JSON object
//! for each refresh: from nothing; then, with buckets of several sizes, from all changes, and after
//! changes of ten keys, of 1 % and of 50 % of them.
//!
//! `maintenance compaction DIRECTORY [CHANGES [TIMES]]` copies flights (1 million events) in files of
//! 25,000 rows, and prints a JSON object for each time that a copy of that lake is compacted (5). The
//! files are left: where they are there already, they are only compacted.

mod compaction;
mod copied;
mod flights;
mod generated;
mod purchases;
mod refresh;
mod took;

use std::error::Error;

/// The shipped binary's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

async fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).map(|text| text.parse()).transpose();
    match arguments.get(0..2).unwrap_or_default() {
        [what, directory] if what == "refresh" => {
            refresh::measure(directory, number(2)?, number(3)?).await
        }
        [what, directory] if what == "compaction" => {
            compaction::measure(directory, number(2)?, number(3)?).await
        }
        _ => Err("usage: maintenance refresh|compaction DIRECTORY [CHANGES [KEYS|TIMES]]".into()),
    }
}
