//! RFC 9111 as a naive model: what was stored is kept in a list, and each request
//! is held against the text. Nothing of the cache is used in it.

use crate::story::{Response, START_SECONDS, Wish};

/// All that a cache may have stored of one resource, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Model {
    stored: Vec<Stored>,
}

#[derive(Clone, Debug)]
struct Stored {
    response: Response,
    /// The number of the answer that its body is from.
    number: u64,
    /// The request field that `Vary` may name.
    language: Option<&'static str>,
    /// Seconds since the start.
    received: u64,
    /// Whether it came without `Vary` where another response had it: a cache keeps
    /// it for its own language (§4.1).
    narrowed: bool,
    /// Whether a cache may have removed it without need.
    doubtful: bool,
}

/// What the text says about a request.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The stored responses that may be reused without asking, with their age.
    pub(crate) may: Vec<(u64, u64)>,
    /// Whether one must be: fresh, wanted, and sure to be there.
    pub(crate) must: bool,
}

impl Model {
    /// §4: the conditions for reuse, of each stored response.
    pub(crate) fn verdict(&self, wish: &Wish, now: u64) -> Verdict {
        let varies = self.varies(|stored| !stored.doubtful);
        let selected = || self.stored.iter().filter(move |stored| stored.is_selected(wish, varies));
        let latest = |all: &[&Stored]| all.iter().map(|stored| stored.generated()).max();
        let usable: Vec<_> = selected().filter(|stored| stored.is_usable(wish, now)).collect();
        let sure: Vec<_> = usable.iter().copied().filter(|stored| !stored.doubtful).collect();
        let may = usable.iter().filter(|stored| Some(stored.generated()) >= latest(&sure));
        let may = may.map(|stored| (stored.number, stored.age(now))).collect();
        // A cache that keeps to the latest response, though an earlier one is
        // still fresh, is careful.
        let all: Vec<_> = selected().collect();
        let mut newest = all.iter().filter(|stored| Some(stored.generated()) == latest(&all));
        let narrow = self.varies(|_| true);
        let must = newest.all(|stored| {
            let sure = !stored.doubtful && stored.is_selected(wish, narrow);
            sure && stored.is_usable(wish, now)
        });
        Verdict { may, must: must && !all.is_empty() }
    }

    /// Whether one of these responses varies, so that all are selected as it is.
    fn varies(&self, which: impl Fn(&Stored) -> bool) -> bool {
        self.stored.iter().any(|stored| which(stored) && stored.response.varies())
    }

    /// §3: an answer with content came for a request.
    pub(crate) fn answered(&mut self, wish: &Wish, response: &Response, number: u64, now: u64) {
        match wish.method {
            "GET" => self.store(wish, response.clone(), number, now),
            "HEAD" => self.told_by_head(wish, response, now),
            // §4.4: the origin has accepted an unsafe request.
            _ if (200..400).contains(&response.status) => {
                self.stored.clear();
                // RFC 9110 §9.3.3, of the only status that a later GET can mean.
                if response.status == 200 && response.located && response.states_lifetime() {
                    self.store(wish, response.clone(), number, now);
                }
            }
            _ => {}
        }
    }

    /// §4.3.4: a 304 came, with these fields, and the client got the body of this
    /// number; whether it can have meant that one.
    pub(crate) fn validated(
        &mut self,
        wish: &Wish,
        update: &Response,
        number: u64,
        now: u64,
    ) -> bool {
        let same = |stored: &&Stored| match update.etag {
            Some(_) => stored.response.etag == update.etag,
            None => stored.response.modified == update.modified && stored.is_selected(wish, false),
        };
        // The latest, of those that are there for sure, or one of the same second.
        let mut latest = self.stored.iter().rev().filter(same);
        let Some(stored) = latest.find(|stored| stored.number == number || !stored.doubtful) else {
            return false;
        };
        let mut others = self.stored.iter().rev().filter(same);
        let alike =
            |other: &&Stored| other.number == number && other.generated() == stored.generated();
        let Some(stored) = others.find(|other| alike(other)) else { return false };
        let stored = stored.clone();
        let fresh = stored.updated(update, now);
        if may_store(wish, &fresh) && fresh.cookie {
            // A cookie is for one client; the others ask for themselves.
        } else if may_store(wish, &fresh) {
            // All that has the strong tag is updated. Of what a cache may have kept for
            // another language it is not known.
            let unknown = self.stored.iter().filter(|old| old.doubtful && same(old));
            let unknown: Vec<_> = unknown.cloned().collect();
            for old in self.stored.iter_mut().filter(|old| same(&&**old)) {
                old.doubtful |= update.etag.is_none() || (fresh.varies() && !old.is_keyed());
                old.response = old.updated(update, now);
                old.received = now;
            }
            self.stored.splice(0..0, unknown);
            self.store(wish, fresh, stored.number, now);
        } else if may_store(&Wish { authorized: false, control: "", ..*wish }, &fresh) {
            // This request may leave nothing behind, its response neither.
        } else {
            self.doubt_all();
        }
        true
    }

    fn store(&mut self, wish: &Wish, response: Response, number: u64, now: u64) {
        // Ours is more careful than the text: cookies, and what is of no use.
        let of_use = response.vary != Some("*") && response.is_worth_storing(now);
        if !may_store(wish, &response) || response.cookie || !of_use {
            return;
        }
        let (varies, language) = (response.varies(), wish.language);
        let narrowed = !varies && self.varies(|stored| !stored.doubtful);
        // What a cache may have removed narrows nothing, or does.
        let doubtful = !varies && !narrowed && self.varies(|_| true);
        let new = Stored { response, number, language, received: now, narrowed, doubtful };
        // Nothing forces a cache to keep what is replaced, or lets it serve it.
        self.stored.retain(|old| doubtful || !old.has_the_key_of(&new));
        for old in self.stored.iter_mut().filter(|old| !old.response.varies()) {
            old.doubtful |= doubtful || (varies && !old.narrowed);
        }
        self.stored.push(new);
    }

    /// §4.3.5: a HEAD updates what it could have selected, or makes it stale; which
    /// of several the cache still has is not known.
    fn told_by_head(&mut self, wish: &Wish, response: &Response, now: u64) {
        let selected = self.stored.iter().filter(|stored| stored.is_selected(wish, false));
        let same = |old: &Option<String>, new: &Option<String>| new.is_none() || old == new;
        let same = selected.filter(|stored| {
            same(&stored.response.etag, &response.etag)
                && same(&stored.response.modified, &response.modified)
        });
        let updated = same.map(|stored| Stored {
            response: stored.updated(response, now),
            language: wish.language,
            received: now,
            ..stored.clone()
        });
        let updated = updated.filter(|stored| may_store(wish, &stored.response));
        let updated: Vec<_> = updated.filter(|_| response.status == 200).collect();
        self.stored.extend(updated);
        if response.status == 200 {
            self.doubt_all();
        }
    }

    /// A cache may remove more than it has to.
    fn doubt_all(&mut self) {
        self.stored.iter_mut().for_each(|stored| stored.doubtful = true);
    }
}

impl Stored {
    /// §4.1; `varies` is whether another response does.
    fn is_selected(&self, wish: &Wish, varies: bool) -> bool {
        let same = self.language == wish.language;
        self.response.vary != Some("*") && (same || !(self.is_keyed() || varies))
    }

    fn is_keyed(&self) -> bool {
        self.response.varies() || self.narrowed
    }

    fn has_the_key_of(&self, other: &Self) -> bool {
        self.is_keyed() == other.is_keyed() && (!self.is_keyed() || self.language == other.language)
    }

    /// §4, §4.2.4, §5.2.1.
    fn is_usable(&self, wish: &Wish, now: u64) -> bool {
        let age = self.age(now);
        let lifetime = self.response.lifetime(self.received);
        let left = lifetime.saturating_sub(10 * age);
        let stale_allowed = wish.number("max-stale").is_some_and(|most| {
            let forbids = ["must-revalidate", "proxy-revalidate"].iter();
            let mut forbids = forbids.map(|name| self.response.has(name));
            !forbids.any(|forbids| forbids)
                && self.response.number("s-maxage").is_none()
                && (10 * age).saturating_sub(lifetime) <= most.saturating_mul(10)
        });
        !self.response.has("no-cache")
            && !wish.has("no-cache")
            && wish.number("max-age").is_none_or(|most| age <= most)
            && wish.number("min-fresh").is_none_or(|least| left / 10 >= least)
            && (left > 0 || stale_allowed)
    }

    /// §4.2.3; nothing takes time on its way here.
    fn age(&self, now: u64) -> u64 {
        let apparent = (START_SECONDS + self.received).saturating_sub(self.generated());
        apparent.max(self.response.age) + now - self.received
    }

    fn generated(&self) -> u64 {
        START_SECONDS + self.received - self.response.dated_before
    }

    /// §3.2: what the update has replaces what is stored.
    fn updated(&self, update: &Response, now: u64) -> Response {
        let old = self.response.clone();
        let control = if update.control.is_empty() { old.control } else { update.control };
        let modified_at =
            if update.modified.is_some() { update.modified_at } else { old.modified_at };
        // The same moment, counted from another `Date`.
        let generated = START_SECONDS + now - update.dated_before;
        let left = |after: u64| (self.generated() + after).saturating_sub(generated);
        Response {
            status: old.status,
            control,
            expires: update.expires.or(old.expires.map(|after| after.map(left))),
            etag: update.etag.clone().or(old.etag),
            modified: update.modified.clone().or(old.modified),
            modified_at,
            vary: update.vary.or(old.vary),
            age: update.age,
            dated_before: update.dated_before,
            cookie: update.cookie || old.cookie,
            located: update.located || old.located,
        }
    }
}

/// §3: each condition is one line of it.
fn may_store(wish: &Wish, response: &Response) -> bool {
    let understood = [200, 302, 404, 500].contains(&response.status);
    let explicit = response.has("public") || response.states_lifetime();
    let no_store = response.has("no-store") && !response.has("must-understand");
    let shared = response.has("public")
        || response.has("must-revalidate")
        || response.number("s-maxage").is_some();
    (understood || !response.has("must-understand"))
        && !no_store
        && !wish.has("no-store")
        && !response.has("private")
        && (!wish.authorized || shared)
        && (explicit || response.is_heuristically_cacheable())
}

impl Response {
    /// §4.2.1, §4.2.2, in tenths of a second: so a tenth of a time is exact.
    fn lifetime(&self, received: u64) -> u64 {
        let stated = self.number("s-maxage").or(self.number("max-age"));
        let expires = self.expires.map(|after| after.unwrap_or(0));
        stated.or(expires).map(|seconds| 10 * seconds).unwrap_or_else(|| {
            let modified = self
                .modified
                .as_ref()
                .filter(|_| self.has("public") || self.is_heuristically_cacheable());
            let generated = START_SECONDS + received - self.dated_before;
            modified.map_or(0, |_| generated.saturating_sub(self.modified_at))
        })
    }

    fn states_lifetime(&self) -> bool {
        let stated = self.number("max-age").or(self.number("s-maxage"));
        self.expires.is_some() || stated.is_some()
    }

    fn varies(&self) -> bool {
        self.vary.is_some_and(|vary| vary != "*")
    }

    fn is_heuristically_cacheable(&self) -> bool {
        [200, 404].contains(&self.status)
    }

    /// A response that is stale as it comes and cannot be validated is no use.
    fn is_worth_storing(&self, received: u64) -> bool {
        let fresh = self.lifetime(received) > 10 * self.age.max(self.dated_before);
        let validator = self.etag.is_some() || self.modified.is_some();
        (fresh && !self.has("no-cache")) || (validator && self.status == 200)
    }
}
