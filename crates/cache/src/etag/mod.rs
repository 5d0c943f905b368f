//! Entity tags for responses that no cache stores.

mod body;
mod future;
mod layer;
mod service;

pub use body::EtagBody;
pub use future::EtagFuture;
pub use layer::EtagLayer;
pub use service::EtagService;
