//! The bugs that `docs/upstream.md` names, in the released versions, on a real server. A test that fails here says that
//! one is mended: then update the page, and what this crate says or does because of it.

mod copy;
mod mobc;
mod page;
mod spin;
