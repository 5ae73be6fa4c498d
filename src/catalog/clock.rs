//! The time, which a test can move.

use std::time::Instant;

pub(crate) fn now() -> Instant {
    #[cfg(test)]
    return Instant::now() + tests::AHEAD.get();
    #[cfg(not(test))]
    Instant::now()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        pub(super) static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// Lets time pass for this thread.
    pub(crate) fn advance(by: Duration) {
        AHEAD.set(AHEAD.get() + by);
    }
}
