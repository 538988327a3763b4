//! What `lakehead dev` says when it is ready: where everything is, and how to go on.

use std::path::Path;

use super::topics::Road;
use crate::embedded::Embedded;

/// Tells the addresses and the commands to go on with, on standard error.
pub(super) fn greet(directory: &Path, lake: &str, embedded: &Embedded, road: &Road) {
    let kafka = embedded.bootstrap_servers();
    let registry = embedded.registry_url();
    eprintln!(
        "lakehead dev is ready; everything is kept in {}\n\n  \
         Kafka            {kafka}\n  \
         schema registry  {registry}\n  \
         lake             {lake}\n  \
         copied           {}\n\n\
         Go on with:\n  \
         kcat -b {kafka} -L\n  \
         curl {registry}/subjects\n  \
         lakehead sql --lake {lake} -c 'show tables'\n",
        directory.display(),
        road.told()
    );
}
