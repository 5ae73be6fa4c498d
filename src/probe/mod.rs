//! What servers are asked: the SQL, and what its rows mean.

pub(crate) mod compare;
pub(crate) mod identity;
pub(crate) mod load;
pub(crate) mod look;
pub(crate) mod question;
