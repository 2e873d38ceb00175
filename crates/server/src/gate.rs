//! A gate before "stored".

use std::sync::Arc;

use tokio::sync::watch;

/// Delays durability: while it is closed, what is published waits, neither visible nor
/// acknowledged. It stands in for a slow disk in tests of code that publishes.
///
/// ```
/// use heartwire_server::{Gate, Hub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gate = Gate::open();
/// let hub = Hub::builder().gate(gate.clone()).open().await?;
/// gate.set_open(false);
/// let published = tokio::spawn(async move { hub.publish("task:42", "50 %").await });
/// tokio::task::yield_now().await;
/// assert!(!published.is_finished());
/// gate.set_open(true);
/// published.await??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::open()
    }
}

impl Gate {
    /// A gate that stands open.
    pub fn open() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(true)),
        }
    }

    /// Opens or closes it. Opening stores everything that waits.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Whether it stands open.
    pub fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Ready each time the gate has moved.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }
}
