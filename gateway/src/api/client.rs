//! The command line's side of the API: one HTTP request over the daemon's unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::Refusal;

/// Longest wait for an answer; a write may wait for a slow device and its read-back.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no daemon answers at {}", .0.display())]
    NoDaemon(PathBuf),
    /// The daemon refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The conversation broke.
    #[error("the daemon's answer broke off: {0}")]
    Broken(String),
}

/// Asks the daemon at `socket`. `body`: `None` for GET, a document for POST.
///
/// # Errors
/// [`ClientError`].
pub async fn call(
    socket: &Path,
    path: &str,
    body: Option<serde_json::Value>,
) -> Result<serde_json::Value, ClientError> {
    call_within(TIMEOUT, socket, path, body).await
}

/// The same for what may take longer.
///
/// # Errors
/// [`ClientError`].
pub async fn call_within(
    time: Duration,
    socket: &Path,
    path: &str,
    body: Option<serde_json::Value>,
) -> Result<serde_json::Value, ClientError> {
    tokio::time::timeout(time, exchange(socket, path, body))
        .await
        .map_err(|_| ClientError::Broken(format!("no answer within {} s", time.as_secs())))?
}

async fn exchange(
    socket: &Path,
    path: &str,
    body: Option<serde_json::Value>,
) -> Result<serde_json::Value, ClientError> {
    let broken = |e: &dyn std::error::Error| ClientError::Broken(e.to_string());
    let stream = UnixStream::connect(socket).await.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon(socket.to_owned()),
        _ => ClientError::Broken(format!("{}: {e}", socket.display())),
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let bytes = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "gatehouse")
        .header("content-type", "application/json")
        .body(Full::new(bytes))
        .map_err(|e| broken(&e))?;
    // The connection is driven by hand: it ends with this one exchange.
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
    };
    let (status, bytes) = tokio::select! {
        answer = answer => answer.map_err(|e| broken(&e))?,
        ended = connection => {
            let why = ended.err().map_or_else(|| "closed".to_owned(), |e| e.to_string());
            return Err(ClientError::Broken(why));
        }
    };
    if status.is_success() || status == hyper::StatusCode::SERVICE_UNAVAILABLE && path.ends_with("/health") {
        return serde_json::from_slice(&bytes).map_err(|e| broken(&e));
    }
    let refusal = serde_json::from_slice::<Refusal>(&bytes);
    Err(ClientError::Refused(refusal.unwrap_or_else(|_| Refusal::new(status.as_u16(), "unknown", status.to_string()))))
}
