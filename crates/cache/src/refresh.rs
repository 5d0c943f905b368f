use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tokio::runtime::Handle;
use tower::util::Oneshot;
use tower_edge_core::BoxError;
use tower_service::Service;

use crate::flight::Flight;
use crate::policy::ask_for;
use crate::shared::Shared;

/// A refresh of a stale response behind the back of the client that was answered
/// with it (RFC 5861 §3).
///
/// It leads its flight, so there is one at a time.
#[derive(Debug)]
pub(crate) struct Refresh(pub(crate) Flight);

impl Refresh {
    /// Sends the client's own request on as a validation and reads its response
    /// to the end, in a task of its own, which outlives the client. Outside a
    /// runtime nothing happens: the entry is validated when its window is over.
    pub(crate) fn start<S, ReqBody, ResBody>(
        self,
        inner: S,
        mut request: Request<ReqBody>,
        shared: Arc<Shared>,
    ) where
        S: Service<Request<ReqBody>, Response = Response<ResBody>> + Send + 'static,
        S::Future: Send,
        ReqBody: Send + 'static,
        ResBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let Ok(runtime) = Handle::try_current() else { return };
        let Self(mut flight) = self;
        *request.method_mut() = Method::GET;
        ask_for(flight.is_for_all(), request.headers_mut());
        flight.prepare(request.headers_mut());
        runtime.spawn(async move {
            // What another node is at comes from there.
            if !flight.is_ours(&shared).await {
                return;
            }
            let response = Oneshot::new(inner, request).await.ok();
            if let Some(response) = response {
                let mut body = pin!(flight.land(&shared, response).into_body());
                while let Some(Ok(_)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
            }
        });
    }
}
