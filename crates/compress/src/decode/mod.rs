//! Requests whose content is encoded.

mod body;
mod chain;
mod decoder;
mod fields;
mod future;
mod layer;
mod service;

pub use body::DecompressBody;
pub use future::DecompressFuture;
pub use layer::DecompressRequestLayer;
pub use service::DecompressRequest;
