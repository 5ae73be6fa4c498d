//! One server whose types, names and search paths change under open connections.

pub(crate) mod major_versions;
pub(crate) mod new_type;
pub(crate) mod recreated_type;
pub(crate) mod search_path;
