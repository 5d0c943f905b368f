use bytes::{Buf, Bytes};
use tower_edge_core::Coding;

use super::decoder::{DecodeError, Decoder};

/// Decodes what was encoded several times, within bounds.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The outermost coding, which was put on last, first.
    stages: Vec<Stage>,
    limits: Limits,
    /// How much came in.
    read: u64,
}

/// What decoded content may come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// In bytes, that of codings within others too.
    pub(crate) size: u64,
    /// So many times what came in, once it is more than a little.
    pub(crate) ratio: u64,
}

impl Chain {
    /// Decodes these codings, which stand in the order in which they were put on;
    /// `None` if one of them is not known here, or there are too many.
    pub(crate) fn new(codings: &[Coding], limits: Limits) -> Option<Self> {
        let window = if codings.len() > 1 { INNER_WINDOW } else { WINDOW };
        let stage = |coding: &Coding| {
            let decoder = Decoder::new(*coding, window)?;
            Some(Stage { decoder, input: Bytes::new(), written: 0 })
        };
        let stages: Option<Vec<_>> = codings.iter().rev().map(stage).collect();
        let stages = stages.filter(|stages| stages.len() <= MOST_CODINGS)?;
        Some(Self { stages, limits, read: 0 })
    }

    /// Gives more to decode.
    pub(crate) fn feed(&mut self, data: Bytes) {
        self.read += data.len() as u64;
        if let Some(stage) = self.stages.first_mut() {
            stage.input = data;
        }
    }

    /// Decodes up to `room` bytes; none if there is nothing more to decode.
    pub(crate) fn decode(&mut self, room: usize) -> Result<Bytes, DecodeError> {
        let mut output = vec![0; room];
        let written = self.pull(self.stages.len() - 1, &mut output)?;
        output.truncate(written);
        Ok(output.into())
    }

    /// Makes sure that nothing is missing at the end.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        let whole = self.stages.iter().all(|stage| stage.decoder.is_whole());
        whole.then_some(()).ok_or(DecodeError::Malformed)
    }

    fn pull(&mut self, at: usize, output: &mut [u8]) -> Result<usize, DecodeError> {
        loop {
            let stage = &mut self.stages[at];
            let progress = stage.decoder.decode(&stage.input, output)?;
            stage.input.advance(progress.read);
            stage.written += progress.written as u64;
            if stage.written > self.limits.size || self.is_bomb(at) {
                return Err(DecodeError::TooLarge);
            }
            if progress.written > 0 {
                return Ok(progress.written);
            }
            if progress.read > 0 {
                continue;
            }
            if at == 0 {
                let stuck = !self.stages[0].input.is_empty();
                return if stuck { Err(DecodeError::Malformed) } else { Ok(0) };
            }
            let mut inner = vec![0; PIECE];
            match self.pull(at - 1, &mut inner)? {
                0 => return Ok(0),
                written => {
                    inner.truncate(written);
                    self.stages[at].input = inner.into();
                }
            }
        }
    }

    fn is_bomb(&self, at: usize) -> bool {
        let written = self.stages[at].written;
        written > LITTLE && written / self.limits.ratio > self.read
    }
}

#[derive(Debug)]
struct Stage {
    decoder: Decoder,
    input: Bytes,
    written: u64,
}

/// Nobody encodes more often but to do harm.
const MOST_CODINGS: usize = 3;
/// What browsers take of zstd, 8 MiB.
const WINDOW: u8 = 23;
/// Where there are several.
const INNER_WINDOW: u8 = 21;
/// Up to this size no ratio is a bomb.
const LITTLE: u64 = 1 << 20;
const PIECE: usize = 16 << 10;
