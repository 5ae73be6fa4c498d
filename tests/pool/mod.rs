//! The manager and the customizer: new connections, checkouts, and errors that cost no slot.

mod errors_and_panics;
mod never_asked;
mod new_connections;
mod turned_off;
mod verify_at_most_every;
