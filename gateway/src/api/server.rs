//! The two HTTP servers.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use gatehouse_core::{RegisterRow, RegisterTable};
use tokio::net::{TcpListener, UnixListener};

/// Pause before a taken port is tried again.
const REBIND: Duration = Duration::from_secs(10);

use super::guard::Guarded;
use super::{Answer, Desk, Part, Refusal, Request};

/// The user at the other end of the socket.
#[derive(Debug, Clone, Copy)]
struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, Guarded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Guarded>) -> Self {
        Peer { uid: stream.io().peer_uid() }
    }
}

#[derive(Clone)]
struct Api {
    desk: Desk,
    operators: Arc<[u32]>,
}

impl Api {
    /// Who the peer is, if it may change things.
    fn operator(&self, peer: Peer) -> Result<u32, Refusal> {
        let own = rustix::process::geteuid().as_raw();
        match peer.uid {
            Some(uid) if uid == 0 || uid == own || self.operators.contains(&uid) => Ok(uid),
            Some(uid) => Err(Refusal::new(
                403,
                "not_permitted",
                format!("user {uid} may look but not change: use root, or list the user in [api] operators"),
            )),
            None => Err(Refusal::new(403, "not_permitted", "the socket does not tell which user asks")),
        }
    }
}

/// Opens the API's socket. A socket that a killed daemon left behind is replaced; one that answers is not.
///
/// # Errors
/// With the path, and what to do about it.
pub fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let at = |e: io::Error| io::Error::new(e.kind(), format!("API socket {}: {e}", path.display()));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(at)?;
    }
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            return Err(at(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket")));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(at(io::Error::new(io::ErrorKind::AddrInUse, "another gatehouse answers there")));
        }
        std::fs::remove_file(path).map_err(at)?;
    }
    let listener = UnixListener::bind(path).map_err(at)?;
    // Anyone may connect; the peer's user decides what it may do.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(at)?;
    Ok(listener)
}

/// Serves `/api/v1` until the runtime ends.
pub async fn serve_api(listener: UnixListener, desk: Desk, operators: Vec<u32>) {
    let api = Api { desk, operators: operators.into() };
    let routes = Router::new()
        .route("/api/v1/status", get(|State(api): State<Api>| async move { answer(&api.desk, Request::Status).await }))
        .route("/api/v1/spool", get(|State(api): State<Api>| async move { answer(&api.desk, Request::Spool).await }))
        .route(
            "/api/v1/devices",
            get(|State(api): State<Api>| async move { answer(&api.desk, Request::Devices(None)).await }),
        )
        .route("/api/v1/devices/{device}", get(device))
        .route("/api/v1/devices/{device}/read", post(read))
        .route("/api/v1/devices/{device}/registers", post(registers))
        .route("/api/v1/devices/{device}/identify", post(identify))
        .route("/api/v1/devices/{device}/load", post(load_records))
        .route("/api/v1/devices/{device}/write", post(write))
        .route("/api/v1/devices/{device}/rekey", post(rekey))
        .route("/api/v1/buses/{bus}/frames", get(frames))
        .route("/api/v1/alarms", get(|State(api): State<Api>| decided(api, Part::Alarms)))
        .route("/api/v1/tickets", get(|State(api): State<Api>| decided(api, Part::Tickets)))
        .route("/api/v1/gates", get(|State(api): State<Api>| decided(api, Part::Gates)))
        .route("/api/v1/controllers", get(|State(api): State<Api>| decided(api, Part::Controllers)))
        .route("/api/v1/access", get(|State(api): State<Api>| decided(api, Part::Access)))
        .route("/api/v1/mode", get(|State(api): State<Api>| decided(api, Part::Mode)))
        .route("/api/v1/meters", get(|State(api): State<Api>| async move { answer(&api.desk, Request::Meters).await }))
        .route("/api/v1/meters/books/{month}", get(books))
        .route("/api/v1/meters/{device}/swap", post(swap))
        .route("/api/v1/meters/{device}/enter", post(enter))
        .route("/api/v1/commands", post(command))
        .route("/api/v1/readers/{reader}/present", post(present))
        .route("/api/v1/access/codes", post(issue_code))
        .route("/api/v1/reload", post(reload))
        .fallback(|| async { refuse(&Refusal::new(404, "unknown_path", "no such path under /api/v1")) })
        .with_state(api);
    let service = routes.into_make_service_with_connect_info::<Peer>();
    if let Err(e) = axum::serve(Guarded::new(listener), service).await {
        tracing::error!(error = %e, "the API server ended");
    }
}

/// Serves `/metrics` and `/health` until the runtime ends. A port that is taken keeps nothing else from working: it is
/// told in `trouble` and tried again.
pub async fn serve_http(addr: SocketAddr, desk: Desk, trouble: Arc<Mutex<Option<String>>>) {
    let tell = |text: Option<String>| {
        if let Ok(mut trouble) = trouble.lock() {
            *trouble = text;
        }
    };
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(addr).await {
            Ok(listener) => break listener,
            Err(e) => {
                let text = format!("[http] listen = \"{addr}\": {e}: choose another port, or listen = \"off\"");
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(error = text, "metrics and health are not served, trying on");
                }
                tell(Some(text));
                tokio::time::sleep(REBIND).await;
            }
        }
    };
    tell(None);
    let routes = Router::new()
        .route("/metrics", get(|State(desk): State<Desk>| async move { answer(&desk, Request::Metrics).await }))
        .route("/health", get(|State(desk): State<Desk>| async move { answer(&desk, Request::Health).await }))
        .with_state(desk);
    if let Err(e) = axum::serve(listener, routes).await {
        tracing::error!(error = %e, "the metrics server ended");
    }
}

async fn device(State(api): State<Api>, UrlPath(device): UrlPath<String>) -> Response {
    answer(&api.desk, Request::Devices(Some(device))).await
}

/// Query of the frames of a bus.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    /// The number of the last frame that is known already.
    #[serde(default)]
    since: u64,
}

async fn frames(
    State(api): State<Api>,
    UrlPath(bus): UrlPath<String>,
    query: Result<Query<Since>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(Since { since })) => answer(&api.desk, Request::Frames { bus, since }).await,
        Err(why) => refuse(&Refusal::new(400, "bad_query", format!("since takes a number: {why}"))),
    }
}

/// Body of a read request.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReadBody {
    /// Point names; empty: all.
    #[serde(default)]
    pub points: Vec<String>,
}

/// Body of a request for registers.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct RegistersBody {
    /// `holding` or `input`.
    pub table: String,
    /// The address of the first, as sent on the wire.
    pub first: u16,
    /// How many, 1 to 16.
    pub count: u16,
    /// The unit that the device is believed to have: another is refused. It is not asked for when absent.
    #[serde(default)]
    pub unit: Option<u8>,
}

impl RegistersBody {
    fn row(&self) -> Result<RegisterRow, Refusal> {
        let table = RegisterTable::parse(&self.table);
        table.and_then(|table| RegisterRow::new(table, self.first, self.count)).ok_or_else(|| {
            let text =
                "the request's body: table is holding or input; count is 1 to 16, and first + count at most 65536";
            Refusal::new(400, "bad_body", text)
        })
    }
}

/// Body of a request for load records.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct LoadBody {
    /// Point names; all that the meter records when empty.
    #[serde(default)]
    pub points: Vec<String>,
    /// The time of the first record, as the meter's clock has it: `2026-11-26T00:15`.
    pub from: String,
    /// How many records at most, 1 to 99.
    pub count: u8,
}

/// Body of a write request.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct WriteBody {
    /// Point name.
    pub point: String,
    /// The value as text: `on`, `12.5`, ...
    pub value: String,
}

async fn read(State(api): State<Api>, UrlPath(device): UrlPath<String>, body: Bytes) -> Response {
    match parse::<ReadBody>(&body) {
        Ok(body) => answer(&api.desk, Request::Read { device, points: body.points }).await,
        Err(refusal) => refuse(&refusal),
    }
}

async fn registers(State(api): State<Api>, UrlPath(device): UrlPath<String>, body: Bytes) -> Response {
    match parse::<RegistersBody>(&body).and_then(|body| Ok((body.row()?, body.unit))) {
        Ok((row, unit)) => answer(&api.desk, Request::Registers { device, row, unit }).await,
        Err(refusal) => refuse(&refusal),
    }
}

async fn load_records(State(api): State<Api>, UrlPath(device): UrlPath<String>, body: Bytes) -> Response {
    match parse::<LoadBody>(&body) {
        Ok(body) => answer(&api.desk, Request::LoadRecords { device, body }).await,
        Err(refusal) => refuse(&refusal),
    }
}

async fn identify(State(api): State<Api>, UrlPath(device): UrlPath<String>) -> Response {
    answer(&api.desk, Request::Identify(device)).await
}

async fn write(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    UrlPath(device): UrlPath<String>,
    body: Bytes,
) -> Response {
    let request = api.operator(peer).and_then(|uid| {
        let body = parse::<WriteBody>(&body)?;
        Ok(Request::Write { device, point: body.point, value: body.value, issuer: issuer(uid) })
    });
    match request {
        Ok(request) => answer(&api.desk, request).await,
        Err(refusal) => refuse(&refusal),
    }
}

async fn rekey(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    UrlPath(device): UrlPath<String>,
) -> Response {
    as_operator(&api, peer, |uid| Request::Rekey { device, issuer: issuer(uid) }).await
}

async fn reload(State(api): State<Api>, ConnectInfo(peer): ConnectInfo<Peer>) -> Response {
    as_operator(&api, peer, |uid| Request::Reload { issuer: issuer(uid) }).await
}

async fn decided(api: Api, part: Part) -> Response {
    answer(&api.desk, Request::Decided(part)).await
}

async fn command(State(api): State<Api>, ConnectInfo(peer): ConnectInfo<Peer>, body: Bytes) -> Response {
    as_operator(&api, peer, |uid| Request::Command { body: body.into(), uid }).await
}

async fn present(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    UrlPath(reader): UrlPath<String>,
    body: Bytes,
) -> Response {
    as_operator(&api, peer, |_| Request::Present { reader, body: body.into() }).await
}

async fn issue_code(State(api): State<Api>, ConnectInfo(peer): ConnectInfo<Peer>, body: Bytes) -> Response {
    as_operator(&api, peer, |uid| Request::IssueCode { body: body.into(), issuer: issuer(uid) }).await
}

async fn books(State(api): State<Api>, UrlPath(month): UrlPath<String>) -> Response {
    answer(&api.desk, Request::MeterBooks(month)).await
}

async fn swap(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    UrlPath(device): UrlPath<String>,
    body: Bytes,
) -> Response {
    as_operator(&api, peer, |uid| Request::SwapMeter { device, body: body.into(), issuer: issuer(uid) }).await
}

async fn enter(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    UrlPath(device): UrlPath<String>,
    body: Bytes,
) -> Response {
    as_operator(&api, peer, |uid| Request::EnterReading { device, body: body.into(), issuer: issuer(uid) }).await
}

/// Asks what only operators may ask, with the user who does.
async fn as_operator(api: &Api, peer: Peer, request: impl FnOnce(u32) -> Request) -> Response {
    match api.operator(peer) {
        Ok(uid) => answer(&api.desk, request(uid)).await,
        Err(refusal) => refuse(&refusal),
    }
}

/// Who asks, for records.
fn issuer(uid: u32) -> String {
    format!("uid:{uid}")
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| Refusal::new(400, "bad_body", format!("the request's body: {e}")))
}

async fn answer(desk: &Desk, request: Request) -> Response {
    match desk.ask(request).await {
        Ok(Answer::Json(value)) => {
            // A box that is not well answers /health with 503, so that probes need not read the document.
            let unwell = value.get("healthy") == Some(&serde_json::Value::Bool(false));
            let status = if unwell { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            (status, axum::Json(value)).into_response()
        }
        Ok(Answer::Text(text)) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(refusal) => refuse(&refusal),
    }
}

fn refuse(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(refusal)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_by_a_killed_daemon_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a dropped listener leaves its file");
        bind_socket(&path).unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_answers_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let _other = bind_socket(&path).unwrap();
        let error = bind_socket(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("API socket {}: another gatehouse answers there", path.display()));
    }

    #[tokio::test]
    async fn a_file_in_the_socket_s_place_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        std::fs::write(&path, "notes").unwrap();
        assert!(bind_socket(&path).unwrap_err().to_string().ends_with("there is a file that is not a socket"));
        assert_eq!(std::fs::read(&path).unwrap(), b"notes");
    }

    #[test]
    fn registers_are_asked_for_in_rows_that_can_be() {
        let row = |text: &str| parse::<RegistersBody>(text.as_bytes()).and_then(|body| body.row());
        let expected = RegisterRow::new(RegisterTable::Input, 20, 5);
        assert_eq!(row(r#"{"table":"input","first":20,"count":5}"#).ok(), expected);
        for wrong in [
            r#"{"table":"coil","first":20,"count":5}"#,
            r#"{"table":"input","first":20,"count":0}"#,
            r#"{"table":"input","first":20,"count":17}"#,
            r#"{"table":"input","first":65535,"count":2}"#,
            r#"{"table":"input","first":20,"count":5,"value":1}"#,
        ] {
            let refusal = row(wrong).unwrap_err();
            assert_eq!((refusal.status, refusal.code.as_str()), (400, "bad_body"), "{wrong}");
        }
    }

    #[test]
    fn only_root_the_daemon_s_user_and_operators_may_change_things() {
        let (desk, _asks) = Desk::new();
        let api = Api { desk, operators: [1234].into() };
        let own = rustix::process::geteuid().as_raw();
        for uid in [0, own, 1234] {
            assert_eq!(api.operator(Peer { uid: Some(uid) }).unwrap(), uid);
        }
        let refusal = api.operator(Peer { uid: Some(4321) }).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_str()), (403, "not_permitted"));
        assert_eq!(api.operator(Peer { uid: None }).unwrap_err().status, 403);
    }
}
