//! One server whose types, names and search paths change under open connections.

mod every_kind_of_recreated_type;
mod major_versions;
mod names;
mod new_types;
mod recreated_type;
mod renamed_or_moved_type;
mod search_path;
mod uncommitted_type;
