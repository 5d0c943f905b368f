use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, compress_bound};

use crate::codec::{EncodeError, Kind, Scratch, Then};

/// Encodes as frames of Zstandard.
pub(crate) struct Encoder {
    context: CCtx<'static>,
    kind: Kind,
}

impl Encoder {
    pub(crate) fn new(level: u8, kind: Kind) -> Result<Self, EncodeError> {
        let mut context = CCtx::try_create().ok_or(EncodeError)?;
        let mut set = |parameter| context.set_parameter(parameter).map_err(|_| EncodeError);
        match kind {
            Kind::Whole => {
                set(CParameter::CompressionLevel(level.into()))?;
                set(CParameter::WindowLog(MOST_WINDOW))?;
            }
            Kind::Large | Kind::Pieces => {
                set(CParameter::CompressionLevel(level.min(MOST_LEVEL).into()))?;
                set(CParameter::WindowLog(WINDOW))?;
                set(CParameter::HashLog(TABLES))?;
                set(CParameter::ChainLog(TABLES))?;
            }
        }
        Ok(Self { context, kind })
    }

    pub(crate) fn reset(&mut self) -> bool {
        self.context.reset(ResetDirective::SessionOnly).is_ok()
    }

    pub(crate) fn expect(&mut self, size: u64) {
        // It is no more than a hint to us: a wrong one fails when the frame ends.
        let _ = self.context.set_pledged_src_size(Some(size));
    }

    pub(crate) fn encode(
        &mut self,
        input: &[u8],
        then: Then,
        output: &mut Scratch,
    ) -> Result<(), EncodeError> {
        if (self.kind, then) == (Kind::Whole, Then::Finish) {
            let room = output.room(compress_bound(input.len()));
            let written = self.context.compress2(room, input).map_err(|_| EncodeError)?;
            output.fill(written);
            return Ok(());
        }
        let directive = match then {
            Then::Go => ZSTD_EndDirective::ZSTD_e_continue,
            Then::Flush => ZSTD_EndDirective::ZSTD_e_flush,
            Then::Finish => ZSTD_EndDirective::ZSTD_e_end,
        };
        let mut input_buffer = InBuffer::around(input);
        loop {
            let mut room = OutBuffer::around(output.room(ROOM));
            let left = self.context.compress_stream2(&mut room, &mut input_buffer, directive);
            let left = left.map_err(|_| EncodeError)?;
            let written = room.pos();
            output.fill(written);
            let done = match then {
                Then::Go => input_buffer.pos() == input.len(),
                _ => left == 0,
            };
            if done {
                return Ok(());
            }
        }
    }
}

/// 8 MiB: browsers decode no more (RFC 9659).
const MOST_WINDOW: u32 = 23;
/// 32 KiB, and tables to match: an encoder takes below 300 KiB.
const WINDOW: u32 = 15;
const TABLES: u32 = 12;
/// Those above it take more memory, whatever the window.
const MOST_LEVEL: u8 = 12;
const ROOM: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_take_little_memory_at_any_level() {
        let plain: Vec<u8> =
            (0..100_000_u32).flat_map(|n| (n.wrapping_mul(n) % 977).to_be_bytes()).collect();
        for level in 1..=19 {
            let mut encoder = Encoder::new(level, Kind::Pieces).unwrap();
            for piece in plain.chunks(64 << 10) {
                Scratch::with(|out| encoder.encode(piece, Then::Go, out)).unwrap();
            }
            let size = encoder.context.sizeof() >> 10;
            assert!(size < 285, "{size} KiB at level {level}");
        }
    }
}
