//! Whatever is done to a site file, checking it ends with a verdict: it never panics.

use std::path::Path;

use gatehouse_config::check;
use gatehouse_drivers::profile::Library;

const FULL: &str = include_str!("../../../docs/examples/full.toml");
/// Where the rule files are that it names.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");

fn line<'a>(lines: &[&'a str], rng: &mut fastrand::Rng) -> &'a str {
    lines[rng.usize(..lines.len())]
}

fn byte(bytes: &[u8], rng: &mut fastrand::Rng) -> u8 {
    bytes[rng.usize(..bytes.len())]
}

/// One random change: bytes, words, whole lines or the end.
fn mutate(text: &str, rng: &mut fastrand::Rng) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = rng.usize(..bytes.len());
    let lines: Vec<&str> = text.lines().collect();
    match rng.u8(..8) {
        0 => bytes[at] = byte(b"\"'[]{}=.,#\n\\ 0-9aZ\0\xff", rng),
        1 => drop(bytes.remove(at)),
        2 => bytes.insert(at, byte(b"\"'[]{}=.,#\n\\ 0-9aZ", rng)),
        3 => bytes.truncate(at),
        4 => {
            let moved = format!("{}\n", line(&lines, rng));
            let start = text[..at.min(text.len() - 1)].rfind('\n').map_or(0, |at| at + 1);
            bytes.splice(start..start, moved.bytes());
        }
        5 => {
            let kept: Vec<&str> = lines.iter().copied().filter(|_| rng.u8(..20) != 0).collect();
            return kept.join("\n");
        }
        6 => {
            let values = [
                "0",
                "-1",
                "1e400",
                "99999999999999999999",
                "\"\"",
                "[]",
                "{}",
                "nan",
                "true",
                "\"é\u{0}\"",
                "2020-01-01",
            ];
            let value = line(&values, rng);
            let which = rng.usize(..lines.len());
            let change = |(at, text): (usize, &&str)| match text.split_once(" = ") {
                Some((key, _)) if at == which => format!("{key} = {value}"),
                _ => (*text).to_owned(),
            };
            return lines.iter().enumerate().map(change).collect::<Vec<_>>().join("\n");
        }
        _ => {
            let key = line(&lines, rng).split(" = ").next().unwrap_or_default();
            let other = line(&lines, rng).split(" = ").next().unwrap_or_default();
            return if key.is_empty() { text.to_owned() } else { text.replacen(key, other, 1) };
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn no_mutation_of_a_site_file_makes_the_check_panic() {
    let library = Library::new();
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..1500 {
        let mut text = mutate(FULL, &mut rng);
        for _ in 0..rng.u8(..4) {
            if text.is_ascii() && !text.is_empty() {
                text = mutate(&text, &mut rng);
            }
        }
        match check("site.toml", &text, Path::new(EXAMPLES), &library) {
            Ok(loaded) => {
                // What was accepted can be polled and forecast.
                for bus in 0..loaded.site.buses.len() {
                    assert!(gatehouse_config::forecast::bus(&loaded.site, bus, 1).is_some());
                }
                accepted += 1;
            }
            Err(problems) => {
                assert!(!problems.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(accepted > 20 && refused > 500, "accepted {accepted}, refused {refused}");
}
