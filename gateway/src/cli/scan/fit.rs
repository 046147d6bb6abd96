//! Whether what is asked for goes with what is scanned: an option that could do nothing is refused, and says why.

use gatehouse_drivers::point::Protocol;
use gatehouse_drivers::scan::{Channel, Options, Plan};

use super::Args;
use super::target::Target;

/// The speeds that serial adapters have, in bits per second.
const SPEEDS: [u32; 18] = [
    300, 600, 1200, 1800, 2400, 4800, 7200, 9600, 14_400, 19_200, 28_800, 38_400, 57_600, 76_800, 115_200, 230_400,
    460_800, 921_600,
];

/// Refuses the first option that the target has no use for.
pub(super) fn check(args: &Args, target: &Target) -> Result<(), String> {
    match target {
        Target::Serial(_) => serial(args),
        Target::Tcp { .. } => socket(args, target),
        Target::Udp { .. } => network(args, target),
    }
}

fn serial(args: &Args) -> Result<(), String> {
    if args.protocol.contains(&Protocol::Uhppote) {
        return Err(
            "--protocol uhppote: door controllers are in a network, not on a line: `gatehouse scan udp`".to_owned()
        );
    }
    let numbered = |protocol: &Protocol| matches!(protocol, Protocol::Modbus | Protocol::Osdp);
    if args.address.is_some() && !args.protocol.is_empty() && !args.protocol.iter().any(numbered) {
        return Err("--address is for Modbus units and card readers; meters are asked all at once, whatever their \
                    numbers are: leave it out"
            .to_owned());
    }
    let tried = tried(&args.protocol);
    match args.baud.iter().find(|baud| !tried.contains(baud)) {
        Some(baud) => {
            let tried: Vec<String> = tried.iter().map(u32::to_string).collect();
            let whom = match args.protocol.as_slice() {
                [] => String::new(),
                some => format!(" for {}", names(some)),
            };
            Err(format!(
                "--baud {baud} is not a speed that is tried{whom}; these are: {}. Set the device to one of them, or write a \
                 site file for it by hand: `gatehouse read` tells whether it answers",
                tried.join(", ")
            ))
        }
        None => Ok(()),
    }
}

fn socket(args: &Args, target: &Target) -> Result<(), String> {
    if let Some(other) = args.protocol.iter().find(|protocol| **protocol != Protocol::Modbus) {
        let own = match other {
            Protocol::Uhppote => "door controllers are found by `gatehouse scan udp`",
            Protocol::Modbus | Protocol::Dlt645(_) | Protocol::Cjt188(_) | Protocol::Osdp => {
                "scan the serial port that its line is on"
            }
        };
        return Err(format!("--protocol {}: {target} is asked in Modbus TCP; {own}", other.as_str()));
    }
    let line = "what is behind a gateway has the speed that is set in the gateway";
    refuse_first(target, &[("--baud", !args.baud.is_empty(), line), ("--listen", args.listen.is_some(), LISTEN)])
}

fn network(args: &Args, target: &Target) -> Result<(), String> {
    if let Some(other) = args.protocol.iter().find(|protocol| **protocol != Protocol::Uhppote) {
        let text = "a network is asked for door controllers (uhppote); scan a serial port or a host";
        return Err(format!("--protocol {}: {target}: {text}", other.as_str()));
    }
    if args.address.is_some() {
        return Err(format!(
            "--address goes with a serial port or a Modbus host, and {target} is none: controllers are asked all at once, \
             whatever their serial numbers are. Leave it out"
        ));
    }
    let speed = "a network has no such speed";
    refuse_first(target, &[("--baud", !args.baud.is_empty(), speed), ("--listen", args.listen.is_some(), LISTEN)])
}

/// Why nobody is listened for on a socket.
const LISTEN: &str = "other masters are heard on serial ports only";

/// Refuses the first option that is given; each with why it is of no use here.
fn refuse_first(target: &Target, options: &[(&str, bool, &str)]) -> Result<(), String> {
    match options.iter().find(|(_, given, _)| *given) {
        Some((name, _, why)) => {
            Err(format!("{name} goes with a serial port, and {target} is none: {why}. Leave it out"))
        }
        None => Ok(()),
    }
}

/// The speeds at which something is tried in these protocols; in all, if there are none.
fn tried(protocols: &[Protocol]) -> Vec<u32> {
    let plan = |baud: u32| {
        let options = Options { protocols: protocols.to_vec(), bauds: vec![baud], addresses: None };
        Plan::new(Channel::Serial, &options)
    };
    SPEEDS.into_iter().filter(|baud| !plan(*baud).is_empty()).collect()
}

fn names(protocols: &[Protocol]) -> String {
    protocols.iter().map(|protocol| protocol.as_str()).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn checked(line: &str) -> Result<(), String> {
        let args = Line::try_parse_from(std::iter::once("scan").chain(line.split(' '))).unwrap().args;
        check(&args, &Target::parse(&args.target).unwrap())
    }

    #[test]
    fn what_goes_with_the_target_is_let_through() {
        for line in [
            "/dev/ttyUSB0",
            "/dev/ttyUSB0 --baud 9600 --baud 2400 --address 1..32 --listen 0 --protocol modbus --protocol dlt645-2007",
            "10.0.0.5 --address 1..32 --protocol modbus",
            "udp --protocol uhppote",
        ] {
            assert_eq!(checked(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn an_option_that_the_target_has_no_use_for_is_refused_by_its_name() {
        for (line, start) in [
            (
                "10.0.0.5 --baud 9600",
                "--baud goes with a serial port, and 10.0.0.5:502 is none: what is behind a gateway",
            ),
            ("10.0.0.5 --listen 0", "--listen goes with a serial port, and 10.0.0.5:502 is none: other masters"),
            ("10.0.0.5 --protocol osdp", "--protocol osdp: 10.0.0.5:502 is asked in Modbus TCP; scan the serial port"),
            (
                "10.0.0.5 --protocol uhppote",
                "--protocol uhppote: 10.0.0.5:502 is asked in Modbus TCP; door controllers",
            ),
            ("udp --baud 9600", "--baud goes with a serial port, and udp:255.255.255.255:60000 is none: a network"),
            (
                "udp --address 1",
                "--address goes with a serial port or a Modbus host, and udp:255.255.255.255:60000 is none: controllers",
            ),
            (
                "udp --listen 5",
                "--listen goes with a serial port, and udp:255.255.255.255:60000 is none: other masters",
            ),
            ("udp --protocol modbus", "--protocol modbus: udp:255.255.255.255:60000: a network is asked for door"),
            ("/dev/ttyUSB0 --protocol uhppote", "--protocol uhppote: door controllers are in a network, not on a line"),
            ("/dev/ttyUSB0 --protocol dlt645-2007 --address 1", "--address is for Modbus units and card readers"),
        ] {
            let why = checked(line).unwrap_err();
            assert!(why.starts_with(start), "{line}: {why}");
        }
    }

    #[test]
    fn a_speed_that_is_not_tried_is_refused_with_those_that_are() {
        let why = checked("/dev/ttyUSB0 --baud 9600 --baud 14400").unwrap_err();
        assert!(
            why.starts_with("--baud 14400 is not a speed that is tried; these are: 1200, 2400, 4800, 9600"),
            "{why}"
        );
        let why = checked("/dev/ttyUSB0 --baud 2400 --protocol osdp").unwrap_err();
        assert!(why.starts_with("--baud 2400 is not a speed that is tried for osdp; these are: 9600, 19200"), "{why}");
    }

    #[test]
    fn the_docs_name_the_speeds_that_are_tried() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commissioning.md")).unwrap();
        let (heat, power) = (gatehouse_drivers::cjt188::Edition::V2004, gatehouse_drivers::dlt645::Edition::V2007);
        let old = gatehouse_drivers::dlt645::Edition::V1997;
        for (name, protocol) in [
            ("Modbus", Protocol::Modbus),
            ("DL/T 645-2007", Protocol::Dlt645(power)),
            ("DL/T 645-1997", Protocol::Dlt645(old)),
            ("CJ/T 188", Protocol::Cjt188(heat)),
            ("OSDP", Protocol::Osdp),
        ] {
            let row = docs.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
            let told = row.split('|').nth(2).unwrap().split(',').map(|speed| speed.trim().parse::<u32>().unwrap());
            assert_eq!(told.collect::<Vec<_>>(), tried(&[protocol]), "{name}");
        }
    }
}
