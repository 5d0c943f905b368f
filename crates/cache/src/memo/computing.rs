use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ahash::RandomState;
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::flights;
use crate::landing::FlightKey;

pub(crate) type Computations = flights::Flights<FlightKey, Computed, RandomState>;
pub(super) type Join = flights::Join<FlightKey, Computed, RandomState>;
pub(super) type Lead = flights::Lead<FlightKey, Computed, RandomState>;

/// What came of a computation, for those who wait for it.
#[derive(Clone, Debug)]
pub(crate) enum Computed {
    /// The value, serialized.
    Value(Bytes),
    Failed(Arc<dyn Any + Send + Sync>),
    /// Nothing that can be shared.
    Useless,
}

/// A computation for which others may wait: if it is dropped while they do, it
/// goes on in a task.
pub(super) struct Computing<T: 'static> {
    task: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    lead: Arc<Lead>,
}

impl<T: 'static> Computing<T> {
    pub(super) fn new(task: impl Future<Output = T> + Send + 'static, lead: Arc<Lead>) -> Self {
        Self { task: Some(Box::pin(task)), lead }
    }
}

impl<T: 'static> Future for Computing<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let task = self.task.as_mut().expect("polled after it was ready");
        let polled = task.as_mut().poll(cx);
        if polled.is_ready() {
            self.task = None;
        }
        polled
    }
}

impl<T: 'static> Drop for Computing<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take()
            && self.lead.is_followed()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { drop(task.await) });
        }
    }
}
