use http::header::CONTENT_TYPE;
use tower_edge_core::ResponseHead;

/// Decides by its head whether a response may be encoded; closures implement it.
///
/// It is asked after the rules of the protocol, which are not up to it: what is
/// encoded already, is a part, or forbids it never is.
///
/// ```
/// use tower_edge_compress::{MediaTypes, Predicate};
/// use tower_edge_core::ResponseHead;
///
/// let open = |response: &ResponseHead<'_>| !response.headers().contains_key("set-cookie");
/// let predicate = MediaTypes.and(open);
/// # let _: &dyn Predicate = &predicate;
/// ```
pub trait Predicate: Send + Sync {
    /// Whether the response may be encoded.
    fn encodes(&self, response: &ResponseHead<'_>) -> bool;

    /// What this and `other` both let through.
    fn and<P: Predicate>(self, other: P) -> And<Self, P>
    where
        Self: Sized,
    {
        And(self, other)
    }
}

impl<F> Predicate for F
where
    F: Fn(&ResponseHead<'_>) -> bool + Send + Sync,
{
    fn encodes(&self, response: &ResponseHead<'_>) -> bool {
        self(response)
    }
}

/// Two predicates, both of which have to agree; made by [`Predicate::and`].
#[derive(Clone, Copy, Debug)]
pub struct And<A, B>(A, B);

impl<A: Predicate, B: Predicate> Predicate for And<A, B> {
    fn encodes(&self, response: &ResponseHead<'_>) -> bool {
        self.0.encodes(response) && self.1.encodes(response)
    }
}

/// Lets all media types through but those whose bytes are compressed already:
/// images except SVG, audio, video, archives, office documents, WOFF and PDF.
///
/// Types have no case, and parameters do not matter. A response without a type is
/// let through.
#[derive(Clone, Copy, Debug, Default)]
pub struct MediaTypes;

impl Predicate for MediaTypes {
    fn encodes(&self, response: &ResponseHead<'_>) -> bool {
        let Some(media_type) = response.headers().get(CONTENT_TYPE) else { return true };
        !is_compressed(media_type.as_bytes())
    }
}

/// Whether the media type is that of a stream of events.
pub(crate) fn is_event_stream(media_type: &[u8]) -> bool {
    starts_with(media_type, b"text/event-stream")
}

/// Whether this is a text or JSON, which are asked about most, by how it is mostly
/// written; what it is not may still be one.
pub(crate) fn is_text(media_type: &[u8]) -> bool {
    media_type.starts_with(b"text/") || media_type.starts_with(b"application/json")
}

/// Whether the bytes of this media type are compressed already. Types are told apart
/// by their first letter.
// Where it is inlined it costs those registers who do not need it.
#[inline(never)]
pub(crate) fn is_compressed(media_type: &[u8]) -> bool {
    let after = |kind: &[u8]| starts_with(media_type, kind).then(|| &media_type[kind.len()..]);
    match media_type.first().map(u8::to_ascii_lowercase) {
        Some(b'a') => match after(b"application/") {
            Some(rest) => is_packed(rest),
            None => starts_with(media_type, b"audio/"),
        },
        Some(b'f') => starts_with(media_type, b"font/woff"),
        Some(b'i') => {
            after(b"image/").is_some_and(|rest| !essence(rest).eq_ignore_ascii_case(b"svg+xml"))
        }
        Some(b'v') => starts_with(media_type, b"video/"),
        _ => false,
    }
}

/// What stands before the parameters.
fn essence(media_type: &[u8]) -> &[u8] {
    let end = media_type.iter().position(|&c| c == b';').unwrap_or(media_type.len());
    media_type[..end].trim_ascii_end()
}

/// Whether this subtype of `application` is.
fn is_packed(subtype: &[u8]) -> bool {
    let subtype = essence(subtype);
    let archive = |name: &&[u8]| subtype.eq_ignore_ascii_case(name);
    let document = |name: &&[u8]| starts_with(subtype, name);
    let plus = subtype.iter().rposition(|&c| c == b'+').map(|plus| &subtype[plus..]);
    ARCHIVES.iter().any(archive)
        || DOCUMENTS.iter().any(document)
        || plus.is_some_and(|plus| SUFFIXES.iter().any(|s| plus.eq_ignore_ascii_case(s)))
}

#[inline]
fn starts_with(text: &[u8], start: &[u8]) -> bool {
    // Most are in lower case.
    let same = |text: &[u8]| text == start || text.eq_ignore_ascii_case(start);
    text.get(..start.len()).is_some_and(same)
}

const ARCHIVES: [&[u8]; 19] = [
    b"gzip",
    b"java-archive",
    b"pdf",
    b"vnd.android.package-archive",
    b"vnd.debian.binary-package",
    b"vnd.rar",
    b"x-7z-compressed",
    b"x-brotli",
    b"x-bzip",
    b"x-bzip2",
    b"x-compress",
    b"x-compressed",
    b"x-gzip",
    b"x-rar-compressed",
    b"x-rpm",
    b"x-xz",
    b"x-zip-compressed",
    b"zip",
    b"zstd",
];

/// What begins so is a zip inside, or WOFF by an old name.
const DOCUMENTS: [&[u8]; 4] = [
    b"font-woff",
    b"x-font-woff",
    b"vnd.oasis.opendocument.",
    b"vnd.openxmlformats-officedocument.",
];

const SUFFIXES: [&[u8]; 3] = [b"+gzip", b"+zip", b"+zstd"];

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn encodes(media_type: &str) -> bool {
        let response = Response::builder().header(CONTENT_TYPE, media_type).body(()).unwrap();
        MediaTypes.encodes(&ResponseHead::new(&response))
    }

    #[test]
    fn what_is_compressed_already_is_told_by_its_type() {
        for media_type in [
            "image/png",
            "IMAGE/JPEG",
            "image/webp; q=1",
            "audio/ogg",
            "Video/mp4",
            "font/woff",
            "Font/WOFF2",
            "application/font-woff2",
            "application/pdf",
            "application/ZIP",
            "application/zip ; a=b",
            "application/gzip",
            "application/epub+zip",
            "application/vnd.oasis.opendocument.text",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ] {
            assert!(!encodes(media_type), "{media_type}");
        }
        for media_type in [
            "text/html; charset=utf-8",
            "application/json",
            "application/problem+json",
            "application/wasm",
            "application/octet-stream",
            "application/zipper",
            "image/svg+xml",
            "Image/SVG+XML; charset=utf-8",
            "font/ttf",
            "imagery/png",
            "application",
            "",
        ] {
            assert!(encodes(media_type), "{media_type}");
        }
        let bare = Response::new(());
        assert!(MediaTypes.encodes(&ResponseHead::new(&bare)));
    }

    #[test]
    fn predicates_are_put_together() {
        let response = Response::builder().status(404).header(CONTENT_TYPE, "text/plain");
        let response = response.body(()).unwrap();
        let head = ResponseHead::new(&response);
        let found = |response: &ResponseHead<'_>| response.status() != 404;
        let any = |_: &ResponseHead<'_>| true;
        assert!(MediaTypes.and(any).encodes(&head));
        assert!(!MediaTypes.and(any).and(found).encodes(&head));
        assert!(!found.and(any).encodes(&head));
    }
}
