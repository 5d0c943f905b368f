use std::future::poll_fn;
use std::pin::pin;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use tower_edge_core::BoxError;

/// What came out of a body that was read until it ended or broke off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The data frames, as they came.
    pub frames: Vec<Bytes>,
    /// The trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// The error that broke it off, as text.
    pub error: Option<String>,
}

impl Received {
    /// Reads `body`, as hyper does: never again once it has ended.
    pub async fn from<B>(body: B) -> Self
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let mut body = pin!(body);
        let mut received = Self::default();
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    received.error = Some(error.into().to_string());
                    break;
                }
            };
            match frame.into_data() {
                Ok(mut data) => received.frames.push(data.copy_to_bytes(data.remaining())),
                Err(frame) => received.trailers = frame.into_trailers().ok(),
            }
        }
        received
    }

    /// All data, as one.
    pub fn bytes(&self) -> Bytes {
        self.frames.concat().into()
    }
}
