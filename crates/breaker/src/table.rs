use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use tower_edge_core::Key;

use super::admission::Admission;
use super::circuit::{Circuit, Ticket};
use super::sync::{AtomicU64, Mutex};
use super::window::Window;
use super::word::Mode;

/// Circuits by key, as many as there is room for; finding one takes no lock.
///
/// An index of open addressing leads from the hash of a key to its circuit, which
/// knows the whole hash: keys whose 64 bits are the same share one. A new key
/// takes, under a lock, a circuit that nobody has, or one that is idle and was
/// not used since the clock's hand came by (Corbató's CLOCK, 1968); the circuit's
/// generation moves on, so that nothing of one key counts for another.
#[derive(Debug)]
pub(crate) struct Table {
    cells: Box<[Cell]>,
    /// At least twice as many as cells: 40 bits of the hash, 24 of the cell from 1
    /// on; 0 if it is free.
    places: Box<[AtomicU64]>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Cell {
    circuit: Circuit,
    /// The hash of its key; 0 while it passes from one to another.
    hash: AtomicU64,
    used: AtomicU64,
}

#[derive(Debug)]
struct Writer {
    /// Those of the cells that are taken.
    keys: Vec<Key>,
    hand: usize,
    /// Places that are not free, those of keys that are gone among them.
    taken: usize,
    mode: Mode,
}

/// A circuit in the table, as it was when somebody had found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) cell: u32,
    hash: u64,
}

impl Place {
    /// That of a circuit for everybody.
    pub(crate) const ONLY: Self = Self { cell: 0, hash: 0 };
}

impl Table {
    /// Room for so many keys; or the one circuit of everybody, which is at
    /// [`Place::ONLY`] from the start.
    pub(crate) fn new(
        room: usize,
        keyed: bool,
        windows: &[Window],
        hanging: Option<Duration>,
    ) -> Self {
        let cell = |_| Cell {
            circuit: Circuit::new(windows, hanging, Mode::Automatic),
            hash: AtomicU64::new(0),
            used: AtomicU64::new(0),
        };
        let places = (2 * room).next_power_of_two();
        let keys = if keyed { Vec::new() } else { vec![Key::GLOBAL] };
        let writer = Writer { keys, hand: 0, taken: 0, mode: Mode::Automatic };
        Self {
            cells: (0..room).map(cell).collect(),
            places: (0..places).map(|_| AtomicU64::new(0)).collect(),
            writer: Mutex::new(writer),
        }
    }

    /// The circuit of a key that has one.
    pub(crate) fn find(&self, hash: u64) -> Option<Place> {
        let hash = hash.max(1);
        for at in self.way(hash) {
            match self.places[at].load(Acquire) {
                FREE => return None,
                place if place & HASH == hash & HASH && place & CELL != GONE => {
                    let cell = (place & CELL) as u32 - 1;
                    let found = &self.cells[cell as usize];
                    if found.hash.load(Acquire) == hash {
                        if found.used.load(Relaxed) == 0 {
                            found.used.store(1, Relaxed);
                        }
                        return Some(Place { cell, hash });
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The circuit of a key, which gets one if there is room; else how circuits of
    /// new keys decide.
    pub(crate) fn take(&self, key: &Key, hash: u64, now: u64) -> Result<Place, Mode> {
        let hash = hash.max(1);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = self.find(hash) {
            return Ok(place);
        }
        let cell = match writer.keys.len() {
            taken if taken < self.cells.len() => {
                writer.keys.push(*key);
                taken
            }
            _ => {
                let cell = self.leave(&mut writer, now).ok_or(writer.mode)?;
                writer.keys[cell] = *key;
                cell
            }
        };
        let taken = &self.cells[cell];
        taken.circuit.renew(writer.mode);
        taken.used.store(0, Relaxed);
        taken.hash.store(hash, Release);
        self.enter(&mut writer, hash, cell);
        Ok(Place { cell: cell as u32, hash })
    }

    pub(crate) fn circuit(&self, place: Place) -> &Circuit {
        self.circuit_at(place.cell)
    }

    /// The circuit at a place, by its number alone: for who has a ticket.
    pub(crate) fn circuit_at(&self, cell: u32) -> &Circuit {
        &self.cells[cell as usize].circuit
    }

    /// Decides about a request by its circuit; what was decided for another key,
    /// which has got the circuit meanwhile, is taken back.
    pub(crate) fn admit<R>(
        &self,
        place: Place,
        decide: impl FnOnce(&Circuit) -> (Admission, R),
    ) -> (Admission, Option<R>) {
        let cell = &self.cells[place.cell as usize];
        let (admission, rest) = decide(&cell.circuit);
        if cell.hash.load(Acquire) == place.hash {
            return (admission, Some(rest));
        }
        if let Admission::Count(ticket) = admission {
            cell.circuit.give_back(ticket);
        }
        (Admission::Pass, Some(rest))
    }

    /// As [`admit`](Self::admit), at a closed circuit.
    #[inline]
    pub(crate) fn admit_closed(&self, place: Place) -> Option<Ticket> {
        let cell = &self.cells[place.cell as usize];
        let ticket = cell.circuit.admit_closed()?;
        (cell.hash.load(Acquire) == place.hash).then_some(ticket)
    }

    /// The key that a circuit has by now.
    pub(crate) fn key(&self, cell: u32) -> Option<Key> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.keys.get(cell as usize).copied()
    }

    /// All keys that have a circuit, with it.
    pub(crate) fn all(&self) -> Vec<(Key, Place)> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |(cell, key): (usize, &Key)| {
            let hash = self.cells[cell].hash.load(Acquire);
            (*key, Place { cell: cell as u32, hash })
        };
        writer.keys.iter().enumerate().map(place).collect()
    }

    /// How circuits of new keys decide.
    pub(crate) fn set_mode(&self, mode: Mode) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).mode = mode;
    }

    /// Takes a circuit from a key that can do without; looks at some only, so that
    /// nobody waits for long.
    fn leave(&self, writer: &mut Writer, now: u64) -> Option<usize> {
        for _ in 0..self.cells.len().min(LOOKS) * 2 {
            let at = writer.hand;
            writer.hand = (at + 1) % self.cells.len();
            let cell = &self.cells[at];
            if cell.used.swap(0, Relaxed) == 0 && cell.circuit.is_idle(writer.mode, now) {
                let hash = cell.hash.load(Acquire);
                cell.hash.store(0, Release);
                let place = hash & HASH | (at as u64 + 1);
                let place = self.way(hash).find(|at| self.places[*at].load(Acquire) == place);
                if let Some(place) = place {
                    self.places[place].store(GONE, Release);
                }
                return Some(at);
            }
        }
        None
    }

    /// Makes a key known. When few places are free all are written anew; who looks
    /// for a key meanwhile finds it under the lock.
    fn enter(&self, writer: &mut Writer, hash: u64, cell: usize) {
        if writer.taken * 4 >= self.places.len() * 3 {
            self.places.iter().for_each(|place| place.store(FREE, Release));
            writer.taken = 0;
            for other in (0..writer.keys.len()).filter(|other| *other != cell) {
                self.put(writer, self.cells[other].hash.load(Acquire), other);
            }
        }
        self.put(writer, hash, cell);
    }

    fn put(&self, writer: &mut Writer, hash: u64, cell: usize) {
        let free = self.way(hash).find(|at| self.places[*at].load(Acquire) == FREE);
        if let Some(free) = free {
            self.places[free].store(hash & HASH | (cell as u64 + 1), Release);
            writer.taken += 1;
        }
    }

    /// The places that a key may be in, nearest first.
    fn way(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let (mask, start) = (self.places.len() - 1, hash as usize);
        (0..=mask).map(move |step| start.wrapping_add(step) & mask)
    }
}

const CELL: u64 = (1 << 24) - 1;
const HASH: u64 = !CELL;
const FREE: u64 = 0;
const GONE: u64 = CELL;
/// The most keys there may be.
pub(crate) const MOST: usize = (1 << 24) - 2;
const LOOKS: usize = 256;
