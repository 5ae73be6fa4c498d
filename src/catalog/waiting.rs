//! Tasks that wait for another connection, on whatever runtime they run, with its timer or without.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

#[derive(Debug, Default, Clone)]
pub(crate) struct Waiting {
    wakers: Arc<Mutex<Vec<Waker>>>,
}

impl Waiting {
    /// Wakes the task at the next [`Waiting::wake_all`], and after this time at the latest. What it waits for has to be
    /// looked at once more after this.
    #[cfg(feature = "diesel-async")]
    pub(crate) fn register(&self, waker: &Waker, at_most: std::time::Duration) {
        let is_first = {
            let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            if wakers.iter().any(|known| known.will_wake(waker)) {
                return;
            }
            wakers.push(waker.clone());
            wakers.len() == 1
        };
        if is_first {
            // Waiting is rare, and one thread wakes all that wait.
            let all = self.clone();
            std::thread::spawn(move || {
                std::thread::sleep(at_most);
                all.wake_all();
            });
        }
    }

    pub(crate) fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}
