//! What the layers of tower-edge share.
//!
//! A layer author finds here the views of a message ([`RequestHead`],
//! [`ResponseHead`]), what requests are told apart by ([`ExtractKey`],
//! [`ClientIp`]), how a call ended ([`Outcome`], [`Classify`]), where time
//! comes from ([`Clock`]), how a layer answers by itself ([`Refusal`],
//! [`ReplyBody`]) and the only way it watches a body ([`TapBody`]).
//!
//! Applications use the facade crate `tower-edge`, which exports what they need.
//!
//! # Features
//!
//! - `axum`: reads axum's `ConnectInfo`, `MatchedPath` and `OriginalUri`.
//! - `tower-http`: adapts the response classifiers of tower-http.

mod body;
mod classify;
mod client;
mod clock;
mod coding;
mod event;
mod forwarded;
mod head;
mod key;
mod offer;
mod optional;
mod outcome;
mod problem;
mod refusal;
mod route;
mod stopwatch;
mod tap;
mod target;
#[cfg(feature = "tower-http")]
mod tower_http;
mod trace;

pub use body::{BodyError, BoxError, EitherBody, ReplyBody};
pub use classify::{Classifier, Classify, Judge, ServerErrors, Verdict};
pub use client::{ClientIp, ForwardingField, PeerAddr};
pub use clock::Clock;
pub use coding::{AcceptedCodings, Coding};
pub use event::{Event, Observe};
pub use forwarded::{Cidr, CidrError};
pub use head::{RequestHead, ResponseHead};
pub use key::{ExtractKey, GlobalKey, HeaderKey, Key, MethodKey, RouteKey};
pub use offer::{CodingChoice, OfferedCodings};
pub use optional::{Optional, OptionalFuture, OptionalService};
pub use outcome::Outcome;
pub use problem::Problem;
pub use refusal::{OnRefuse, Reason, Refusal};
pub use route::{Route, RouteLayer, RouteService};
pub use stopwatch::Stopwatch;
pub use tap::{End, Expected, Tap, TapBody};
pub use target::Target;
#[cfg(feature = "tower-http")]
pub use tower_http::TowerHttpClassify;
pub use trace::{Step, Trace};
