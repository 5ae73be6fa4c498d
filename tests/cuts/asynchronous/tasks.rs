//! A runtime of its own thread, on which a test's threads run tasks.

use std::future::Future;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    Many,
}

pub(crate) struct Tasks {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tasks {
    pub(crate) fn start(threads: Threads) -> Self {
        let (tell, handle) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let mut builder = match threads {
                Threads::One => Builder::new_current_thread(),
                Threads::Many => Builder::new_multi_thread(),
            };
            let runtime = builder.enable_all().build().expect("a runtime");
            tell.send(runtime.handle().clone()).expect("a test");
            // An error says that the test has dropped the sender.
            let _ = runtime.block_on(ended);
        });
        Tasks { handle: handle.recv().expect("a runtime"), end: Some(end), thread: Some(thread) }
    }

    /// Runs a task, and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        let (tell, result) = mpsc::channel();
        self.handle.spawn(async move { tell.send(task.await) });
        result.recv().expect("a task that does not panic")
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}
