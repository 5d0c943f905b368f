use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};

use crate::codec::{EncodeError, Scratch, Then};

/// Encodes bodies that come in pieces as gzip or zlib.
pub(crate) struct Encoder(Deflate);

impl Encoder {
    pub(crate) fn new(level: u8, gzip: bool) -> Self {
        let window_bits = if gzip { WINDOW + GZIP } else { WINDOW };
        let config = DeflateConfig { level: level.into(), window_bits, ..CONFIG };
        Self(Deflate::new_with_config(config))
    }

    pub(crate) fn reset(&mut self) -> bool {
        self.0.reset();
        true
    }

    pub(crate) fn encode(
        &mut self,
        mut input: &[u8],
        then: Then,
        output: &mut Scratch,
    ) -> Result<(), EncodeError> {
        let flush = match then {
            Then::Go => DeflateFlush::NoFlush,
            Then::Flush => DeflateFlush::SyncFlush,
            Then::Finish => DeflateFlush::Finish,
        };
        loop {
            let room = output.room(ROOM);
            let (before, size) = ((self.0.total_in(), self.0.total_out()), room.len());
            let status = self.0.compress(input, room, flush).map_err(|_| EncodeError)?;
            let read = (self.0.total_in() - before.0) as usize;
            let written = (self.0.total_out() - before.1) as usize;
            input = &input[read..];
            output.fill(written);
            let done = match then {
                Then::Finish => status == Status::StreamEnd,
                _ => input.is_empty() && written < size,
            };
            if done {
                return Ok(());
            }
            if read == 0 && written == 0 {
                return Err(EncodeError);
            }
        }
    }
}

/// 32 KiB, the largest that there is.
const WINDOW: i32 = 15;
/// Asks for gzip's head and tail in place of zlib's.
const GZIP: i32 = 16;
/// The memory level keeps an encoder below 300 KiB, for a third of a percent more
/// bytes.
const CONFIG: DeflateConfig = DeflateConfig {
    level: 6,
    method: zlib_rs::Method::Deflated,
    window_bits: WINDOW,
    mem_level: 6,
    strategy: zlib_rs::Strategy::Default,
};
const ROOM: usize = 4 << 10;
