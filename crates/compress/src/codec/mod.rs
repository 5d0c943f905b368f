//! Encoders of each coding, driven by hand: what they hold and when they flush is
//! up to us.

#[cfg(feature = "br")]
mod brotli;
#[cfg(any(feature = "deflate", feature = "gzip"))]
mod deflate;
#[cfg_attr(
    not(any(feature = "br", feature = "deflate", feature = "gzip", feature = "zstd")),
    allow(dead_code, reason = "without an encoder nobody writes")
)]
mod scratch;
#[cfg(any(feature = "deflate", feature = "gzip"))]
mod zlib;
#[cfg(feature = "zstd")]
mod zstd;

use std::error::Error;
use std::fmt;

use tower_edge_core::Coding;

pub(crate) use scratch::Scratch;

/// What is being encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All of a body at once.
    Whole,
    /// A body that is all there, a slice at a time.
    Large,
    /// A body piece by piece, in bounded memory.
    Pieces,
}

/// What becomes of the bytes that an encoder has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// They may wait for more.
    Go,
    /// A decoder gets all of them.
    Flush,
    /// They are the last.
    Finish,
}

/// Encodes one body after the other.
pub(crate) enum Encoder {
    #[cfg(any(feature = "deflate", feature = "gzip"))]
    Deflate(Box<deflate::Encoder>),
    #[cfg(any(feature = "deflate", feature = "gzip"))]
    Zlib(Box<zlib::Encoder>),
    #[cfg(feature = "zstd")]
    Zstd(Box<zstd::Encoder>),
    #[cfg(feature = "br")]
    Br(Box<brotli::Encoder>),
}

impl Encoder {
    /// An encoder at its start.
    pub(crate) fn new(coding: Coding, level: u8, kind: Kind) -> Result<Self, EncodeError> {
        match coding {
            #[cfg(any(feature = "deflate", feature = "gzip"))]
            Coding::Gzip | Coding::Deflate => {
                let gzip = coding == Coding::Gzip;
                Ok(match kind {
                    Kind::Whole => Self::Deflate(Box::new(deflate::Encoder::new(level, gzip))),
                    _ => Self::Zlib(Box::new(zlib::Encoder::new(level, gzip))),
                })
            }
            #[cfg(feature = "zstd")]
            Coding::Zstd => zstd::Encoder::new(level, kind).map(|zstd| Self::Zstd(Box::new(zstd))),
            #[cfg(feature = "br")]
            Coding::Br => Ok(Self::Br(Box::new(brotli::Encoder::new(level, kind)))),
            _ => {
                let _ = (level, kind);
                Err(EncodeError)
            }
        }
    }

    /// Goes back to the start; `false` if it cannot, and is of no more use.
    pub(crate) fn reset(&mut self) -> bool {
        match self {
            #[cfg(any(feature = "deflate", feature = "gzip"))]
            Self::Deflate(_) => true,
            #[cfg(any(feature = "deflate", feature = "gzip"))]
            Self::Zlib(zlib) => zlib.reset(),
            #[cfg(feature = "zstd")]
            Self::Zstd(zstd) => zstd.reset(),
            #[cfg(feature = "br")]
            Self::Br(_) => false,
            #[cfg(not(any(
                feature = "br",
                feature = "deflate",
                feature = "gzip",
                feature = "zstd"
            )))]
            _ => false,
        }
    }

    /// Whether it can encode another body.
    pub(crate) fn starts_again(&self) -> bool {
        match self {
            #[cfg(feature = "br")]
            Self::Br(_) => false,
            #[allow(unreachable_patterns, reason = "which codings there are is up to features")]
            _ => true,
        }
    }

    /// Says how long the body is that comes, if that is known.
    pub(crate) fn expect(&mut self, size: u64) {
        match self {
            #[cfg(feature = "zstd")]
            Self::Zstd(zstd) => zstd.expect(size),
            #[cfg(feature = "br")]
            Self::Br(brotli) => brotli.expect(size),
            #[allow(unreachable_patterns, reason = "which codings there are is up to features")]
            _ => {
                let _ = size;
            }
        }
    }

    /// Encodes all of `input`.
    pub(crate) fn encode(
        &mut self,
        input: &[u8],
        then: Then,
        output: &mut Scratch,
    ) -> Result<(), EncodeError> {
        match self {
            #[cfg(any(feature = "deflate", feature = "gzip"))]
            Self::Deflate(deflate) if then == Then::Finish => deflate.encode(input, output),
            #[cfg(any(feature = "deflate", feature = "gzip"))]
            Self::Deflate(_) => Err(EncodeError),
            #[cfg(any(feature = "deflate", feature = "gzip"))]
            Self::Zlib(zlib) => zlib.encode(input, then, output),
            #[cfg(feature = "zstd")]
            Self::Zstd(zstd) => zstd.encode(input, then, output),
            #[cfg(feature = "br")]
            Self::Br(brotli) => brotli.encode(input, then, output),
            #[cfg(not(any(
                feature = "br",
                feature = "deflate",
                feature = "gzip",
                feature = "zstd"
            )))]
            _ => {
                let _ = (input, then, output);
                Err(EncodeError)
            }
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

/// An encoder that does not go on: it has got no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EncodeError;

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("encoder failed")
    }
}

impl Error for EncodeError {}

/// The codings that features have put in, in their order of preference.
pub(crate) const CODINGS: &[Coding] = &[
    #[cfg(feature = "zstd")]
    Coding::Zstd,
    #[cfg(feature = "br")]
    Coding::Br,
    #[cfg(feature = "gzip")]
    Coding::Gzip,
    #[cfg(feature = "deflate")]
    Coding::Deflate,
];
