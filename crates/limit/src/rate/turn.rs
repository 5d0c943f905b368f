use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Response};
use tower_edge_core::RequestHead;

use super::after::After;
use super::asking::Asking;
use super::queued::Queued;
use super::shared::Denied;

/// A request about which it is not decided yet.
#[derive(Debug)]
pub(super) enum Turn {
    /// It waits for its quota.
    Queued(Queued),
    /// It waits for what a store says.
    Asking(Asking),
}

impl Turn {
    /// Ready when it is decided.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denied>> {
        match self {
            Self::Queued(queued) => queued.poll(cx),
            Self::Asking(asking) => asking.poll(cx),
        }
    }

    pub(super) fn after(&self, method: &Method) -> After {
        match self {
            Self::Queued(queued) => queued.after(method),
            Self::Asking(asking) => asking.after(method),
        }
    }

    pub(super) fn refuse(&self, head: &RequestHead<'_>, denied: Denied) -> Option<Response<Bytes>> {
        match self {
            Self::Queued(queued) => queued.refuse(head, denied),
            Self::Asking(asking) => asking.refuse(head, denied),
        }
    }
}
