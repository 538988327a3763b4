//! Tables of every format that this program ever wrote, as files in the repository.

use std::path::Path;

use super::*;
use crate::maintenance::fixture::Rows;

/// Where a format's table is kept. Its rows are in `rows.json` beside it.
fn golden(format: &str) -> std::path::PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    tests.join(format!("format-{format}"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn rows_file(rows: &Rows) -> String {
    let rows = rows.iter();
    let rows = rows.map(|((partition, offset), row)| (format!("{partition}/{offset}"), row));
    let rows: std::collections::BTreeMap<String, &String> = rows.collect();
    serde_json::to_string_pretty(&rows).unwrap()
}

#[tokio::test]
async fn a_table_of_format_1_is_read_and_compacted() {
    let directory = tempfile::tempdir().unwrap();
    copy(&golden("1"), directory.path());
    let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], false).unwrap();
    let expected = std::fs::read_to_string(golden("1").join("rows.json")).unwrap();
    let table = Fixture::open(lake).await;
    let rows = table.read_rows().await;
    assert_eq!(rows_file(&rows), expected.trim());
    let txns = table.state.txns.clone();
    let report = table.compaction(&table.lake).run().await.unwrap();
    assert_eq!((report.files_removed, report.files_added), (5, 2));
    assert_eq!(table.read_rows().await, rows);
    let newest = table.log.load().await.unwrap().unwrap();
    assert!(
        txns.iter()
            .all(|(app_id, version)| newest.txns.get(app_id) == Some(version))
    );
}

/// Makes the golden table of the format that this program writes. Once for each format, by hand:
/// `cargo test --release -p lake-writer -- --ignored golden_table`.
#[tokio::test]
#[ignore = "writes into the repository, once for each format"]
async fn golden_table() {
    let path = golden(lake_store::FORMAT_VERSION);
    assert!(!path.exists(), "{} is there already", path.display());
    let lake = LakeStore::open(path.to_str().unwrap(), &[], true).unwrap();
    let mut table = Fixture::new(lake, 1).await;
    for _ in 0..2 {
        table.append(&[(1, 2), (0, 3)], DAY).await;
    }
    add_column(&mut table).await;
    table.append(&[(2, 3)], DAY).await;
    for _ in 0..2 {
        table.append(&[(0, 2)], DAY + 1).await;
    }
    let rows = table.read_rows().await;
    assert_eq!(rows, table.rows);
    std::fs::write(path.join("rows.json"), rows_file(&rows) + "\n").unwrap();
}
