use std::io::Read;

use brotli::Decompressor;
use bytes::Bytes;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, Request, Response, StatusCode};
use tower::{Layer, ServiceExt};
use tower_edge_compress::{Compress, CompressBody, CompressLayer};
use tower_edge_core::{Coding, RequestHead};
use tower_edge_testkit::{Answer, MockBody, Received, Upstream, UpstreamHandle};

/// The layer over an upstream that answers by a script.
pub(crate) struct Play {
    pub(crate) service: Compress<Upstream>,
    pub(crate) upstream: UpstreamHandle,
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Received,
}

impl Play {
    pub(crate) fn new<F>(layer: CompressLayer, script: F) -> Self
    where
        F: FnMut(&RequestHead<'_>) -> Response<MockBody> + Send + 'static,
    {
        let mut script = script;
        let (inner, upstream) = Upstream::new(move |_, head| Answer::from(script(head)));
        Self { service: layer.layer(inner), upstream }
    }

    pub(crate) async fn call(
        &self,
        request: Request<MockBody>,
    ) -> Response<CompressBody<MockBody>> {
        self.service.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn read(&self, request: Request<MockBody>) -> Reply {
        let (head, body) = self.call(request).await.into_parts();
        let (status, fields) = (head.status, head.headers);
        Reply { status, fields, body: Received::from(body).await }
    }

    /// GET with this `Accept-Encoding`.
    pub(crate) async fn get(&self, accepts: &str) -> Reply {
        self.read(get(&[("accept-encoding", accepts)])).await
    }
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.get_all(name).iter();
        let one = all.next().map(|value| value.to_str().unwrap());
        assert!(all.next().is_none(), "{name} is there more than once");
        one
    }

    /// The body, decoded as its head says.
    pub(crate) fn decoded(&self) -> Bytes {
        assert_eq!(self.body.error, None);
        let coding = self.field(CONTENT_ENCODING.as_str());
        match coding {
            None => self.body.bytes(),
            Some(name) => decode(Coding::from_name(name).unwrap(), &self.body.bytes()).into(),
        }
    }
}

pub(crate) fn get(fields: &[(&str, &str)]) -> Request<MockBody> {
    request("GET", fields)
}

pub(crate) fn request(method: &str, fields: &[(&str, &str)]) -> Request<MockBody> {
    let mut request = Request::builder().method(method).uri("http://a/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(MockBody::new()).unwrap()
}

pub(crate) fn accepting(coding: Coding) -> Request<MockBody> {
    get(&[(ACCEPT_ENCODING.as_str(), coding.as_str())])
}

/// Decodes by another implementation than ours where there is one.
pub(crate) fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    try_decode(coding, bytes).unwrap_or_else(|why| panic!("not {}: {why}", coding.as_str()))
}

/// The same of what may be broken.
pub(crate) fn try_decode(coding: Coding, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    match coding {
        Coding::Gzip => MultiGzDecoder::new(bytes).read_to_end(&mut plain)?,
        Coding::Deflate => ZlibDecoder::new(bytes).read_to_end(&mut plain)?,
        Coding::Br => Decompressor::new(bytes, 4096).read_to_end(&mut plain)?,
        Coding::Zstd => return unzstd(bytes, true),
        other => panic!("{other:?}"),
    };
    Ok(plain)
}

/// What a decoder gets out of the start of an encoded body.
pub(crate) fn decode_start(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut plain = vec![0; 1 << 20];
    let mut at = 0;
    let mut read = |reader: &mut dyn Read| {
        while let Ok(count @ 1..) = reader.read(&mut plain[at..]) {
            at += count;
        }
    };
    match coding {
        Coding::Gzip => read(&mut MultiGzDecoder::new(bytes)),
        Coding::Deflate => read(&mut ZlibDecoder::new(bytes)),
        Coding::Br => read(&mut Decompressor::new(bytes, 4096)),
        Coding::Zstd => return unzstd(bytes, false).unwrap(),
        other => panic!("{other:?}"),
    }
    plain.truncate(at);
    plain
}

fn unzstd(bytes: &[u8], whole: bool) -> std::io::Result<Vec<u8>> {
    let (mut plain, mut context) = (Vec::new(), zstd_safe::DCtx::create());
    let mut input = zstd_safe::InBuffer::around(bytes);
    loop {
        let mut piece = [0; 4096];
        let mut room = zstd_safe::OutBuffer::around(&mut piece[..]);
        let left = context.decompress_stream(&mut room, &mut input);
        let left = left.map_err(|code| std::io::Error::other(zstd_safe::get_error_name(code)))?;
        plain.extend_from_slice(room.as_slice());
        let ended = left == 0;
        if input.pos() == bytes.len() && (ended || room.pos() < 4096) {
            let ended = ended || !whole;
            return ended.then_some(plain).ok_or(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

pub(crate) const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd];

/// Text of so many bytes, in which words return.
pub(crate) fn text(size: usize) -> Vec<u8> {
    let mut dice = Dice(size as u64 + 1);
    let mut text = Vec::with_capacity(size + 16);
    while text.len() < size {
        text.extend_from_slice(WORDS[dice.roll(WORDS.len() as u64) as usize].as_bytes());
        text.extend_from_slice(format!("{} ", dice.roll(1_000)).as_bytes());
    }
    text.truncate(size);
    text
}

/// Bytes of which no coding makes fewer.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut dice = Dice(7);
    (0..size).map(|_| dice.roll(256) as u8).collect()
}

/// The same numbers each time (an xorshift generator).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

const WORDS: [&str; 12] = [
    "\"order\":",
    "\"customer\":",
    "{",
    "}",
    "[",
    "],",
    "\"price\":",
    "shipped ",
    "paid ",
    "\"item\":",
    "the ",
    "of ",
];
