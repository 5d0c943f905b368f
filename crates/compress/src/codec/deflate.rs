use libdeflater::{CompressionLvl, Compressor};

use crate::codec::{EncodeError, Scratch};

/// Encodes bodies that are all there as gzip or zlib.
pub(crate) struct Encoder {
    /// For bodies larger than [`TINY`], and for others; made when they are needed.
    compressors: [Option<Compressor>; 2],
    level: u8,
    gzip: bool,
}

impl Encoder {
    pub(crate) fn new(level: u8, gzip: bool) -> Self {
        Self { compressors: [None, None], level, gzip }
    }

    pub(crate) fn encode(&mut self, input: &[u8], output: &mut Scratch) -> Result<(), EncodeError> {
        let is_tiny = input.len() <= TINY;
        let level = if is_tiny { FASTEST } else { self.level };
        let compressor = match &mut self.compressors[usize::from(is_tiny)] {
            Some(compressor) => compressor,
            missing => missing.insert(compressor(level)?),
        };
        let written = if self.gzip {
            let room = output.room(compressor.gzip_compress_bound(input.len()));
            compressor.gzip_compress(input, room)
        } else {
            let room = output.room(compressor.zlib_compress_bound(input.len()));
            compressor.zlib_compress(input, room)
        };
        output.fill(written.map_err(|_| EncodeError)?);
        Ok(())
    }
}

fn compressor(level: u8) -> Result<Compressor, EncodeError> {
    let level = CompressionLvl::new(level.into()).map_err(|_| EncodeError)?;
    Ok(Compressor::new(level))
}

/// Up to this size the level is the fastest one, whatever was chosen: of a kibibyte it
/// makes a percent more bytes than level 6, in two thirds of the time.
const TINY: usize = 1_280;
const FASTEST: u8 = 1;
