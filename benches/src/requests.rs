use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// The requests of a scenario, one like the other.
#[derive(Clone, Debug)]
pub struct Requests {
    method: Method,
    uri: Uri,
    field: Option<(HeaderName, HeaderValue)>,
    /// Counts paths where each request has its own.
    path: Option<u64>,
    /// The first client and how many there are, where requests say whose they are.
    clients: Option<(u64, u64)>,
    turn: u64,
}

/// The client whose request this is, in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(pub u64);

impl Requests {
    /// GET requests for a URI, which has to be absolute: some peers want that.
    pub fn get(uri: &'static str) -> Self {
        Self {
            method: Method::GET,
            uri: Uri::from_static(uri),
            field: None,
            path: None,
            clients: None,
            turn: 0,
        }
    }

    /// POST requests without content.
    pub fn post(uri: &'static str) -> Self {
        Self { method: Method::POST, ..Self::get(uri) }
    }

    /// Gives each request this header field.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: &'static str) -> Self {
        self.field = Some((HeaderName::from_static(name), HeaderValue::from_static(value)));
        self
    }

    /// Puts a number into each request's path, so that no two are alike.
    #[must_use]
    pub fn distinct(mut self) -> Self {
        self.path = Some(0);
        self
    }

    /// Lets so many clients take turns, in no order: each request has a [`Client`].
    #[must_use]
    pub fn clients(mut self, count: u64) -> Self {
        self.clients = Some((0, count));
        self
    }

    /// Makes all requests those of one client.
    #[must_use]
    pub fn client(mut self, client: u64) -> Self {
        self.clients = Some((client, 1));
        self
    }

    pub(crate) fn next(&mut self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        if let Some(path) = &mut self.path {
            *path += 1;
            let uri = format!("{}{path}", self.uri);
            *request.uri_mut() = uri.parse().expect("digits are valid in a path");
        }
        if let Some((first, clients)) = self.clients {
            self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            request.extensions_mut().insert(Client(first + (self.turn >> 33) % clients));
        }
        if let Some((name, value)) = &self.field {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_turns() {
        let mut requests = Requests::get("http://bench.test/").clients(4);
        let mut seen = [0; 4];
        for _ in 0..1_000 {
            let Client(client) = *requests.next().extensions().get().unwrap();
            seen[client as usize] += 1;
        }
        assert!(seen.iter().all(|turns| *turns > 200), "{seen:?}");
    }

    #[test]
    fn distinct_requests_differ_in_their_path() {
        let mut requests = Requests::post("http://bench.test/").field("a", "b").distinct();
        let (one, two) = (requests.next(), requests.next());
        assert_eq!(one.uri(), "http://bench.test/1");
        assert_eq!(two.uri(), "http://bench.test/2");
        assert_eq!(two.method(), Method::POST);
        assert_eq!(two.headers()["a"], "b");
    }
}
