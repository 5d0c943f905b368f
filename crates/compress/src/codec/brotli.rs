use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderDestroyInstance, BrotliEncoderOperation, BrotliEncoderStateStruct,
};

use crate::codec::{EncodeError, Kind, Scratch, Then};

/// Encodes as Brotli. It encodes one body and cannot start again.
pub(crate) struct Encoder {
    state: BrotliEncoderStateStruct<StandardAlloc>,
    /// How much is encoded before it is flushed; that is what bounds the memory.
    piece: usize,
    /// How much was encoded since it was flushed.
    unflushed: usize,
}

impl Encoder {
    pub(crate) fn new(level: u8, kind: Kind) -> Self {
        let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
        let (quality, window, piece) = match kind {
            Kind::Whole => (level, WHOLE_WINDOW, usize::MAX),
            Kind::Large | Kind::Pieces if level <= FAST => (level, FAST_WINDOW, FAST_PIECE),
            Kind::Large | Kind::Pieces => (MOST_LEVEL, WINDOW, PIECE),
        };
        state.params.quality = quality.into();
        state.params.lgwin = window;
        Self { state, piece, unflushed: 0 }
    }

    pub(crate) fn expect(&mut self, size: u64) {
        self.state.params.size_hint = usize::try_from(size).unwrap_or(usize::MAX);
    }

    pub(crate) fn encode(
        &mut self,
        mut input: &[u8],
        then: Then,
        output: &mut Scratch,
    ) -> Result<(), EncodeError> {
        while input.len() >= self.piece - self.unflushed {
            let (piece, rest) = input.split_at(self.piece - self.unflushed);
            self.step(piece, BrotliEncoderOperation::BROTLI_OPERATION_FLUSH, output)?;
            self.unflushed = 0;
            input = rest;
        }
        self.unflushed += input.len();
        let operation = match then {
            Then::Go => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
            Then::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
            Then::Finish => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
        };
        if then != Then::Go {
            self.unflushed = 0;
        }
        self.step(input, operation, output)
    }

    fn step(
        &mut self,
        input: &[u8],
        operation: BrotliEncoderOperation,
        output: &mut Scratch,
    ) -> Result<(), EncodeError> {
        let (mut left, mut read) = (input.len(), 0);
        loop {
            let room = output.room(ROOM);
            let (mut space, mut written) = (room.len(), 0);
            let went = self.state.compress_stream(
                operation,
                &mut left,
                input,
                &mut read,
                &mut space,
                room,
                &mut written,
                &mut None,
                &mut |_, _, _, _| (),
            );
            output.fill(written);
            if !went {
                return Err(EncodeError);
            }
            let ended = operation != BrotliEncoderOperation::BROTLI_OPERATION_FINISH
                || self.state.is_finished();
            if left == 0 && ended && !self.state.has_more_output() {
                return Ok(());
            }
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        BrotliEncoderDestroyInstance(&mut self.state);
    }
}

const WHOLE_WINDOW: i32 = 18;
/// Qualities up to this one have tables that grow with the piece.
const FAST: u8 = 1;
const FAST_WINDOW: i32 = 16;
const FAST_PIECE: usize = 32 << 10;
/// The highest quality whose tables take less than 512 KiB, with this window, as
/// long as it is flushed that often.
const MOST_LEVEL: u8 = 3;
const WINDOW: i32 = 15;
const PIECE: usize = 8 << 10;
const ROOM: usize = 4 << 10;
