//! One open connection: bytes out, packets in. Nothing here waits while the other side is slow.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fault::Fault;
use crate::packet::{self, Admission, Connect, Incoming, Packets};
use crate::settings::Version;
use crate::tls::{self, Tls};

/// How much is read at once. PUBACKs have four bytes; `ack` messages may be larger and are read in several steps.
const READ_BYTES: usize = 2048;

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// A TCP or TLS connection with its buffers.
pub(crate) struct Connection {
    stream: Box<dyn Io>,
    name: String,
    pub(crate) packets: Packets,
    /// Whole packets that wait to be written; the first may have left in part.
    pub(crate) out: BytesMut,
    /// Bytes at the front of `out` that belong to a packet of which others have left.
    begun: usize,
    incoming: BytesMut,
    unflushed: bool,
    pub(crate) bytes_written: u64,
    pub(crate) bytes_read: u64,
}

impl Connection {
    /// Opens TCP, and TLS over it where `secure` is given, with the name that the certificate must have. Packets may have
    /// `largest` bytes, or [`packet::INCOMING_MAX`] where that is more.
    pub(crate) async fn open(
        address: SocketAddr,
        secure: Option<(&Tls, &str)>,
        (version, largest): (Version, u32),
    ) -> Result<Self, Fault> {
        let unreachable =
            |error: io::Error| Fault::Unreachable { address: address.to_string(), why: error.to_string() };
        let tcp = TcpStream::connect(address).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let (stream, name): (Box<dyn Io>, _) = match secure {
            None => (Box::new(tcp), String::new()),
            Some((tls, name)) => {
                let server = ServerName::try_from(name.to_owned())
                    .map_err(|_| Fault::WrongName { name: format!("{name:?}, which is no name") })?;
                let opened = TlsConnector::from(tls.config.clone()).connect(server, tcp).await;
                let stream = opened.map_err(|error| lost(&error, name))?;
                (Box::new(stream), name.to_owned())
            }
        };
        Ok(Self::over(stream, name, Packets::new(version, largest)))
    }

    fn over(stream: Box<dyn Io>, name: String, packets: Packets) -> Self {
        Connection {
            stream,
            name,
            packets,
            out: BytesMut::new(),
            begun: 0,
            incoming: BytesMut::new(),
            unflushed: false,
            bytes_written: 0,
            bytes_read: 0,
        }
    }

    /// Puts whole packets before all that wait, but not into the midst of one.
    pub(crate) fn put_first(&mut self, packets: &[u8]) {
        let rest = self.out.split_off(self.begun);
        self.out.extend_from_slice(packets);
        self.out.extend_from_slice(&rest);
    }

    /// Takes what was written from the front, and notes where the packet ends that it is part of.
    fn wrote(&mut self, mut bytes: usize) {
        self.bytes_written += bytes as u64;
        while bytes > 0 {
            if self.begun == 0 {
                self.begun = packet::first_len(&self.out);
            }
            let now = bytes.min(self.begun);
            self.out.advance(now);
            self.begun -= now;
            bytes -= now;
        }
    }

    /// Sends CONNECT and waits for the answer.
    pub(crate) async fn admit(&mut self, connect: Connect<'_>) -> Result<Admission, Fault> {
        self.packets.connect(&mut self.out, connect)?;
        loop {
            match self.packet()? {
                Some(Incoming::Admitted(admission)) => return Ok(admission),
                Some(Incoming::Refused(fault)) => return Err(fault),
                Some(_) => return Err(Fault::Malformed { why: "the first packet is no CONNACK".to_owned() }),
                None => self.turn(usize::MAX).await?,
            }
        }
    }

    /// The next packet that was read.
    pub(crate) fn packet(&mut self) -> Result<Option<Incoming>, Fault> {
        self.packets.read(&mut self.incoming)
    }

    /// Writes what waits and reads what comes; returns when something was read, or when fewer than `low` bytes wait
    /// to be written after more did. Cancel-safe.
    pub(crate) async fn turn(&mut self, low: usize) -> Result<(), Fault> {
        let result = poll_fn(|cx| self.poll_turn(cx, low)).await;
        result.map_err(|error| lost(&error, &self.name))
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, low: usize) -> Poll<io::Result<()>> {
        let was_high = self.out.len() >= low;
        let written = self.poll_write(cx)?;
        if was_high && (written.is_ready() || self.out.len() < low) {
            return Poll::Ready(Ok(()));
        }
        let mut room = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer)? {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if buffer.filled().is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(()) => {
                self.bytes_read += buffer.filled().len() as u64;
                self.incoming.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Ready when nothing waits to be written any more.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => {
                    self.wrote(written);
                    self.unflushed = true;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx)? {
                Poll::Ready(()) => self.unflushed = false,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says goodbye and closes, within `limit`. With `will`, the broker publishes the last will.
    pub(crate) async fn close(mut self, will: bool, limit: Duration) {
        self.packets.disconnect(&mut self.out, will);
        let goodbye = async {
            poll_fn(|cx| self.poll_write(cx)).await?;
            poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await
        };
        // The link ends here either way; what was not acknowledged stays in the store.
        let _ = tokio::time::timeout(limit, goodbye).await;
    }
}

fn lost(error: &io::Error, name: &str) -> Fault {
    tls::fault(error, name).unwrap_or_else(|| match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Lost { why: "the broker closed the connection".to_owned() },
        _ => Fault::Lost { why: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_urgent_goes_before_all_that_waits_but_not_into_the_midst_of_a_packet() {
        // Four bytes of the first packet are taken before the question comes.
        let (near, mut far) = tokio::io::duplex(4);
        let mut connection = Connection::over(Box::new(near), String::new(), Packets::new(Version::V5, 0));
        let packet = |topic: &'static str, payload: &[u8]| {
            let mut out = BytesMut::new();
            let topic = bytes::Bytes::from_static(topic.as_bytes());
            Packets::new(Version::V5, 0).publish(&mut out, (&topic, 0), payload.to_vec(), false).unwrap();
            out
        };
        let (first, second, question) = (packet("a", &[1; 200]), packet("b", &[2; 20]), packet("ask", b"?"));
        connection.out.extend_from_slice(&first);
        connection.out.extend_from_slice(&second);
        assert!(tokio::time::timeout(Duration::ZERO, connection.turn(usize::MAX)).await.is_err());
        assert_eq!(connection.bytes_written, 4);
        connection.put_first(&question);
        let mut all = vec![0; first.len() + question.len() + second.len()];
        tokio::select! {
            read = far.read_exact(&mut all) => drop(read.unwrap()),
            turned = connection.turn(usize::MAX) => panic!("{turned:?}"),
        }
        assert_eq!(all, [first, question.clone(), second].concat());
        connection.put_first(&question);
        assert_eq!(connection.out, question, "nothing has begun to leave");
    }
}
