//! The memory of responses, from when they are made until their clients have read them.
//!
//! A client may request much and read it slowly, or never. So there is a budget of bytes for the
//! process, and one for each connection. The response to a read waits until the budget has room for
//! it, and is refused if that takes too long. When a response is waiting, the streams of clients
//! that read almost nothing are reset to make room. The response to a write is never refused,
//! because the write has been executed.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    domain::{Error, Reason, Result},
    processor,
    telemetry::metrics,
};

/// Responses up to this size, in bytes, are not counted: every client has to get them, and their
/// number is bounded by the limits on connections and streams.
pub const SMALL: usize = 16 << 10;
/// How many times the size of stored values the response takes that is made of them: rows, values
/// and the encoded response.
const COPIES: usize = 6;
/// A client that reads fewer bytes per second than this, after the first second, is slow.
const SLOW: u64 = 64 << 10;
/// How often a waiting response looks for slow clients.
const SLOW_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The limits on the memory of responses.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// The bytes of all responses together.
    pub total: usize,
    /// The bytes of the responses on one connection.
    pub connection: usize,
    /// How long a response waits for room.
    pub wait: Duration,
    /// How long a client may read nothing of a response.
    pub idle: Duration,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            total: 256 << 20,
            connection: 32 << 20,
            wait: Duration::from_secs(5),
            idle: Duration::from_secs(30),
        }
    }
}

/// The budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: MemoryLimits,
    held: Mutex<Held>,
    /// Wakes waiting responses when memory is given back.
    freed: Notify,
}

/// The memory in use.
#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// The bytes of responses that have been made and wait for room: at most a quarter of the
    /// total.
    waiting: usize,
    connections: HashMap<u64, usize>,
    /// The receivers that hold memory, and how much, ordered by when they began to.
    receivers: BTreeMap<u64, (Arc<Receiver>, usize)>,
    /// Numbers the beginnings.
    clock: u64,
}

/// The receiver of responses: an HTTP/2 stream, or an HTTP/1 connection, which receives one after
/// the other.
#[derive(Debug)]
pub struct Receiver {
    connection: Connection,
    progress: Mutex<Progress>,
    reset: Notify,
}

/// A connection, and how many bytes its client has read of all responses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connection {
    number: u64,
    taken: Arc<AtomicU64>,
}

impl Connection {
    /// The connection with this number.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            taken: Arc::default(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Its position among the receivers that hold memory; `None` while it holds none.
    place: Option<u64>,
    /// When sending the response began; `None` while it is being made.
    began: Option<Instant>,
    last: Instant,
    /// How much the connection had read at that time. Streams of a connection share its bandwidth,
    /// so speed is measured for all of them together.
    taken_before: u64,
    is_reset: bool,
}

tokio::task_local! {
    static RECEIVER: Arc<Receiver>;
    static RESERVED: Arc<Mutex<Reservation>>;
}

/// The memory that it takes to build a response from `stored` bytes.
pub fn made_of(stored: usize) -> usize {
    stored.saturating_mul(COPIES)
}

/// Runs `work`, which may reserve memory for its response, see [`Memory::reserve`]. Returns the
/// reservation along with its output. What a read does with much stored data waits for a free
/// processor; a write holds locks that others wait for.
pub async fn reserving<F: Future>(is_read: bool, work: F) -> (F::Output, Reservation) {
    let reserved = Arc::new(Mutex::new(Reservation::none()));
    let lock = || reserved.lock().unwrap_or_else(PoisonError::into_inner);
    let work = RESERVED.scope(Arc::clone(&reserved), work);
    let stored = || if is_read { lock().stored() } else { 0 };
    let output = processor::run(stored, work).await;
    let reserved = std::mem::replace(&mut *lock(), Reservation::none());
    (output, reserved)
}

impl Receiver {
    /// A receiver on a connection.
    pub fn new(connection: Connection) -> Arc<Self> {
        Arc::new(Self {
            connection,
            progress: Mutex::new(Progress {
                place: None,
                began: None,
                last: Instant::now(),
                taken_before: 0,
                is_reset: false,
            }),
            reset: Notify::new(),
        })
    }

    /// Runs `work`, whose responses this receives. `None` if it was reset, because the client reads
    /// too little.
    pub async fn serve<F: Future>(self: Arc<Self>, work: F) -> Option<F::Output> {
        let receiver = Arc::clone(&self);
        tokio::select! {
            biased;
            output = RECEIVER.scope(self, work) => Some(output),
            () = receiver.reset.notified() => None,
        }
    }

    /// Like [`Self::serve`], for a stream with one response, which is also reset if its client
    /// reads nothing for longer than `idle`: [`Memory::watch`] does not see small responses.
    pub async fn serve_stream<F: Future>(
        self: Arc<Self>,
        work: F,
        idle: Duration,
    ) -> Option<F::Output> {
        let receiver = Arc::clone(&self);
        tokio::select! {
            // Work that ends at once needs no timer.
            biased;
            output = self.serve(work) => output,
            () = receiver.stalled(idle) => {
                metrics::refused("response_idle_timeout");
                None
            }
        }
    }

    /// Completes when its client has read nothing for longer than `idle`.
    async fn stalled(&self, idle: Duration) {
        loop {
            let now = Instant::now();
            if self.is_idle(now, idle) {
                return;
            }
            let Progress { began, last, .. } = *self.progress();
            sleep_until(began.map_or(now, |_| last) + idle + Duration::from_millis(1)).await;
        }
    }

    /// The receiver of the current task's response.
    fn current() -> Arc<Self> {
        static UNKNOWN: AtomicU64 = AtomicU64::new(0);
        RECEIVER.try_with(Arc::clone).unwrap_or_else(|_| {
            // A number that no connection has, so that this receiver has a budget of its own.
            let number = u64::MAX - UNKNOWN.fetch_add(1, Ordering::Relaxed);
            Self::new(Connection::new(number))
        })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Whether its client reads too little, measured over all responses on the connection.
    fn is_slow(&self, now: Instant) -> bool {
        let progress = *self.progress();
        let Some(began) = progress.began.filter(|_| !progress.is_reset) else {
            return false;
        };
        let age = now.saturating_duration_since(began);
        let taken = self.connection.taken.load(Ordering::Relaxed);
        let taken = taken.saturating_sub(progress.taken_before);
        age > Duration::from_secs(1) && (taken as f64) < age.as_secs_f64() * SLOW as f64
    }

    /// Whether its client has read nothing for longer than `idle`.
    fn is_idle(&self, now: Instant, idle: Duration) -> bool {
        let progress = *self.progress();
        progress.began.is_some() && now.saturating_duration_since(progress.last) > idle
    }

    /// Cancels the work that it serves.
    fn reset(&self) {
        self.progress().is_reset = true;
        self.reset.notify_one();
    }

    fn is_holding(&self) -> bool {
        self.progress().place.is_some()
    }
}

/// Notes that the response of the current task, or another part of it, is being sent from now on.
pub fn sending() {
    let _ = RECEIVER.try_with(|receiver| {
        let mut progress = receiver.progress();
        // Its speed is measured over all of its parts, as long as some of them are in memory.
        if progress.place.is_some() && progress.began.is_some() {
            return;
        }
        let now = Instant::now();
        (progress.began, progress.last) = (Some(now), now);
        progress.taken_before = receiver.connection.taken.load(Ordering::Relaxed);
    });
}

/// Notes that the next part of the current task's response is still being made.
pub fn making() {
    let _ = RECEIVER.try_with(|receiver| {
        let mut progress = receiver.progress();
        // As in `sending`.
        if progress.place.is_none() {
            progress.began = None;
        }
    });
}

/// Notes that the client has read this many bytes of the current task's response.
pub fn taken(bytes: usize) {
    let _ = RECEIVER.try_with(|receiver| {
        let taken = &receiver.connection.taken;
        taken.fetch_add(bytes as u64, Ordering::Relaxed);
        receiver.progress().last = Instant::now();
    });
}

impl Memory {
    /// A budget of which nothing is in use.
    pub fn new(limits: MemoryLimits) -> Self {
        let shared = Shared {
            limits,
            held: Mutex::default(),
            freed: Notify::new(),
        };
        Self(Arc::new(shared))
    }

    /// Takes room for a response of the current task, waiting if there is none. A response that has
    /// been made counts while it waits.
    ///
    /// # Errors
    /// [`Reason::Overloaded`] if there is no room in time; [`Reason::ResponseTooLarge`] if there
    /// can't be.
    pub async fn take(&self, bytes: usize) -> Result<Reservation> {
        match self.try_take(bytes) {
            Err(error) if error.reason == Reason::Overloaded => {}
            taken => return taken,
        }
        let waiting = {
            let mut held = self.held();
            if held.waiting + bytes > self.0.limits.total / 4 {
                return Err(full("max_response_memory"));
            }
            held.waiting += bytes;
            Waiting {
                memory: self,
                bytes,
            }
        };
        let taken = self.wait(bytes).await;
        drop(waiting);
        taken
    }

    async fn wait(&self, bytes: usize) -> Result<Reservation> {
        let deadline = Instant::now() + self.0.limits.wait;
        loop {
            // Created before the attempt, so that memory freed in between is not missed.
            let freed = self.0.freed.notified();
            let overloaded = match self.try_take(bytes) {
                Err(error) if error.reason == Reason::Overloaded => error,
                taken => return taken,
            };
            // Tries again at intervals even if nothing is freed, because clients may become slow.
            let next_check = deadline.min(Instant::now() + SLOW_CHECK_INTERVAL);
            if timeout_at(next_check, freed).await.is_err() && next_check == deadline {
                return Err(overloaded);
            }
        }
    }

    /// Takes room for a response of the current task, if there is any now.
    ///
    /// # Errors
    /// As for [`Self::take`].
    pub fn try_take(&self, bytes: usize) -> Result<Reservation> {
        if bytes <= SMALL {
            return Ok(Reservation::none());
        }
        let limits = &self.0.limits;
        check_fits(bytes, limits)?;
        let receiver = Receiver::current();
        // More of a response that has room already: if it had to wait, it would wait for itself.
        if receiver.is_holding() {
            return Ok(self.count(bytes));
        }
        let mut held = self.held();
        if let Some(setting) = held.lacks(bytes, &receiver, limits) {
            held.reset_slow(setting, &receiver);
            return Err(full(setting));
        }
        held.add(&receiver, bytes);
        drop(held);
        Ok(self.reservation(receiver, bytes))
    }

    /// Reserves room for a response of the current task before its data is read.
    ///
    /// # Errors
    /// As for [`Self::take`].
    pub async fn reserve(&self, bytes: usize) -> Result<()> {
        hand_over(self.wait(self.estimated(bytes)).await?);
        Ok(())
    }

    /// Like [`Self::reserve`], without waiting.
    ///
    /// # Errors
    /// As for [`Self::take`].
    pub fn try_reserve(&self, bytes: usize) -> Result<()> {
        hand_over(self.try_take(self.estimated(bytes))?);
        Ok(())
    }

    /// Caps an estimate at the whole budget, because the actual response may be smaller.
    fn estimated(&self, bytes: usize) -> usize {
        bytes.min(self.0.limits.total)
    }

    /// Counts a response of the current task that is in memory in any case.
    pub fn count(&self, bytes: usize) -> Reservation {
        if bytes <= SMALL {
            return Reservation::none();
        }
        let receiver = Receiver::current();
        self.held().add(&receiver, bytes);
        self.reservation(receiver, bytes)
    }

    /// Resets the streams of clients that have read nothing for too long. Runs forever.
    pub async fn watch(&self) {
        let idle = self.0.limits.idle;
        loop {
            sleep((idle / 4).min(Duration::from_secs(1))).await;
            let now = Instant::now();
            let held = self.held();
            let receivers = held.receivers.values().map(|(receiver, _)| receiver);
            for receiver in receivers.filter(|receiver| receiver.is_idle(now, idle)) {
                metrics::refused("response_idle_timeout");
                receiver.reset();
            }
        }
    }

    /// The bytes in use.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.held().bytes
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reservation(&self, receiver: Arc<Receiver>, bytes: usize) -> Reservation {
        Reservation(Some(Part {
            memory: self.clone(),
            receiver,
            bytes,
        }))
    }
}

/// Hands a reservation to whoever counts the response, see [`reserving`].
fn hand_over(reservation: Reservation) {
    // If nobody does, the reservation is dropped.
    let _ = RESERVED.try_with(|reserved| {
        *reserved.lock().unwrap_or_else(PoisonError::into_inner) = reservation;
    });
}

fn check_fits(bytes: usize, limits: &MemoryLimits) -> Result<()> {
    if bytes <= limits.total {
        return Ok(());
    }
    let message = format!(
        "the response takes {bytes} bytes; the limit is {}, max_response_memory",
        limits.total
    );
    Err(Error::new(Reason::ResponseTooLarge, message).limited_by("max_response_memory"))
}

fn full(setting: &'static str) -> Error {
    Error::new(
        Reason::Overloaded,
        format!(
            "responses that clients have not read yet use all memory for responses ({setting}); \
             try again"
        ),
    )
    .limited_by(setting)
}

impl Held {
    /// The setting of the limit that leaves no room for this many more bytes.
    fn lacks(
        &self,
        bytes: usize,
        receiver: &Receiver,
        limits: &MemoryLimits,
    ) -> Option<&'static str> {
        let of_connection = self.connections.get(&receiver.connection.number).copied();
        // A connection without any can always have one response, however large.
        if of_connection.is_some_and(|held| held + bytes > limits.connection) {
            Some("max_connection_response_memory")
        } else if self.bytes + bytes > limits.total {
            Some("max_response_memory")
        } else {
            None
        }
    }

    fn add(&mut self, receiver: &Arc<Receiver>, bytes: usize) {
        let place = {
            let mut progress = receiver.progress();
            progress.place.unwrap_or_else(|| {
                self.clock += 1;
                // A new response is being made; the progress was that of an earlier one.
                (progress.place, progress.began) = (Some(self.clock), None);
                self.clock
            })
        };
        self.bytes += bytes;
        let of_connection = self.connections.entry(receiver.connection.number);
        *of_connection.or_default() += bytes;
        let entry = self.receivers.entry(place);
        entry.or_insert_with(|| (Arc::clone(receiver), 0)).1 += bytes;
        metrics::response_memory(self.bytes);
    }

    fn remove(&mut self, receiver: &Receiver, bytes: usize) {
        self.bytes -= bytes;
        if let Some(held) = self.connections.get_mut(&receiver.connection.number) {
            *held -= bytes;
            if *held == 0 {
                self.connections.remove(&receiver.connection.number);
            }
        }
        let mut progress = receiver.progress();
        if let Some(place) = progress.place
            && let Some((_, held)) = self.receivers.get_mut(&place)
        {
            *held -= bytes;
            if *held == 0 {
                self.receivers.remove(&place);
                (progress.place, progress.began) = (None, None);
            }
        }
        metrics::response_memory(self.bytes);
    }

    /// Resets the oldest slow stream: one of this connection, if its limit is the one exceeded.
    fn reset_slow(&self, setting: &'static str, receiver: &Receiver) {
        let now = Instant::now();
        let mut candidates = self.receivers.values().filter(|(other, _)| {
            setting == "max_response_memory"
                || other.connection.number == receiver.connection.number
        });
        if let Some((slow, _)) = candidates.find(|(other, _)| other.is_slow(now)) {
            metrics::refused(setting);
            slow.reset();
        }
    }
}

/// The memory reserved for a response. It is given back as the client reads, and when this is
/// dropped.
#[derive(Debug)]
pub struct Reservation(Option<Part>);

#[derive(Debug)]
struct Part {
    memory: Memory,
    receiver: Arc<Receiver>,
    bytes: usize,
}

impl Reservation {
    /// The reservation of a response that is too small to be counted.
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether it is empty.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// About how many stored bytes the response is made of, see [`made_of`].
    pub fn stored(&self) -> usize {
        self.0.as_ref().map_or(0, |part| part.bytes / COPIES)
    }

    /// Changes it to this many bytes, which are in memory in any case.
    pub fn resize(&mut self, bytes: usize) {
        let Some(part) = &mut self.0 else { return };
        match bytes.checked_sub(part.bytes) {
            Some(more) if more > 0 => {
                part.memory.held().add(&part.receiver, more);
                part.bytes = bytes;
            }
            _ => {
                let less = part.bytes - bytes;
                self.give_back(less);
            }
        }
    }

    /// Gives back this many bytes.
    pub fn give_back(&mut self, bytes: usize) {
        if let Some(part) = &mut self.0 {
            let bytes = bytes.min(part.bytes);
            part.bytes -= bytes;
            part.give_back(bytes);
        }
    }
}

impl Part {
    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.memory.held().remove(&self.receiver, bytes);
            self.memory.0.freed.notify_waiters();
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// The bytes of a response that has been made and waits for room.
struct Waiting<'a> {
    memory: &'a Memory,
    bytes: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.memory.held().waiting -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn memory() -> Memory {
        Memory::new(MemoryLimits {
            total: 4 * MIB,
            connection: 2 * MIB,
            wait: Duration::from_secs(5),
            idle: Duration::from_secs(30),
        })
    }

    fn receiver(connection: u64) -> Arc<Receiver> {
        Receiver::new(Connection::new(connection))
    }

    async fn take(memory: &Memory, receiver: &Arc<Receiver>, bytes: usize) -> Result<Reservation> {
        let receiver = Arc::clone(receiver);
        receiver.serve(memory.take(bytes)).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_limited_per_connection_and_in_total_until_released() {
        let memory = memory();
        let (one, other) = (receiver(1), receiver(2));
        // It is being built and not sent yet, so no client is slow.
        let mut reservation = take(&memory, &one, 2 * MIB).await.unwrap();
        let refused = take(&memory, &receiver(1), MIB).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Overloaded);
        assert!(refused.message.contains("max_connection_response_memory"));
        let of_other = take(&memory, &other, 2 * MIB).await.unwrap();
        let third = receiver(3);
        let refused = take(&memory, &third, MIB).await.unwrap_err();
        assert!(refused.message.contains("(max_response_memory)"));
        // Small responses always have room.
        drop(take(&memory, &third, SMALL).await.unwrap());
        reservation.give_back(MIB);
        drop(take(&memory, &third, MIB).await.unwrap());
        drop((reservation, of_other));
        let held = memory.held();
        assert_eq!((held.bytes, held.waiting), (0, 0));
        assert!(held.receivers.is_empty() && held.connections.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_reset_to_make_room_for_others() {
        let memory = memory();
        let slow = (1..=2).map(|connection| {
            let memory = memory.clone();
            let receiver = receiver(connection);
            tokio::spawn(receiver.serve(async move {
                let _reservation = memory.take(2 * MIB).await.unwrap();
                sending();
                // One byte per second.
                loop {
                    sleep(Duration::from_secs(1)).await;
                    taken(1);
                }
            }))
        });
        let slow: Vec<_> = slow.collect();
        tokio::task::yield_now().await;
        let began = Instant::now();
        let reservation = take(&memory, &receiver(3), MIB).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(2));
        let mut slow = slow.into_iter();
        // Only the oldest one is reset, because no more memory is needed.
        assert_eq!(slow.next().unwrap().await.unwrap(), None::<()>);
        assert!(!slow.next().unwrap().is_finished());
        drop(reservation);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_client_is_reset_after_the_idle_timeout() {
        let memory = memory();
        let held = {
            let memory = memory.clone();
            receiver(1).serve(async move {
                let _reservation = memory.take(MIB).await.unwrap();
                // It is not reset while it is being built.
                sleep(Duration::from_secs(60)).await;
                sending();
                std::future::pending::<()>().await;
            })
        };
        let began = Instant::now();
        tokio::select! {
            ended = held => assert_eq!(ended, None),
            () = memory.watch() => unreachable!(),
        }
        assert!(began.elapsed() >= Duration::from_secs(90));
        assert_eq!(memory.held().bytes, 0);
    }

    #[tokio::test]
    async fn a_response_that_can_never_fit_is_rejected() {
        let refused = memory().take(5 * MIB).await.unwrap_err();
        assert_eq!(refused.reason, Reason::ResponseTooLarge);
        assert!(refused.message.contains("4194304"), "{}", refused.message);
        // A write has already been executed, so its response is counted, but not rejected.
        let memory = memory();
        let reservation = memory.count(5 * MIB);
        assert_eq!(memory.held().bytes, 5 * MIB);
        drop(reservation);
        assert_eq!(memory.held().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_read_rate_is_measured_per_connection_not_per_stream() {
        let memory = memory();
        let connection = Connection::new(1);
        let streams: Vec<_> = (0..4)
            .map(|_| {
                let memory = memory.clone();
                let stream = Receiver::new(connection.clone());
                tokio::spawn(stream.serve(async move {
                    let _reservation = memory.take(MIB / 2).await.unwrap();
                    sending();
                    // Each stream reads a quarter of what is fast enough for the connection.
                    loop {
                        sleep(Duration::from_millis(100)).await;
                        taken(SLOW as usize / 20);
                    }
                }))
            })
            .collect();
        tokio::task::yield_now().await;
        let refused = take(&memory, &receiver(2), 3 * MIB).await;
        assert_eq!(refused.unwrap_err().reason, Reason::Overloaded);
        assert!(streams.iter().all(|stream| !stream.is_finished()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_being_built_is_not_slow() {
        let memory = memory();
        let one = receiver(1);
        let connection = tokio::spawn(Arc::clone(&one).serve({
            let memory = memory.clone();
            async move {
                // After a small response, a large one takes a long time to build.
                sending();
                sleep(Duration::from_secs(5)).await;
                let _reservation = memory.take(2 * MIB).await.unwrap();
                sleep(Duration::from_secs(60)).await;
            }
        }));
        sleep(Duration::from_secs(10)).await;
        let refused = take(&memory, &receiver(2), 3 * MIB).await;
        assert_eq!(refused.unwrap_err().reason, Reason::Overloaded);
        assert!(!connection.is_finished());
    }

    #[tokio::test]
    async fn a_further_reservation_of_the_same_response_does_not_wait() {
        let memory = memory();
        let whole = receiver(1).serve(async {
            let _list = memory.take(2 * MIB).await.unwrap();
            // The first part of it to be sent.
            memory.take(MIB).await.unwrap();
        });
        whole.await.unwrap();
        assert_eq!(memory.held().bytes, 0);
    }
}
