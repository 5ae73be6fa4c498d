//! One server whose types, names and search paths change under open connections.

mod every_kind_of_recreated_type;
mod major_versions;
mod names;
mod new_type;
mod recreated_type;
mod renamed_or_moved_type;
mod restart;
mod search_path;
mod tenant;
mod uncommitted_type;
