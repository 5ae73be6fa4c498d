#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]

#[cfg(feature = "diesel-async")]
pub mod asynchronous;
mod catalog;
mod connection;
mod environment;
#[cfg(feature = "hstore")]
pub mod hstore;
mod pool;
mod probe;
mod report;
mod synchronize;
mod transaction;

pub use catalog::server::Server;
pub use catalog::session::{ParseTargetSessionAttrsError, TargetSessionAttrs};
pub use catalog::track::track;
pub use pool::customizer::HotUpgradeCustomizer;
pub use pool::manager::HotUpgradeManager;
pub use pool::transaction::HotUpgradePool;
pub use pool::transaction::builder::HotPoolTransactionBuilder;
pub use pool::transaction::error::{CutCause, HotTransactionError};
pub use pool::verify::{Verify, verify_at_next_checkout};
pub use report::change::{Change, MovedType, TypeName};
pub use report::observers::on_change;
pub use report::stats::{Stats, stats};
pub use synchronize::{Outcome, synchronize};
pub use transaction::builder::HotTransactionBuilder;
pub use transaction::ext::HotUpgradeExt;
pub use transaction::query::HotQuery;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Each imports only what stands before it: see ARCHITECTURE.md.
    const LAYERS: [&str; 9] = [
        "catalog",
        "report",
        "environment",
        "probe",
        "connection",
        "synchronize",
        "transaction",
        "pool",
        "asynchronous",
    ];

    fn layer(module: &str) -> Option<usize> {
        LAYERS.iter().position(|layer| *layer == module)
    }

    fn check(file: &Path, own: usize) -> usize {
        let text = fs::read_to_string(file).expect("a source file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let modules = code.flat_map(|line| line.split("crate::").skip(1));
        let modules =
            modules.map(|path| path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(path));
        let imported: Vec<_> = modules.filter_map(layer).collect();
        let upward = imported.iter().find(|imported| **imported > own);
        assert_eq!(upward.map(|layer| LAYERS[*layer]), None, "is imported by {}", file.display());
        imported.len()
    }

    fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn imports_go_one_way() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut seen = 0;
        for file in sources(&root) {
            let within = file.strip_prefix(&root).expect("below src");
            let first = within.iter().next().and_then(|part| part.to_str()).expect("a name");
            if let Some(own) = layer(first.trim_end_matches(".rs")) {
                seen += check(&file, own);
            }
        }
        assert!(seen > 50, "{seen} imports seen");
    }
}
