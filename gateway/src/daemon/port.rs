//! Ports: a serial adapter or a socket of streams or datagrams, opened by what the site file says and behind one face.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gatehouse_config::{Characters, Parity, PortKind, SerialSource};
use rustix::termios::{self, InputModes, OptionalActions};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio_serial::{SerialPort, SerialStream};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the kernel may take to accept one request; a request is at most 512 bytes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often to look whether written bytes have left.
const DRAIN_LOOK: Duration = Duration::from_millis(1);

/// Foreign datagrams that are dropped before others get their turn.
const FOREIGN_AT_ONCE: u32 = 64;

/// An open port.
#[derive(Debug)]
pub enum Port {
    /// A serial adapter.
    Serial(SerialStream),
    /// A socket.
    Tcp(TcpStream),
    /// A socket of datagrams.
    Udp(Datagrams),
}

/// Datagrams to one address, and from it.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Datagrams {
    async fn open(kind: &PortKind, host: &str, port: u16, listen: Option<SocketAddr>) -> io::Result<Datagrams> {
        let addresses = resolve(host, port).await?;
        let suits = |to: &&SocketAddr| listen.is_none_or(|own| own.is_ipv4() == to.is_ipv4());
        let to =
            *addresses.iter().find(suits).ok_or_else(|| io::Error::other(format!("{kind} has no IPv4 address")))?;
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let own = listen.unwrap_or(SocketAddr::new(any, 0));
        let socket = UdpSocket::bind(own)
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("{own}: {e}; is it an address of this box, and free?")))?;
        socket.set_broadcast(true)?;
        Ok(Datagrams { socket, to })
    }

    /// Whether a datagram from there may be an answer: it is from whom is asked, or a whole network is asked. That is seen
    /// anew each time, since the box may have got its address on that network after the port was opened.
    fn listens_to(&self, from: IpAddr) -> bool {
        from == self.to.ip() || is_broadcast(self.to)
    }

    /// The next datagram. Empty ones are nobody's.
    fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        for _ in 0..FOREIGN_AT_ONCE {
            buf.clear();
            let from = ready!(self.socket.poll_recv_from(cx, buf))?;
            if !buf.filled().is_empty() && self.listens_to(from.ip()) {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends a datagram.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_send_to(cx, bytes, self.to)
    }
}

/// Whether an address is a whole network's: one that ends in 255, as of a network behind a router, or the broadcast
/// address of a network of this box, of whatever size.
fn is_broadcast(to: SocketAddr) -> bool {
    matches!(to.ip(), IpAddr::V4(ip) if ip.octets().ends_with(&[255]) || is_own_broadcast(ip))
}

/// Whether an address is the broadcast address of a network that this box is on: the kernel lets a socket that did not
/// ask for broadcasts reach no such address.
fn is_own_broadcast(ip: Ipv4Addr) -> bool {
    let reach = || std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.connect((ip, 9));
    reach().is_err_and(|e: io::Error| e.kind() == io::ErrorKind::PermissionDenied)
}

impl Port {
    /// Opens what the bus is connected to.
    ///
    /// # Errors
    /// With a message that names the port and what to look at.
    pub async fn open(kind: &PortKind) -> io::Result<Port> {
        match kind {
            PortKind::Serial { source, baud, data_bits, parity, stop_bits } => {
                let path = find(source)?;
                let characters =
                    Characters { baud: *baud, data_bits: *data_bits, parity: *parity, stop_bits: *stop_bits };
                open_serial(&path, characters).map(Port::Serial)
            }
            PortKind::Tcp { host, port } => {
                let addresses = resolve(host, *port).await?;
                let connect = tokio::time::timeout(CONNECT_TIMEOUT, connect(&addresses)).await;
                let stream = connect.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
                let stream = stream.map_err(|e| io::Error::new(e.kind(), explain_tcp(kind, &e)))?;
                stream.set_nodelay(true)?;
                Ok(Port::Tcp(stream))
            }
            PortKind::Udp { host, port, listen } => {
                Datagrams::open(kind, host, *port, listen.map(SocketAddr::V4)).await.map(Port::Udp)
            }
        }
    }

    /// Reads what has come; 0 bytes mean that the other side is gone.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(bytes);
        ready!(match self {
            Port::Serial(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Port::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Port::Udp(datagrams) => datagrams.poll_receive(cx, &mut buf),
        })?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// True when the kernel holds bytes of a serial line that were not read yet: someone talks, and one must not.
    pub fn has_unread(&self) -> bool {
        matches!(self, Port::Serial(stream) if stream.bytes_to_read().is_ok_and(|bytes| bytes > 0))
    }

    /// Sets the characters of a serial port once all that was written has left it; `None`: those that `kind` opens it
    /// with.
    ///
    /// # Errors
    /// When the port is gone, keeps bytes for seconds, or refuses the settings.
    pub async fn switch(&mut self, kind: &PortKind, characters: Option<Characters>) -> io::Result<()> {
        let (Port::Serial(stream), PortKind::Serial { baud, data_bits, parity, stop_bits, .. }) = (self, kind) else {
            return Ok(());
        };
        let opened = Characters { baud: *baud, data_bits: *data_bits, parity: *parity, stop_bits: *stop_bits };
        let drain = async {
            while stream.bytes_to_write().is_ok_and(|bytes| bytes > 0) {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        let drained = tokio::time::timeout(WRITE_TIMEOUT, drain).await;
        drained.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the port keeps the bytes written to it"))?;
        let characters = characters.unwrap_or(opened);
        set(stream, characters).map_err(|e| io::Error::other(format!("{kind} cannot be set to {characters}: {e}")))
    }

    /// Whether characters of a serial line that do not suit its settings are handed over, as bytes of 0 or with wrong bits. A
    /// port without parity is opened so that it drops them. To be called anew after [`Port::switch`].
    ///
    /// # Errors
    /// When the port is gone.
    pub fn keep_damaged(&self, keep: bool) -> io::Result<()> {
        let Port::Serial(stream) = self else { return Ok(()) };
        let without_parity = stream.parity()? == tokio_serial::Parity::None;
        // SAFETY: the stream has its descriptor open for as long as it is borrowed.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        let mut settings = termios::tcgetattr(fd)?;
        settings.input_modes.set(InputModes::IGNPAR, without_parity && !keep);
        Ok(termios::tcsetattr(fd, OptionalActions::Now, &settings)?)
    }

    /// Hands all bytes to the kernel.
    ///
    /// # Errors
    /// When the port is gone or takes nothing for seconds.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        // Nearly always the kernel takes all at once, and no timer is needed.
        let first = std::future::poll_fn(|cx| {
            Poll::Ready(match self {
                Port::Serial(stream) => Pin::new(stream).poll_write(cx, bytes),
                Port::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
                Port::Udp(datagrams) => datagrams.poll_send(cx, bytes),
            })
        });
        if let Poll::Ready(n) = first.await {
            done = n?;
        }
        if done == bytes.len() {
            return Ok(());
        }
        let rest = bytes.get(done..).unwrap_or_default();
        let write = async {
            match self {
                Port::Serial(stream) => stream.write_all(rest).await,
                Port::Tcp(stream) => stream.write_all(rest).await,
                Port::Udp(datagrams) => std::future::poll_fn(|cx| datagrams.poll_send(cx, rest)).await.map(drop),
            }
        };
        tokio::time::timeout(WRITE_TIMEOUT, write)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the port takes no bytes"))?
    }
}

/// The addresses of a host. A name is looked up on a thread of its own and waited for until it ends, so that a name
/// server that hangs costs its bus one thread and the others nothing.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (tell, mut answer) = tokio::sync::oneshot::channel();
    let name = host.to_owned();
    let look_up = move || {
        // Nobody waits any more when the bus has ended.
        let _ = tell.send((name.as_str(), port).to_socket_addrs().map(Vec::from_iter));
    };
    std::thread::Builder::new().name("resolve".to_owned()).stack_size(512 * 1024).spawn(look_up)?;
    let result = match tokio::time::timeout(CONNECT_TIMEOUT, &mut answer).await {
        Ok(result) => result,
        Err(_) => {
            tracing::warn!(host, "the name server gives no answer yet: check the box's network and DNS server");
            answer.await
        }
    };
    let text = |why: &dyn std::fmt::Display| format!("{host} has no address: {why}; check the name and the DNS server");
    match result {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(io::Error::other(text(&"the answer is empty"))),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(e)) => Err(io::Error::other(text(&e))),
        Err(_) => Err(io::Error::other(text(&"the resolver broke off"))),
    }
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn explain_tcp(kind: &PortKind, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!(
                "{kind} refuses the connection: is it the right port, and is the device not in use by another master?"
            )
        }
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("{kind} does not answer: check power, cable and address")
        }
        _ => format!("{kind}: {error}"),
    }
}

fn open_serial(path: &Path, characters: Characters) -> io::Result<SerialStream> {
    let Shape { data_bits, parity, stop_bits } = Shape::of(characters);
    let builder = tokio_serial::new(path.to_string_lossy(), characters.baud)
        .data_bits(data_bits)
        .stop_bits(stop_bits)
        .parity(parity);
    let stream = SerialStream::open(&builder).map_err(|e| io::Error::other(explain(path, &e)))?;
    ask_low_latency(&stream);
    Ok(stream)
}

/// A character as the serial crate says it.
struct Shape {
    data_bits: tokio_serial::DataBits,
    parity: tokio_serial::Parity,
    stop_bits: tokio_serial::StopBits,
}

impl Shape {
    fn of(characters: Characters) -> Self {
        Shape {
            data_bits: match characters.data_bits {
                7 => tokio_serial::DataBits::Seven,
                _ => tokio_serial::DataBits::Eight,
            },
            parity: match characters.parity {
                Parity::None => tokio_serial::Parity::None,
                Parity::Even => tokio_serial::Parity::Even,
                Parity::Odd => tokio_serial::Parity::Odd,
            },
            stop_bits: if characters.stop_bits == 2 {
                tokio_serial::StopBits::Two
            } else {
                tokio_serial::StopBits::One
            },
        }
    }
}

/// Sets a port. Each setting is a request to an adapter of its own, so those that are right already are left alone; a
/// pseudo-terminal has no parity and keeps what it can.
fn set(stream: &mut SerialStream, characters: Characters) -> tokio_serial::Result<()> {
    let Shape { data_bits, parity, stop_bits } = Shape::of(characters);
    if stream.baud_rate().ok() != Some(characters.baud) {
        stream.set_baud_rate(characters.baud)?;
    }
    if stream.data_bits().ok() != Some(data_bits) {
        stream.set_data_bits(data_bits)?;
    }
    if stream.parity().ok() != Some(parity) {
        stream.set_parity(parity)?;
    }
    if stream.stop_bits().ok() != Some(stop_bits) {
        stream.set_stop_bits(stop_bits)?;
    }
    Ok(())
}

/// Asks the driver to hand on bytes at once: FTDI adapters hold them back for 16 ms otherwise. Ports that know no such
/// setting refuse, which does no harm.
fn ask_low_latency(stream: &SerialStream) {
    /// `ASYNC_LOW_LATENCY` of linux/tty_flags.h.
    const LOW_LATENCY: libc::c_int = 1 << 13;
    /// `struct serial_struct` of linux/serial.h; only `flags` is touched.
    #[repr(C)]
    struct SerialStruct {
        head: [libc::c_int; 4],
        flags: libc::c_int,
        rest: [u64; 16],
    }
    let mut serial = SerialStruct { head: [0; 4], flags: 0, rest: [0; 16] };
    let fd = stream.as_raw_fd();
    // SAFETY: the kernel reads and writes at most its own struct (72 bytes on 64 bit), and ours is larger.
    unsafe {
        if libc::ioctl(fd, libc::TIOCGSERIAL, &raw mut serial) == 0 {
            serial.flags |= LOW_LATENCY;
            libc::ioctl(fd, libc::TIOCSSERIAL, &raw const serial);
        }
    }
}

fn explain(path: &Path, error: &tokio_serial::Error) -> String {
    let path = path.display();
    match error.kind {
        tokio_serial::ErrorKind::NoDevice | tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => {
            format!("{path}: no such port: is the adapter plugged in?")
        }
        tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            format!("{path}: no permission: the user that runs gatehouse must be in the group of the port (dialout)")
        }
        _ => format!("{path}: {error}"),
    }
}

/// The device file of a source: a path as it stands, or the adapter with these USB ids wherever it is now.
fn find(source: &SerialSource) -> io::Result<PathBuf> {
    match source {
        SerialSource::Path(path) => Ok(path.clone()),
        SerialSource::Usb { vendor, product, serial } => {
            let wanted = |tty: &Path| {
                let Some(usb) = usb_device(tty) else { return false };
                let is = |file: &str, text: &str| {
                    std::fs::read_to_string(usb.join(file)).is_ok_and(|s| s.trim().eq_ignore_ascii_case(text))
                };
                is("idVendor", &format!("{vendor:04x}"))
                    && is("idProduct", &format!("{product:04x}"))
                    && serial.as_ref().is_none_or(|serial| is("serial", serial))
            };
            let mut ttys: Vec<PathBuf> = std::fs::read_dir("/sys/class/tty")?.flatten().map(|e| e.path()).collect();
            ttys.sort();
            let found = ttys.iter().find(|tty| wanted(tty)).and_then(|tty| tty.file_name());
            found.map(|name| Path::new("/dev").join(name)).ok_or_else(|| {
                let serial = serial.as_ref().map(|s| format!(":{s}")).unwrap_or_default();
                let text = format!("usb {vendor:04x}:{product:04x}{serial}: no such adapter: is it plugged in?");
                io::Error::new(io::ErrorKind::NotFound, text)
            })
        }
    }
}

/// The USB device that a tty belongs to: the nearest parent in sysfs that has a vendor id.
fn usb_device(tty: &Path) -> Option<PathBuf> {
    let device = tty.join("device").canonicalize().ok()?;
    device.ancestors().find(|dir| dir.join("idVendor").is_file()).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The broadcast addresses that the kernel knows on this box, by its table of local addresses.
    fn broadcasts() -> Vec<Ipv4Addr> {
        let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap();
        let lines: Vec<&str> = table.lines().map(str::trim).collect();
        let of = |pair: &[&str]| {
            let address = pair[0].strip_prefix("|-- ")?;
            pair[1].starts_with("/32 link BROADCAST").then(|| address.parse().unwrap())
        };
        lines.windows(2).filter_map(of).collect()
    }

    #[test]
    fn a_broadcast_address_is_known_whatever_it_ends_in() {
        let known = broadcasts();
        assert!(!known.is_empty() && known.iter().all(|ip| is_own_broadcast(*ip)), "{known:?}");
        assert!(!is_own_broadcast(Ipv4Addr::LOCALHOST) && !is_own_broadcast(Ipv4Addr::new(127, 0, 0, 255)));
        let is = |text: &str| is_broadcast(text.parse().unwrap());
        assert!(is("203.0.113.255:60000"), "of a network behind a router");
        assert!(!is("127.0.0.1:60000") && !is("[::1]:60000"));
    }

    #[tokio::test]
    async fn characters_that_do_not_suit_the_settings_are_dropped_or_handed_over_as_is_wanted() {
        let (_other, stream) = SerialStream::pair().unwrap();
        let source = SerialSource::Path(PathBuf::from("/dev/pts/0"));
        let kind = PortKind::Serial { source, baud: 9600, data_bits: 8, parity: Parity::None, stop_bits: 1 };
        let mut port = Port::Serial(stream);
        for keep in [true, false, true] {
            port.switch(&kind, None).await.unwrap();
            port.keep_damaged(keep).unwrap();
            let Port::Serial(stream) = &port else { panic!("it was serial") };
            // SAFETY: the stream is open until the end of the test.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(stream.as_raw_fd()) };
            let modes = termios::tcgetattr(fd).unwrap().input_modes;
            assert_eq!(modes.contains(InputModes::IGNPAR), !keep);
            assert!(!modes.intersects(InputModes::PARMRK | InputModes::ISTRIP), "bytes come as they are");
        }
    }

    #[tokio::test]
    async fn a_pseudo_terminal_bears_other_characters() {
        let (_other, stream) = SerialStream::pair().unwrap();
        let source = SerialSource::Path(PathBuf::from("/dev/pts/0"));
        let kind = PortKind::Serial { source, baud: 9600, data_bits: 8, parity: Parity::None, stop_bits: 1 };
        let mut port = Port::Serial(stream);
        let slow = Characters { baud: 2400, data_bits: 8, parity: Parity::Even, stop_bits: 1 };
        for characters in [Some(slow), None, Some(slow), Some(slow), None] {
            port.switch(&kind, characters).await.unwrap();
            let Port::Serial(stream) = &port else { panic!("it was serial") };
            assert_eq!(stream.baud_rate().unwrap(), if characters.is_some() { 2400 } else { 9600 });
        }
    }
}
