use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    Error,
    relay::{Delay, Relay},
};

const TWIN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PORT_ATTEMPTS: u32 = 20;

/// A local address that stays while what is behind it changes.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    closed: Condvar,
    accepted: AtomicUsize,
    round_trips: AtomicUsize,
    delay: Delay,
}

#[derive(Debug)]
struct State {
    /// Taken in turn by the connections. None once the forwarder is dropped.
    targets: Vec<SocketAddr>,
    /// Counts the changes of targets, so that a connection to an earlier one is recognised.
    generation: usize,
    connections: HashMap<usize, Connection>,
}

#[derive(Debug)]
struct Connection {
    generation: usize,
    client: TcpStream,
    server: TcpStream,
}

impl Forwarder {
    /// Starts forwarding to `target` from a port of 127.0.0.1.
    pub fn start(target: SocketAddr) -> Result<Forwarder, Error> {
        Self::start_in_turn(&[target])
    }

    /// The same for several targets: each connection goes to the next one.
    pub fn start_in_turn(targets: &[SocketAddr]) -> Result<Forwarder, Error> {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)), targets)
    }

    /// Starts forwarding from one and the same port of 127.0.0.1 and 127.0.0.2, to a target each.
    pub fn start_twins(targets: [SocketAddr; 2]) -> Result<[Forwarder; 2], Error> {
        let mut attempt = 1;
        loop {
            let first = Self::start(targets[0])?;
            match TcpListener::bind((TWIN, first.address.port())) {
                Err(error) if attempt < PORT_ATTEMPTS && error.kind() == io::ErrorKind::AddrInUse => attempt += 1,
                second => return Ok([first, Self::on(second, &targets[1..])?]),
            }
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every open connection on both sides, and connects new ones to `target`. Returns once the old ones are
    /// closed.
    pub fn retarget(&self, target: SocketAddr) {
        self.shared.set_targets(vec![target]);
    }

    /// Connects new ones to `target`, and leaves the open ones where they are: as an address that moves in the DNS.
    pub fn lead_new_to(&self, target: SocketAddr) {
        self.shared.lock().targets = vec![target];
    }

    /// How many connections were accepted since the start.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many times a client sent something after its server had last sent, over all connections since the start. A
    /// connection begins with such a turn, and the farewell of a client that disconnects is one.
    pub fn round_trips(&self) -> usize {
        self.shared.round_trips.load(Ordering::SeqCst)
    }

    /// Passes on everything that arrives from now on, in both directions, this long after it arrived. Zero, the
    /// default, is no delay; connecting is not delayed.
    pub fn delay(&self, each_way: Duration) {
        self.shared.delay.set(each_way);
    }

    fn on(listener: io::Result<TcpListener>, targets: &[SocketAddr]) -> Result<Forwarder, Error> {
        let failed = |action| Error::file(action, "a local port");
        let listener = listener.map_err(failed("listen on"))?;
        let address = listener.local_addr().map_err(failed("ask for"))?;
        let shared = Arc::new(Shared::new(targets.to_vec()));
        let accepting = shared.clone();
        let acceptor = Some(thread::spawn(move || accepting.accept(&listener)));
        Ok(Forwarder { address, shared, acceptor })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.set_targets(Vec::new());
        // Wakes the acceptor up, which then sees that there is no target.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn new(targets: Vec<SocketAddr>) -> Shared {
        let state = State { targets, generation: 0, connections: HashMap::new() };
        Shared {
            state: Mutex::new(state),
            closed: Condvar::new(),
            accepted: AtomicUsize::new(0),
            round_trips: AtomicUsize::new(0),
            delay: Delay::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_targets(&self, targets: Vec<SocketAddr>) {
        let mut state = self.lock();
        state.targets = targets;
        state.generation += 1;
        let generation = state.generation;
        for old in state.connections.values() {
            old.close();
        }
        let is_old = |state: &mut State| state.connections.values().any(|open| open.generation < generation);
        drop(self.closed.wait_while(state, is_old).unwrap_or_else(PoisonError::into_inner));
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.lock().targets.is_empty() {
                // Another thread may be starting a process that has a copy of the listener until it runs.
                let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
                return;
            }
            let Ok(client) = client else { continue };
            let number = self.accepted.fetch_add(1, Ordering::SeqCst);
            let shared = self.clone();
            // A client whose server cannot be reached sees its connection closed.
            thread::spawn(move || shared.forward(number, client));
        }
    }

    fn forward(&self, number: usize, client: TcpStream) -> io::Result<()> {
        let Some((to_server, to_client)) = self.open(number, &client)? else { return Ok(()) };
        let request = Relay { from: &client, to: &to_server, delay: &self.delay };
        let answer = Relay { from: &to_client, to: &client, delay: &self.delay };
        let is_turn_of_client = AtomicBool::new(true);
        let client_sent = || {
            if is_turn_of_client.swap(false, Ordering::SeqCst) {
                self.round_trips.fetch_add(1, Ordering::SeqCst);
            }
        };
        // Before the client gets the answer, or its next request could come first.
        let server_sends = || is_turn_of_client.store(true, Ordering::SeqCst);
        thread::scope(|scope| {
            scope.spawn(|| request.run(client_sent, || ()));
            answer.run(|| (), server_sends);
        });
        drop((client, to_server, to_client));
        self.lock().connections.remove(&number);
        self.closed.notify_all();
        Ok(())
    }

    /// Connects to the target whose turn it is, again if they change meanwhile.
    fn open(&self, number: usize, client: &TcpStream) -> io::Result<Option<(TcpStream, TcpStream)>> {
        client.set_nodelay(true)?;
        loop {
            let (target, generation) = {
                let state = self.lock();
                let target = number.checked_rem(state.targets.len()).map(|turn| state.targets[turn]);
                (target, state.generation)
            };
            let Some(target) = target else { return Ok(None) };
            let server = TcpStream::connect(target);
            let mut state = self.lock();
            if state.generation != generation {
                continue;
            }
            let server = server?;
            server.set_nodelay(true)?;
            let handles = (server.try_clone()?, server.try_clone()?);
            let connection = Connection { generation, client: client.try_clone()?, server };
            state.connections.insert(number, connection);
            return Ok(Some(handles));
        }
    }
}

impl Connection {
    fn close(&self) {
        // Fails only for what is closed already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}
