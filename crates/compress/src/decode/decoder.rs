use std::error::Error;
use std::fmt;

#[cfg(feature = "br")]
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, enc::StandardAlloc};
use tower_edge_core::Coding;
#[cfg(any(feature = "deflate", feature = "gzip"))]
use zlib_rs::{Inflate, InflateFlush, Status};
#[cfg(feature = "zstd")]
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// Decodes one coding.
pub(crate) struct Decoder {
    codec: Codec,
    /// Whether what was read is whole by itself.
    whole: bool,
}

/// How far a decoder got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) read: usize,
    pub(crate) written: usize,
}

impl Decoder {
    /// A decoder whose window takes at most 2 to the power of `window` bytes; `None`
    /// for a coding that is not known here.
    pub(crate) fn new(coding: Coding, window: u8) -> Option<Self> {
        let codec = match coding {
            #[cfg(feature = "gzip")]
            Coding::Gzip => Some(Codec::Zlib { inflate: inflater(true), gzip: true }),
            #[cfg(feature = "deflate")]
            Coding::Deflate => Some(Codec::Zlib { inflate: inflater(false), gzip: false }),
            #[cfg(feature = "zstd")]
            Coding::Zstd => {
                let mut context = DCtx::try_create()?;
                context.set_parameter(DParameter::WindowLogMax(window.into())).ok()?;
                Some(Codec::Zstd(Box::new(context)))
            }
            #[cfg(feature = "br")]
            Coding::Br => {
                let [a, b, c] = [(); 3].map(|()| StandardAlloc::default());
                let state = Box::new(BrotliState::new_strict(a, b, c));
                Some(Codec::Br { state, window, begun: false })
            }
            _ => {
                let _ = window;
                None
            }
        };
        // No bytes at all are no bytes, whatever they are said to be.
        codec.map(|codec| Self { codec, whole: true })
    }

    /// Whether the content may end here.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Decodes some of `input`, as far as there is room in `output`.
    pub(crate) fn decode(
        &mut self,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<Progress, DecodeError> {
        let whole = &mut self.whole;
        match &mut self.codec {
            #[cfg(any(feature = "deflate", feature = "gzip"))]
            Codec::Zlib { inflate, gzip } => {
                if *whole && inflate.total_in() > 0 {
                    match input {
                        [] => return Ok(Progress::default()),
                        // gzip may have several members (RFC 1952 §2.2), zlib may not.
                        _ if *gzip => *inflate = inflater(true),
                        _ => return Err(DecodeError::Malformed),
                    }
                }
                let before = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, output, InflateFlush::NoFlush);
                let status = status.map_err(|_| DecodeError::Malformed)?;
                let read = (inflate.total_in() - before.0) as usize;
                let written = (inflate.total_out() - before.1) as usize;
                *whole = status == Status::StreamEnd || (*whole && read == 0);
                Ok(Progress { read, written })
            }
            #[cfg(feature = "zstd")]
            Codec::Zstd(context) => {
                let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(output));
                let left = context.decompress_stream(&mut output, &mut input);
                let left = left.map_err(|_| DecodeError::Malformed)?;
                let (read, written) = (input.pos(), output.pos());
                *whole = left == 0 || (*whole && read == 0);
                Ok(Progress { read, written })
            }
            #[cfg(feature = "br")]
            Codec::Br { state, window, begun } => {
                if *whole && *begun {
                    return match input {
                        [] => Ok(Progress::default()),
                        _ => Err(DecodeError::Malformed),
                    };
                }
                if let (false, [first, ..]) = (*begun, input) {
                    if brotli_window(*first) > *window {
                        return Err(DecodeError::TooLarge);
                    }
                    (*begun, *whole) = (true, false);
                }
                let mut progress = Progress::default();
                let (mut left, mut room) = (input.len(), output.len());
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut progress.read,
                    input,
                    &mut room,
                    &mut progress.written,
                    output,
                    &mut 0,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => return Err(DecodeError::Malformed),
                    BrotliResult::ResultSuccess => *whole = true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                Ok(progress)
            }
            #[cfg(not(any(
                feature = "br",
                feature = "deflate",
                feature = "gzip",
                feature = "zstd"
            )))]
            _ => {
                let _ = (input, output, whole);
                Err(DecodeError::Malformed)
            }
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("whole", &self.whole).finish_non_exhaustive()
    }
}

/// Why the content of a request is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// It is not of the coding that it is said to be, or breaks off.
    Malformed,
    /// It is larger than it may be, or takes more memory.
    TooLarge,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "content is not encoded as it says",
            Self::TooLarge => "content is too large when it is decoded",
        })
    }
}

impl Error for DecodeError {}

enum Codec {
    #[cfg(any(feature = "deflate", feature = "gzip"))]
    Zlib { inflate: Box<Inflate>, gzip: bool },
    #[cfg(feature = "zstd")]
    Zstd(Box<DCtx<'static>>),
    #[cfg(feature = "br")]
    Br {
        state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
        window: u8,
        begun: bool,
    },
}

/// With the head and tail of gzip, or those of zlib.
#[cfg(any(feature = "deflate", feature = "gzip"))]
fn inflater(gzip: bool) -> Box<Inflate> {
    Box::new(Inflate::new(true, if gzip { 16 + 15 } else { 15 }))
}

/// The window that the first byte of a Brotli stream asks for, as a power of two
/// (RFC 7932 §9.1).
#[cfg(feature = "br")]
fn brotli_window(first: u8) -> u8 {
    let (large, small) = (first >> 1 & 7, first >> 4 & 7);
    match (first & 1, large, small) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, small) => 8 + small,
        (_, large, _) => 17 + large,
    }
}
