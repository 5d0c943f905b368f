use libdeflater::{CompressionLvl, Compressor};

use crate::codec::{EncodeError, Scratch};

/// Encodes bodies that are all there as gzip or zlib.
pub(crate) struct Encoder {
    compressor: Compressor,
    gzip: bool,
}

impl Encoder {
    pub(crate) fn new(level: u8, gzip: bool) -> Result<Self, EncodeError> {
        let level = CompressionLvl::new(level.into()).map_err(|_| EncodeError)?;
        Ok(Self { compressor: Compressor::new(level), gzip })
    }

    pub(crate) fn encode(&mut self, input: &[u8], output: &mut Scratch) -> Result<(), EncodeError> {
        let Self { compressor, gzip } = self;
        let written = if *gzip {
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
