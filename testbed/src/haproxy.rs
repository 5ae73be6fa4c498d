use std::{
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    path::PathBuf,
};

use crate::{Error, debian, port, server::Server};

const PORT_ATTEMPTS: u32 = 5;

/// A running HAProxy in front of servers, one of which is in use. When dropped it is stopped; the same happens when this
/// process ends in whatever way.
#[derive(Debug)]
pub struct HaProxy {
    server: Server,
    port: u16,
    console: u16,
}

impl HaProxy {
    /// Starts one in front of these servers. The first one is in use. If a server goes out of use, the sessions on it are
    /// shut down.
    pub fn start(servers: &[SocketAddr]) -> Result<HaProxy, Error> {
        let program = program()?;
        let mut server = Server::new("HAProxy", "KILL")?;
        let path = server.folder().join("cfg");
        let mut attempt = 1;
        loop {
            let (port, console) = (port::free()?, port::free()?);
            fs::write(&path, render(port, console, servers)).map_err(Error::file("write", &path))?;
            server.spawn(&program, &["-db".into(), "-f".into(), path.clone().into()])?;
            let listens = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            match server.wait_until(|_| listens(port) && listens(console)) {
                Err(_) if attempt < PORT_ATTEMPTS && server.port_was_taken() => attempt += 1,
                outcome => return outcome.map(|()| HaProxy { server, port, console }),
            }
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Takes every other server out of use, whose sessions are shut down, and this one into use.
    pub fn switch_to(&self, server: usize, of: usize) -> Result<(), Error> {
        for other in (0..of).filter(|other| *other != server) {
            self.command(&format!("set server postgres/s{other} state maint"))?;
        }
        self.command(&format!("set server postgres/s{server} state ready"))
    }

    fn command(&self, command: &str) -> Result<(), Error> {
        let failed = || Error::file("write a command to", "the console of HAProxy");
        let mut console = TcpStream::connect((Ipv4Addr::LOCALHOST, self.console)).map_err(failed())?;
        console.write_all(format!("{command}\n").as_bytes()).map_err(failed())?;
        console.shutdown(Shutdown::Write).map_err(failed())?;
        let mut answer = String::new();
        console.read_to_string(&mut answer).map_err(failed())?;
        if answer.trim().is_empty() {
            return Ok(());
        }
        Err(self.server.failure(&format!("refused `{command}`: {answer}")))
    }
}

/// The named program, an installed one, or a fetched one.
fn program() -> Result<PathBuf, Error> {
    if let Some(named) = env::var_os("TESTBED_HAPROXY_BIN") {
        return Ok(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let installed = folders.map(|folder| folder.join("haproxy")).find(|program| program.is_file());
    installed.map_or_else(debian::haproxy, Ok)
}

fn render(port: u16, console: u16, servers: &[SocketAddr]) -> String {
    let mut text = format!(
        "global\n    maxconn 500\n    stats socket ipv4@127.0.0.1:{console} level admin\n\
         defaults\n    mode tcp\n    timeout connect 1s\n    timeout client 1h\n    timeout server 1h\n\
         listen postgres\n    bind 127.0.0.1:{port}\n"
    );
    for (number, address) in servers.iter().enumerate() {
        let disabled = if number == 0 { "" } else { " disabled" };
        text += &format!("    server s{number} {address} on-marked-down shutdown-sessions{disabled}\n");
    }
    text
}
