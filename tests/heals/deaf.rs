//! Makes a pooler deaf to `DEALLOCATE ALL`, as PgBouncer 1.21 is: PgBouncer 1.24 notices it by the tag that the server
//! answers with, and here the answer comes with another tag.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

const TAG: &[u8] = b"DEALLOCATE ALL\0";
const OTHER: &[u8] = b"DEALLOCATE ONE\0";

/// Forwards to a server, until the process ends.
pub(crate) fn deaf_to_deallocate(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(server) else {
                continue;
            };
            let pair = client.try_clone().and_then(|client| Ok((client, server.try_clone()?)));
            let (from_client, to_server) = pair.expect("two more handles");
            thread::spawn(move || copy(from_client, to_server, |_| {}));
            thread::spawn(move || copy(server, client, replace_tag));
        }
    });
    address
}

fn copy(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&mut [u8])) {
    let mut buffer = [0; 16 * 1024];
    let mut pass_on = || -> io::Result<usize> {
        let length = from.read(&mut buffer)?;
        change(&mut buffer[..length]);
        to.write_all(&buffer[..length])?;
        Ok(length)
    };
    while pass_on().is_ok_and(|length| length > 0) {}
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// The answer to `DEALLOCATE ALL` is short, and comes in one piece.
fn replace_tag(bytes: &mut [u8]) {
    let found = bytes.windows(TAG.len()).position(|window| window == TAG);
    if let Some(found) = found {
        bytes[found..found + TAG.len()].copy_from_slice(OTHER);
    }
}
