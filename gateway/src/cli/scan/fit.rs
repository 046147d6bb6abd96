//! Whether what is asked for goes with what is scanned: an option that could do nothing is refused, and says why.

use gatehouse_drivers::point::{PROTOCOLS, Protocol};
use gatehouse_drivers::scan::{Channel, Options, Plan};

use super::target::Target;
use super::{Args, Framing};

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
    if args.framing.is_some() {
        return Err("--framing goes with a host: a serial port carries frames as they are. Leave it out".to_owned());
    }
    address(args)?;
    speeds(args)
}

/// Refuses addresses where nobody is asked by them.
fn address(args: &Args) -> Result<(), String> {
    let numbered = |protocol: &Protocol| matches!(protocol, Protocol::Modbus | Protocol::Osdp);
    if args.address.is_some() && !args.protocol.is_empty() && !args.protocol.iter().any(numbered) {
        return Err("--address is for Modbus units and card readers; meters are asked all at once, whatever their \
                    numbers are: leave it out"
            .to_owned());
    }
    Ok(())
}

/// Refuses a speed at which none of the protocols is tried, and a protocol that is tried at none of the speeds.
fn speeds(args: &Args) -> Result<(), String> {
    let tried: Vec<(Protocol, Vec<u32>)> = match args.protocol.as_slice() {
        [] => PROTOCOLS.iter().map(|(_, protocol)| (*protocol, tried(*protocol))).collect(),
        some => some.iter().map(|protocol| (*protocol, tried(*protocol))).collect(),
    };
    if let Some(baud) = args.baud.iter().find(|baud| !tried.iter().any(|(_, bauds)| bauds.contains(baud))) {
        let of = |(protocol, bauds): &(Protocol, Vec<u32>)| format!("{} at {}", protocol.as_str(), listed(bauds));
        let known: Vec<String> = tried.iter().filter(|(_, bauds)| !bauds.is_empty()).map(of).collect();
        return Err(format!(
            "--baud {baud} is not a speed that is tried; these are: {}. Set the device to one of them, or write a site file for it \
             by hand: `gatehouse read` tells whether it answers",
            known.join("; ")
        ));
    }
    let idle = |(_, bauds): &&(Protocol, Vec<u32>)| !args.baud.iter().any(|baud| bauds.contains(baud));
    match tried.iter().find(idle).filter(|_| !args.baud.is_empty() && !args.protocol.is_empty()) {
        Some((protocol, bauds)) => Err(format!(
            "--protocol {0}: it is not tried at {1}, but at {2}: add a --baud that it has, or leave --protocol {0} out",
            protocol.as_str(),
            listed(&args.baud),
            listed(bauds)
        )),
        None => Ok(()),
    }
}

fn listed(bauds: &[u32]) -> String {
    bauds.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn socket(args: &Args, target: &Target) -> Result<(), String> {
    if args.protocol.contains(&Protocol::Uhppote) {
        return Err(format!(
            "--protocol uhppote: {target} is asked over a connection; door controllers are found by `gatehouse scan udp`"
        ));
    }
    let is_tcp = args.framing == Some(Framing::Tcp);
    if let Some(other) = args.protocol.iter().find(|protocol| is_tcp && **protocol != Protocol::Modbus) {
        return Err(format!(
            "--protocol {}: with --framing tcp {target} is asked in Modbus TCP, which carries Modbus alone; behind a serial server it \
             is --framing raw",
            other.as_str()
        ));
    }
    address(args)?;
    let line = "what is behind a gateway or a serial server has the speed that is set there";
    let listens = args.listen.is_some() && is_tcp;
    refuse_first(target, &[("--baud", !args.baud.is_empty(), line), ("--listen", listens, LISTEN)])
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
    if args.framing.is_some() {
        return Err(format!(
            "--framing goes with a host, and {target} is none: controllers have one manner. Leave it out"
        ));
    }
    let speed = "a network has no such speed";
    refuse_first(target, &[("--baud", !args.baud.is_empty(), speed), ("--listen", args.listen.is_some(), LISTEN)])
}

/// Why nobody is listened for where no bytes of a line come.
const LISTEN: &str = "other masters are heard on serial ports, and behind serial servers";

/// Refuses the first option that is given; each with why it is of no use here.
fn refuse_first(target: &Target, options: &[(&str, bool, &str)]) -> Result<(), String> {
    match options.iter().find(|(_, given, _)| *given) {
        Some((name, _, why)) => {
            Err(format!("{name} goes with a serial port, and {target} is none: {why}. Leave it out"))
        }
        None => Ok(()),
    }
}

/// The speeds at which a protocol is tried.
fn tried(protocol: Protocol) -> Vec<u32> {
    Plan::new(Channel::Serial, &Options { protocols: vec![protocol], ..Options::default() }).speeds()
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
            "/dev/ttyUSB0 --baud 2400 --baud 115200 --protocol osdp --protocol dlt645-2007",
            "10.0.0.5 --address 1..32 --protocol modbus",
            "10.0.0.5 --listen 0",
            "10.0.0.5 --protocol osdp --address 0..7",
            "10.0.0.6:4001 --framing raw --protocol dlt645-2007 --protocol cjt188-2004 --listen 10",
            "10.0.0.5 --framing tcp --protocol modbus --address 3",
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
            (
                "10.0.0.5 --framing tcp --listen 0",
                "--listen goes with a serial port, and 10.0.0.5:502 is none: other masters",
            ),
            (
                "10.0.0.5 --framing tcp --protocol modbus --protocol osdp",
                "--protocol osdp: with --framing tcp 10.0.0.5:502 is asked in Modbus TCP, which carries Modbus alone",
            ),
            (
                "10.0.0.5 --protocol uhppote",
                "--protocol uhppote: 10.0.0.5:502 is asked over a connection; door controllers are found by",
            ),
            ("10.0.0.5 --framing raw --baud 2400", "--baud goes with a serial port, and 10.0.0.5:502 is none"),
            ("10.0.0.5 --protocol dlt645-2007 --address 1", "--address is for Modbus units and card readers"),
            ("/dev/ttyUSB0 --framing raw", "--framing goes with a host: a serial port carries"),
            ("udp --framing tcp", "--framing goes with a host, and udp:255.255.255.255:60000 is none"),
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
        let start = "--baud 14400 is not a speed that is tried; these are: modbus at 1200, 2400, 4800, 9600, 19200, 38400, 57600, \
                     115200; dlt645-2007 at 1200,";
        assert!(why.starts_with(start), "{why}");
        let why = checked("/dev/ttyUSB0 --baud 2400 --protocol osdp").unwrap_err();
        assert!(why.starts_with("--baud 2400 is not a speed that is tried; these are: osdp at 9600, 19200"), "{why}");
    }

    #[test]
    fn a_protocol_that_has_none_of_the_speeds_is_refused_by_its_name() {
        let line = "/dev/ttyUSB0 --baud 115200 --baud 57600 --protocol modbus --protocol cjt188-2004";
        assert_eq!(
            checked(line).unwrap_err(),
            "--protocol cjt188-2004: it is not tried at 115200, 57600, but at 1200, 2400, 4800, 9600: add a --baud that it has, \
             or leave --protocol cjt188-2004 out"
        );
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
            assert_eq!(told.collect::<Vec<_>>(), tried(protocol), "{name}");
        }
    }
}
