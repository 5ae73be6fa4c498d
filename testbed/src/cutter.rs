use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::{Error, messages::Reader};

/// A local address in front of a server, at which a connection can be cut in the middle of what it transfers.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// Where a connection is cut. Messages of PostgreSQL's protocol, and bytes, are counted from 0, one way, over all
/// connections, from the moment when the cut was [ordered](Cutter::order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// When this message arrives, of which nothing is passed on.
    BeforeMessage(usize),
    /// When all of this message has been passed on.
    AfterMessage(usize),
    /// When so many bytes have been passed on.
    AfterBytes(usize),
}

/// Who notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Client and server.
    Both,
    /// The client alone. The server's side stays open until the cutter is dropped.
    Client,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None once the cutter is dropped.
    target: Option<SocketAddr>,
    order: Option<(Way, Place, Side)>,
    /// Counts the orders, so that each relay begins to count at the same moment.
    orders: usize,
    messages: [usize; 2],
    bytes: [usize; 2],
    is_cut: bool,
    open: Vec<Connection>,
    /// The server's sides of connections whose client was cut off.
    halves: Vec<TcpStream>,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    is_client_cut: Arc<AtomicBool>,
}

impl Cutter {
    /// Starts forwarding to `target` from a port of 127.0.0.1.
    pub fn start(target: SocketAddr) -> Result<Cutter, Error> {
        let failed = |action| Error::file(action, "a local port");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("listen on"))?;
        let address = listener.local_addr().map_err(failed("ask for"))?;
        let state = Mutex::new(State { target: Some(target), ..State::default() });
        let shared = Arc::new(Shared { state });
        let accepting = shared.clone();
        let acceptor = Some(thread::spawn(move || accepting.accept(&listener)));
        Ok(Cutter { address, shared, acceptor })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects new connections to `target`. Open ones stay.
    pub fn retarget(&self, target: SocketAddr) {
        self.shared.lock().target = Some(target);
    }

    /// Orders a cut: it happens once, to the connection that gets there. Nothing may be under way, unless bytes are
    /// counted.
    pub fn order(&self, way: Way, place: Place, side: Side) {
        self.count(Some((way, place, side)));
    }

    /// Counts from 0 again, and cuts nothing.
    pub fn reset(&self) {
        self.count(None);
    }

    /// Cuts every connection now.
    pub fn cut(&self, side: Side) {
        let mut state = self.shared.lock();
        for connection in std::mem::take(&mut state.open) {
            connection.is_client_cut.store(side == Side::Client, Ordering::SeqCst);
            close(&connection.client);
            if side == Side::Both {
                close(&connection.server);
            } else {
                state.halves.push(connection.server);
            }
        }
        state.is_cut = true;
    }

    fn count(&self, order: Option<(Way, Place, Side)>) {
        let mut state = self.shared.lock();
        state.order = order;
        state.orders += 1;
        (state.messages, state.bytes, state.is_cut) = ([0; 2], [0; 2], false);
    }

    /// How many messages went that way since the last order or reset.
    pub fn messages(&self, way: Way) -> usize {
        self.shared.lock().messages[way as usize]
    }

    /// Was the cut made that was ordered last?
    pub fn has_cut(&self) -> bool {
        self.shared.lock().is_cut
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.target = None;
        for connection in state.open.drain(..) {
            close(&connection.client);
            close(&connection.server);
        }
        state.halves.drain(..).for_each(|half| close(&half));
        drop(state);
        // Wakes the acceptor up.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let Some(target) = self.lock().target else {
                // Another thread may be starting a process that has a copy of the listener until it runs.
                let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
                return;
            };
            let Ok(client) = client else { continue };
            // A client whose server cannot be reached sees its connection closed.
            if let Ok(server) = TcpStream::connect(target) {
                let _ = self.open(client, server);
            }
        }
    }

    fn open(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let is_client_cut = Arc::new(AtomicBool::new(false));
        let (other_client, other_server) = (client.try_clone()?, server.try_clone()?);
        let connection =
            Connection { client: other_client, server: other_server, is_client_cut: is_client_cut.clone() };
        self.lock().open.push(connection);
        for way in [Way::ToServer, Way::ToClient] {
            let (client, server) = (client.try_clone()?, server.try_clone()?);
            let (shared, is_client_cut) = (self.clone(), is_client_cut.clone());
            thread::spawn(move || shared.relay(way, &client, &server, &is_client_cut));
        }
        Ok(())
    }

    /// Passes on what comes one way, until the connection ends or is cut.
    fn relay(&self, way: Way, client: &TcpStream, server: &TcpStream, is_client_cut: &AtomicBool) {
        let (mut from, mut to) = if way == Way::ToServer { (client, server) } else { (server, client) };
        let mut buffer = [0; 16 * 1024];
        let mut reader = Reader::default();
        loop {
            let length = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let (passes, cut) = self.lock().pass(way, &mut reader, &buffer[..length]);
            if cut.is_some() && way == Way::ToServer {
                // Before the server can answer what it gets last.
                is_client_cut.store(true, Ordering::SeqCst);
                close(client);
            }
            let written = to.write_all(&buffer[..passes]);
            if let Some(side) = cut {
                is_client_cut.store(side == Side::Client, Ordering::SeqCst);
                close(client);
                if side == Side::Both {
                    close(server);
                }
                self.lock().is_cut = true;
                break;
            }
            // What the server still says to a client that was cut off goes nowhere.
            if written.is_err() && !is_client_cut.load(Ordering::SeqCst) {
                break;
            }
        }
        if !is_client_cut.load(Ordering::SeqCst) {
            close(client);
            close(server);
        }
    }
}

impl State {
    /// How many of these bytes pass, and whether the connection is cut then.
    fn pass(&mut self, way: Way, reader: &mut Reader, bytes: &[u8]) -> (usize, Option<Side>) {
        if reader.order != self.orders {
            *reader = Reader::since(self.orders);
        }
        let order = self.order.filter(|(ordered, ..)| *ordered == way);
        let place = order.map(|(_, place, _)| place);
        let cut = order.map(|(.., side)| side);
        let before = self.bytes[way as usize];
        self.bytes[way as usize] += bytes.len();
        match place {
            Some(Place::AfterBytes(limit)) if self.bytes[way as usize] >= limit => {
                self.order = None;
                return (limit.saturating_sub(before), cut);
            }
            _ => {}
        }
        let mut passed = 0;
        while passed < bytes.len() {
            let number = self.messages[way as usize];
            if reader.is_between_messages() && place == Some(Place::BeforeMessage(number)) {
                self.order = None;
                return (passed, cut);
            }
            passed += reader.read(&bytes[passed..]);
            if reader.is_between_messages() {
                self.messages[way as usize] += 1;
                if place == Some(Place::AfterMessage(number)) {
                    self.order = None;
                    return (passed, cut);
                }
            }
        }
        (bytes.len(), None)
    }
}

fn close(stream: &TcpStream) {
    // Fails only for what is closed already.
    let _ = stream.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32 + 4).to_be_bytes();
        [&[kind], &length[..], content].concat()
    }

    fn pass(place: Place, chunks: &[&[u8]]) -> (usize, bool, usize) {
        let order = Some((Way::ToServer, place, Side::Both));
        let mut state = State { order, orders: 1, ..State::default() };
        let mut reader = Reader::default();
        let mut passed = 0;
        for chunk in chunks {
            let (passes, cut) = state.pass(Way::ToServer, &mut reader, chunk);
            passed += passes;
            if cut.is_some() {
                return (passed, true, state.messages[0]);
            }
        }
        (passed, false, state.messages[0])
    }

    #[test]
    fn a_message_is_recognized_however_it_arrives() {
        let bytes = [message(b'Q', b"SELECT 1\0"), message(b'S', b""), message(b'X', b"abc")].concat();
        for size in 1..bytes.len() {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(pass(Place::BeforeMessage(0), &chunks), (0, true, 0));
            assert_eq!(pass(Place::AfterMessage(0), &chunks), (14, true, 1));
            assert_eq!(pass(Place::BeforeMessage(1), &chunks), (14, true, 1));
            assert_eq!(pass(Place::AfterMessage(1), &chunks), (19, true, 2));
            assert_eq!(pass(Place::BeforeMessage(2), &chunks), (19, true, 2));
            assert_eq!(pass(Place::AfterMessage(2), &chunks), (27, true, 3));
            assert_eq!(pass(Place::BeforeMessage(3), &chunks), (27, false, 3));
            assert_eq!(pass(Place::AfterBytes(7), &chunks).0, 7);
        }
    }
}
