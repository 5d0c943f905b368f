use std::error::Error;
use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// A URL that names no Redis.
///
/// It does not show what was given, which may have a password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(());

impl UrlError {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected redis://HOST:PORT, rediss://HOST:PORT or redis+cluster://HOST:PORT,HOST:PORT, \
             with USER:PASSWORD@ before the host if need be",
        )
    }
}

impl Error for UrlError {}

/// Why a call to Redis came to nothing.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Redis, or the way there, said so.
    Redis(RedisError),
    /// It took too long.
    Late,
    /// The circuit is open: nobody asked.
    Open,
    /// The answer was none to this question.
    Foreign,
    /// Somebody cleared the cache again and again meanwhile.
    Moving,
    /// It was called outside of a tokio runtime, or at the end of one.
    NoRuntime,
    /// A record of more chunks than there may be.
    TooLarge,
    /// A quota whose burst takes longer to come back than can be counted.
    TooLong,
}

impl Failure {
    /// Whether Redis is at fault, and might be so for the next call too. What it
    /// answers with an error is answered, and soon.
    pub(crate) fn is_trouble(&self) -> bool {
        match self {
            Self::Redis(error) => !matches!(
                error.kind(),
                ErrorKind::Extension
                    | ErrorKind::Server(
                        ServerErrorKind::ResponseError
                            | ServerErrorKind::ExecAbort
                            | ServerErrorKind::NoPerm
                            | ServerErrorKind::NoScript
                            | ServerErrorKind::CrossSlot
                            | ServerErrorKind::Moved
                            | ServerErrorKind::Ask
                            | ServerErrorKind::TryAgain
                    )
            ),
            Self::Late | Self::Foreign => true,
            Self::Open | Self::Moving | Self::NoRuntime | Self::TooLarge | Self::TooLong => false,
        }
    }

    /// Whether the connection is of no use any more.
    pub(crate) fn ends_connection(&self) -> bool {
        match self {
            Self::Redis(error) => error.is_unrecoverable_error() || error.is_io_error(),
            Self::Foreign => true,
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis(error) => return fmt::Display::fmt(error, f),
            Self::Late => "no answer in time",
            Self::Open => "the circuit is open",
            Self::Foreign => "an answer to another question",
            Self::Moving => "cleared too often meanwhile",
            Self::NoRuntime => "no runtime to connect in",
            Self::TooLarge => "a record too large",
            Self::TooLong => "a quota of more than 35 years",
        })
    }
}

impl Error for Failure {}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}
