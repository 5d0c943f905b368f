//! Whatever comes in comes out of decoders that share no line with our encoders.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tower_edge_core::Coding;

use crate::bytes::{bodies, kept, play, runtime};
use crate::play::{CODINGS, accepting, text};

/// Python with zlib, brotli and zstandard, which decodes one body after the other.
struct Python {
    child: Child,
    ask: ChildStdin,
    answers: ChildStdout,
}

impl Python {
    fn start() -> Self {
        // That of the system has the modules of its packages.
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", DECODER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            python.spawn().expect("python3; `cargo xtask test` installs it and its modules");
        let (ask, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, ask, answers }
    }

    /// The plain bytes; `None` if these are not all of an encoded body, and no more.
    fn decode(&mut self, coding: Coding, bytes: &[u8]) -> Option<Vec<u8>> {
        writeln!(self.ask, "{} {}", coding.as_str(), bytes.len()).unwrap();
        self.ask.write_all(bytes).unwrap();
        self.ask.flush().unwrap();
        let mut length = [0; 8];
        self.answers.read_exact(&mut length).unwrap();
        let length = usize::try_from(i64::from_be_bytes(length)).ok()?;
        let mut plain = vec![0; length];
        self.answers.read_exact(&mut plain).unwrap();
        Some(plain)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_python_decodes_is_what_was_encoded() {
    let (python, runtime) = (RefCell::new(Python::start()), runtime());
    let mut runner = TestRunner::new(Config { cases: 96, ..Config::default() });
    let encoded = RefCell::new([0; CODINGS.len()]);
    runner
        .run(&(bodies(), any::<bool>()), |((plain, cuts), trailers)| {
            let play = play(plain.clone(), cuts, trailers);
            for (at, coding) in CODINGS.into_iter().enumerate() {
                let reply = runtime.block_on(play.read(accepting(coding)));
                prop_assert_eq!(reply.body.trailers.clone(), trailers.then(kept));
                let bytes = reply.body.bytes();
                match reply.field("content-encoding") {
                    None => prop_assert!(bytes == plain),
                    Some(name) => {
                        prop_assert_eq!(name, coding.as_str());
                        let decoded = python.borrow_mut().decode(coding, &bytes);
                        prop_assert!(decoded == Some(plain.clone()), "{coding:?}");
                        encoded.borrow_mut()[at] += 1;
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(encoded.borrow().iter().all(|count| *count > 20), "{encoded:?}");
}

#[test]
fn python_finds_what_is_wrong() {
    let (mut python, plain) = (Python::start(), text(9_000));
    for coding in CODINGS {
        let play = play(plain.clone(), vec![(4_000, true)], false);
        let bytes = runtime().block_on(play.read(accepting(coding))).body.bytes();
        assert_eq!(python.decode(coding, &bytes), Some(plain.clone()));
        for broken in [&bytes[..bytes.len() - 1], &[&bytes[..], b"x"].concat(), &plain, b""] {
            assert_eq!(python.decode(coding, broken), None, "{coding:?}");
        }
    }
}

const DECODER: &str = r#"
import struct, sys, zlib, brotli, zstandard

def inflated(data, window):
    decoder = zlib.decompressobj(window)
    plain = decoder.decompress(data) + decoder.flush()
    return plain if decoder.eof and not decoder.unused_data else None

def unbrotlied(data):
    decoder = brotli.Decompressor()
    plain = decoder.process(data)
    return plain if decoder.is_finished() else None

def unzstded(data):
    # 8 MiB, as browsers have it.
    decoder = zstandard.ZstdDecompressor(max_window_size=1 << 23).decompressobj()
    plain = decoder.decompress(data)
    return plain if decoder.eof and not decoder.unused_data else None

DECODERS = {
    "gzip": lambda data: inflated(data, 31),
    "deflate": lambda data: inflated(data, 15),
    "br": unbrotlied,
    "zstd": unzstded,
}

ask, answers = sys.stdin.buffer, sys.stdout.buffer
for line in iter(ask.readline, b""):
    coding, length = line.decode().split()
    data = ask.read(int(length))
    try:
        plain = DECODERS[coding](data)
    except (zlib.error, brotli.error, zstandard.ZstdError):
        plain = None
    answers.write(struct.pack(">q", -1 if plain is None else len(plain)) + (plain or b""))
    answers.flush()
"#;
