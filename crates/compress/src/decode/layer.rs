use std::num::NonZeroU64;

use tower_layer::Layer;

use super::chain::Limits;
use crate::DecompressRequest;

/// Decodes the content of requests that is encoded, within bounds.
///
/// gzip (by the name `x-gzip` too), deflate, br and zstd, and up to three of them
/// one in the other. A request in another coding is answered with 415 and an
/// `Accept-Encoding` that names those that there are. Content that comes to more
/// than 8 MiB when it is decoded, or, from a mebibyte on, to more than 200 times
/// what was sent, breaks off in an error, and the request is answered with 413
/// whatever the service makes of that. Decoders take less than 16 MiB: content that
/// asks for a larger window is too large as well.
///
/// What the service gets has neither `Content-Encoding` nor `Content-Length`, nor
/// digests of the encoded bytes.
///
/// ```
/// use std::num::NonZeroU64;
/// use tower_edge_compress::DecompressRequestLayer;
///
/// let layer = DecompressRequestLayer::new()
///     .max_size(64 << 20)
///     .max_ratio(NonZeroU64::new(50).unwrap());
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct DecompressRequestLayer {
    limits: Limits,
}

impl Default for DecompressRequestLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl DecompressRequestLayer {
    /// The bounds as they are at first.
    pub const fn new() -> Self {
        Self { limits: Limits { size: 8 << 20, ratio: 200 } }
    }

    /// Lets content be up to `bytes` long when it is decoded.
    pub const fn max_size(mut self, bytes: u64) -> Self {
        self.limits.size = bytes;
        self
    }

    /// Lets decoded content be up to `ratio` times as long as what was sent.
    pub const fn max_ratio(mut self, ratio: NonZeroU64) -> Self {
        self.limits.ratio = ratio.get();
        self
    }
}

impl<S> Layer<S> for DecompressRequestLayer {
    type Service = DecompressRequest<S>;

    fn layer(&self, inner: S) -> DecompressRequest<S> {
        DecompressRequest::new(inner, self.limits)
    }
}
