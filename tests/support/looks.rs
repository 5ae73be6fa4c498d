//! Looks for new types.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::{Instrumentation, InstrumentationEvent};

/// Counts the looks for new types that a connection sends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Looks(Arc<AtomicUsize>);

impl Looks {
    /// Those since it was asked last.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Instrumentation for Looks {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let is_look = query.to_string().contains("check and look");
            self.0.fetch_add(usize::from(is_look), Ordering::SeqCst);
        }
    }
}
