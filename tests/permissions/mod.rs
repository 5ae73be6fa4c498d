//! Roles that may do less than usual.

mod role_without_permissions;
