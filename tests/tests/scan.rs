//! `gatehouse scan` and `gatehouse guess` against slaves that nobody here wrote, on a serial line and on a socket.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};

use gatehouse_tests::{Gateway, PTY_BAUD, Process, Pty, SECONDS, Slave, Stage, eventually, gatehouse};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A command that finds no daemon but the stage's own.
fn command(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = gatehouse();
    let (name, rest) = arguments.split_first().unwrap();
    command.arg(name).arg("--socket").arg(stage.file("api.sock")).args(rest).current_dir(stage.path());
    command
}

fn document(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a scan found, as protocol and address.
fn addresses(found: &Value) -> Vec<(String, String)> {
    let text = |device: &Value, key: &str| device[key].as_str().unwrap().to_owned();
    let devices = found["devices"].as_array().unwrap();
    devices.iter().map(|device| (text(device, "protocol"), text(device, "address"))).collect()
}

fn modbus(units: &[&str]) -> Vec<(String, String)> {
    units.iter().map(|unit| ("modbus".to_owned(), (*unit).to_owned())).collect()
}

/// The file that a scan wrote passes `gatehouse check`.
fn check(file: &Path) -> String {
    let output = gatehouse().arg("check").arg("--config").arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}\n{text}");
    text
}

/// A site with one point of a slave.
fn site(stage: &Stage, bus: &str) -> std::path::PathBuf {
    let device = "[[device]]\nid = \"meter-3\"\nbus = \"rtu\"\nunit = 3\ninterval = \"200ms\"\n[[device.point]]\nname = \"voltage\"\n\
                  table = \"holding\"\naddress = 2\ntype = \"u32\"\n";
    stage.site("mqtt://127.0.0.1:1", "", &format!("{bus}{device}"))
}

#[test]
fn slaves_on_a_serial_line_are_found_and_the_file_passes_the_check() {
    let stage = Stage::new();
    let line = Pty::new(&stage, "ttyS9");
    let _slave = Slave::serial(&stage, &line.far, &[3, 4]);
    let file = stage.file("found.toml");
    let port = line.near.display().to_string();
    let out = file.display().to_string();
    let arguments = ["scan", &port, "--protocol", "modbus", "--baud", "115200", "--address", "3..4", "--listen", "1"];
    let scan = |more: &[&str]| command(&stage, &[&arguments[..], more].concat()).output().unwrap();

    let found = document(&scan(&["--out", &out, "--json"]));
    assert_eq!(addresses(&found), modbus(&["3", "4"]), "{found}");
    assert_eq!((&found["ending"], &found["clashes"]), (&json!("finished"), &json!([])));
    let text = check(&file);
    assert!(text.contains(&format!("serial = \"{port}\"\nbaud = 115200\n")), "{text}");
    assert_eq!(text.matches("[[device.point]]").count(), 2, "the register that each answered by, and no other: {text}");

    let again = scan(&["--out", &out]);
    assert_eq!(again.status.code(), Some(2), "a file that is there is never overwritten");
    assert!(String::from_utf8_lossy(&again.stderr).contains("the file exists"));
}

#[test]
fn units_behind_a_socket_are_found() {
    let stage = Stage::new();
    let slave = Slave::tcp(&stage, &[3, 4, 9]);
    let host = format!("127.0.0.1:{}", slave.port());
    let found = document(&command(&stage, &["scan", &host, "--address", "1..12", "--json"]).output().unwrap());
    assert_eq!(addresses(&found), modbus(&["3", "4", "9"]), "{found}");
    assert_eq!(found["file"], "site-scan.toml");
    let text = check(&stage.file("site-scan.toml"));
    assert!(text.contains(&format!("tcp = \"{host}\"")), "{text}");
}

#[test]
fn units_behind_a_serial_server_are_found_though_nobody_said_what_it_is() {
    let stage = Stage::new();
    let slave = Slave::rtu_over_tcp(&stage, &[3, 4, 9]);
    let host = format!("127.0.0.1:{}", slave.port());
    let arguments = ["scan", &host, "--address", "1..12", "--protocol", "modbus", "--listen", "0", "--json"];
    let found = document(&command(&stage, &arguments).output().unwrap());
    assert_eq!(addresses(&found), modbus(&["3", "4", "9"]), "{found}");
    let told = (&found["framing"], &found["ending"], &found["unasked"]);
    assert_eq!(told, (&json!("raw"), &json!("finished"), &json!([])), "{found}");
    let text = check(&stage.file("site-scan.toml"));
    assert!(text.contains(&format!("rtu_over_tcp = \"{host}\"")), "{text}");

    // What is said is not found out, and each of the two is what it is.
    let said = |framing: &str| {
        let arguments = ["scan", &host, "--address", "3", "--protocol", "modbus", "--framing", framing, "--json"];
        let output = command(&stage, &arguments).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(addresses(&said("raw")), modbus(&["3"]));
    assert_eq!(addresses(&said("tcp")), []);
}

/// A gateway with unit 3 behind it: each connection, one after the other, gets so many answers, and is closed at the next
/// question. After the last one no more are taken.
fn fleeting(listener: TcpListener, connections: &[usize]) {
    for answers in connections {
        let (mut stream, _) = listener.accept().unwrap();
        for left in (0..=*answers).rev() {
            let (mut header, mut pdu) = ([0u8; 7], [0u8; 5]);
            stream.read_exact(&mut header).unwrap();
            let length = usize::from(header[5]) - 1;
            stream.read_exact(&mut pdu[..length]).unwrap();
            if left == 0 {
                break;
            }
            let answer = match (header[6], pdu[0]) {
                (3, 3) => vec![3, 2, 0, 7],
                (3, function) => vec![function | 0x80, 1],
                (_, function) => vec![function | 0x80, 0x0B],
            };
            let length = u8::try_from(answer.len() + 1).unwrap();
            stream.write_all(&[&header[..5], &[length, header[6]], &answer].concat()).unwrap();
        }
    }
    drop(listener);
}

#[test]
fn a_host_that_refuses_to_be_connected_again_leaves_what_was_found_and_whom_nobody_asked() {
    let stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let gateway = std::thread::spawn(move || fleeting(listener, &[20, 20]));
    let output = command(&stage, &["scan", &host, "--framing", "tcp", "--json"]).output().unwrap();
    gateway.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("The connection was lost, and 6 tries to make it anew in "), "{said}");
    assert!(said.contains("nobody has asked modbus ") && said.contains("..247"), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((addresses(&found), &found["ending"]), (modbus(&["3"]), &json!("lost")), "{found}");
    assert!(check(&stage.file("site-scan.toml")).contains("\nunit = 3\n"));
}

#[test]
fn a_disk_without_room_gets_no_half_of_a_file_and_what_was_found_is_told_instead() {
    let stage = Stage::new();
    let slave = Slave::tcp(&stage, &[3]);
    let host = format!("127.0.0.1:{}", slave.port());
    let folder = stage.file("full");
    std::fs::create_dir(&folder).unwrap();
    // No file may grow beyond nothing, which is a disk that is full to who writes.
    let mut scan = Command::new("sh");
    scan.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]).arg(gatehouse().get_program());
    scan.args(["scan", &host, "--framing", "tcp", "--address", "3", "--socket"]).arg(stage.file("api.sock"));
    let output = scan.current_dir(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("site-scan.toml: File too large") && said.contains("what was found is above"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\nunit = 3\n"));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_scan_that_is_interrupted_keeps_what_it_found_and_writes_it() {
    let stage = Stage::new();
    let line = Pty::new(&stage, "ttyS9");
    let _slave = Slave::serial(&stage, &line.far, &[3]);
    let port = line.near.display().to_string();
    // Ctrl-C, `kill`, and the end of an ssh session or of a terminal.
    for (name, signal) in [("int", Signal::INT), ("term", Signal::TERM), ("hup", Signal::HUP)] {
        let file = stage.file(&format!("{name}.toml"));
        let out = file.display().to_string();
        let mut scan = command(&stage, &["scan", &port, "--address", "3..3", "--listen", "0", "--out", &out]);
        let mut scan = Process::start(name, stage.path(), &mut scan);
        eventually("the first device", 30 * SECONDS, || scan.log().contains("found: modbus 3").then_some(()));
        scan.signal(signal);
        assert_eq!(scan.wait(10 * SECONDS).code(), Some(0), "{}", scan.log());
        assert!(scan.log().contains("broken off after"), "{}", scan.log());
        assert!(check(&file).contains("\nunit = 3\n"));
    }
}

#[test]
fn a_scan_to_which_nobody_listens_any_more_writes_what_it_found() {
    let stage = Stage::new();
    let line = Pty::new(&stage, "ttyS9");
    let _slave = Slave::serial(&stage, &line.far, &[3]);
    let (port, file) = (line.near.display().to_string(), stage.file("some.toml"));
    let mut scan = Command::new("sh");
    scan.args(["-c", "\"$0\" \"$@\" 2>&1 | true"]).arg(gatehouse().get_program());
    scan.args(["scan", &port, "--address", "3..4", "--listen", "0", "--out"])
        .arg(&file)
        .arg("--socket")
        .arg(stage.file("api.sock"));
    Process::start("scan", stage.path(), &mut scan).wait(60 * SECONDS);
    assert!(check(&file).contains("\nunit = 3\n"));
}

#[test]
fn a_port_may_be_named_from_the_folder_that_one_is_in() {
    let stage = Stage::new();
    let line = Pty::new(&stage, "ttyS9");
    let _slave = Slave::serial(&stage, &line.far, &[3]);
    let arguments = ["scan", "./ttyS9", "--protocol", "modbus", "--baud", "9600", "--address", "3", "--listen", "0"];
    let found = document(&command(&stage, &[&arguments[..], &["--json"]].concat()).output().unwrap());
    assert_eq!(addresses(&found), modbus(&["3"]), "{found}");
    let text = check(&stage.file("site-scan.toml"));
    assert!(text.contains(&format!("serial = \"{}\"", line.near.display())), "{text}");
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_sent() {
    let stage = Stage::new();
    let line = Pty::new(&stage, "ttyS9");
    let port = line.near.display().to_string();
    for (arguments, told) in [
        (["scan", port.as_str(), "--out", "no/such.toml"], "there is no folder no: make it first"),
        (["scan", port.as_str(), "--baud", "14400"], "--baud 14400 is not a speed that is tried"),
        (["scan", "127.0.0.1", "--baud", "9600"], "--baud goes with a serial port, and 127.0.0.1:502 is none"),
    ] {
        let output = command(&stage, &arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn a_line_on_which_somebody_asks_is_left_alone() {
    let stage = Stage::new();
    let line = Pty::new(&stage, "ttyS9");
    // `01 03 00 00 00 01 84 0A` each 200 ms: a master that reads register 0 of unit 1.
    let talk = "while true; do printf '\\001\\003\\000\\000\\000\\001\\204\\012'; sleep 0.2; done > \"$0\"";
    let _master = Process::start("master", stage.path(), Command::new("sh").arg("-c").arg(talk).arg(&line.far));
    let port = line.near.display().to_string();
    let output = command(&stage, &["scan", &port, "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["ending"], &found["file"]), (&json!("foreign-master"), &Value::Null), "{found}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("another master asks on this line already, in modbus"));
}

#[test]
fn controllers_answer_a_discovery() {
    let stage = Stage::new();
    let board = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = board.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut request = [0u8; 64];
        while let Ok((64, from)) = board.recv_from(&mut request) {
            assert_eq!((request[1], &request[4..]), (0x94, &[0u8; 60][..]), "it only asks who is there");
            let mut reply = [0u8; 64];
            reply[..8].copy_from_slice(&[0x17, 0x94, 0, 0, 0x2D, 0x55, 0x39, 0x19]);
            reply[8..12].copy_from_slice(&[127, 0, 0, 1]);
            reply[28..32].copy_from_slice(&[0x20, 0x18, 0x08, 0x16]);
            board.send_to(&reply, from).unwrap();
        }
    });
    let target = format!("udp:127.0.0.1:{port}");
    let found = document(&command(&stage, &["scan", &target, "--json"]).output().unwrap());
    assert_eq!(addresses(&found), [("uhppote".to_owned(), "423187757".to_owned())]);
    assert!(check(&stage.file("site-scan.toml")).contains("serial = 423187757\nprofile = \"uhppote-4door\"\n"));
}

#[test]
fn a_register_is_guessed_by_what_the_display_shows_with_a_daemon_and_without() {
    let stage = Stage::new();
    let line = Pty::new(&stage, "ttyS9");
    let _slave = Slave::serial(&stage, &line.far, &[3, 4]);
    let port = line.near.display().to_string();
    let site = site(&stage, &format!("[[bus]]\nid = \"rtu\"\nserial = \"{port}\"\nbaud = {PTY_BAUD}\n"));
    let config = site.display().to_string();
    let guess = |arguments: &[&str]| {
        gatehouse().args(["guess", "--config", &config]).args(arguments).arg("--json").output().unwrap()
    };
    let best = |output: &Output| document(output)["candidates"][0].clone();
    let float = |address: u16| json!([address, "f32", "ABCD", "1"]);
    let told = |best: &Value| json!([best["address"], best["type"], best["order"], best["scale"]]);

    let direct = best(&guess(&["meter-3", "2", "--table", "holding", "--shows", "331.5"]));
    assert_eq!(told(&direct), float(2), "{direct}");
    let lines = "[[device.point]]\nname = \"shown\"\ntable = \"holding\"\naddress = 2\ntype = \"f32\"\n";
    assert_eq!(direct["lines"], lines);
    let unknown = best(&guess(&["rtu/4", "2", "--shows", "431.5"]));
    assert_eq!(told(&unknown), float(2), "a unit that is no device yet: {unknown}");
    let counted = best(&guess(&["rtu/4", "40021", "--shows", "12345.67"]));
    assert_eq!(told(&counted), json!([20, "u32", "ABCD", "0.01"]), "{counted}");
    let nothing = guess(&["meter-3", "2", "--table", "holding", "--shows", "77777"]);
    assert_eq!(nothing.status.code(), Some(4));

    let mut gateway = Gateway::start(&stage, &site);
    gateway.until("the port to be open", 20 * SECONDS, |status| (status["buses"][0]["open"] == true).then_some(()));
    let through = best(&guess(&["meter-3", "2", "--table", "holding", "--shows", "331.5"]));
    assert_eq!(told(&through), float(2), "{through}");
    for device in ["meter-3", "rtu/3"] {
        let no_point = best(&guess(&[device, "20", "--shows", "12345.67"]));
        assert_eq!(told(&no_point), json!([20, "u32", "ABCD", "0.01"]), "where no point is: {no_point}");
    }
    let refused = |arguments: &[&str], words: &str| {
        let output = guess(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(words), "{said}");
    };
    refused(
        &["meter-3", "5000", "--shows", "1"],
        "meter-3 gives no register 5000: holding registers: the device has none there (exception 2); input registers: the",
    );
    refused(
        &["rtu/4", "20", "--shows", "1"],
        "rtu/4 is no device of the site file, and the daemon has the port. Add it",
    );
    let scan = command(&stage, &["scan", &port]).output().unwrap();
    assert_eq!(scan.status.code(), Some(4), "the daemon has the port");
    assert!(String::from_utf8_lossy(&scan.stderr).contains("works on it. Stop that first"));
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}
