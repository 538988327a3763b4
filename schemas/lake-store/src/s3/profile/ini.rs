//! The dialect of INI that AWS's files are written in.

use std::collections::BTreeMap;

/// The settings of one section, names in lower case; `None` if there is no such section.
///
/// Lines that begin with `#` or `;` are comments, and so is the rest of a line after ` #` or ` ;`.
/// Indented lines belong to a nested setting (`s3 =`) and are passed over.
pub(super) fn section(text: &str, wanted: &str) -> Option<BTreeMap<String, String>> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines() {
        let indented = line.starts_with([' ', '\t']);
        let line = without_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            inside = same_name(name, wanted);
            if inside {
                found.get_or_insert_with(BTreeMap::new);
            }
        } else if let (true, false, Some((name, value))) = (inside, indented, line.split_once('='))
        {
            let settings: &mut BTreeMap<_, _> = found.get_or_insert_with(BTreeMap::new);
            settings.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

/// Names may be surrounded and, in `profile x`, separated by any amount of space.
fn same_name(name: &str, wanted: &str) -> bool {
    name.split_whitespace().eq(wanted.split_whitespace())
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with(['#', ';']) {
        return "";
    }
    let comments = [" #", " ;", "\t#", "\t;"];
    let end = comments.iter().filter_map(|mark| line.find(mark)).min();
    end.map_or(line, |end| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# written by hand
[default]
region = eu-north-1 # near the ships
[ profile  lake ]
Region=us-east-1
aws_secret_access_key = a=b/c+d#e
s3 =
  max_concurrent_requests = 20
; nothing
[other]
region = x
";

    #[test]
    fn a_section_is_found_whole() {
        let lake = section(FILE, "profile lake").unwrap();
        assert_eq!(lake["region"], "us-east-1");
        assert_eq!(lake["aws_secret_access_key"], "a=b/c+d#e");
        assert!(!lake.contains_key("max_concurrent_requests"));
        assert_eq!(section(FILE, "default").unwrap()["region"], "eu-north-1");
        assert!(section(FILE, "lake").is_none());
    }
}
