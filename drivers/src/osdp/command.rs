//! What a control panel asks (OSDP 2.2, chapter 6).

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Anything new?
    Poll,
    /// Who are you?
    Id,
    /// What can you do?
    Capabilities,
    /// Tamper and power.
    LocalStatus,
    /// The inputs.
    InputStatus,
    /// The outputs.
    OutputStatus,
    /// The readers behind the reader.
    ReaderStatus,
    /// Switches outputs.
    Outputs(Vec<OutputControl>),
    /// Sets lights.
    Leds(Vec<LedControl>),
    /// Makes a noise.
    Buzzer(BuzzerControl),
    /// Shows a text.
    Text(TextControl),
    /// Sets address and speed.
    Communication {
        /// The new address, 0 to 126.
        address: u8,
        /// The new speed in bits per second.
        baud: u32,
    },
    /// Gives the reader a new key; only within a Secure Channel.
    SetKey([u8; 16]),
    /// Begins a Secure Channel.
    Challenge([u8; 8]),
    /// Proves that the panel has the key.
    Cryptogram([u8; 16]),
    /// Any other.
    Other {
        /// Its code.
        code: u8,
        /// Its data.
        data: Vec<u8>,
    },
}

/// What one output is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputControl {
    /// The output, counted from 0.
    pub number: u8,
    /// 1 off, 2 on, 5 on for the timer and back, 6 off for the timer and back; 3 and 4 let a running timer finish.
    pub control: u8,
    /// In 100 ms.
    pub timer: u16,
}

/// What one light is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedControl {
    /// The reader behind the reader, mostly 0.
    pub reader: u8,
    /// The light, counted from 0.
    pub led: u8,
    /// For a time: control 0 nothing, 1 cancel, 2 set.
    pub temporary: Blink,
    /// Of `temporary`, in 100 ms.
    pub timer: u16,
    /// For good: control 0 nothing, 1 set.
    pub permanent: Blink,
}

/// How a light blinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Blink {
    /// Whether this is to be set.
    pub control: u8,
    /// Time on, in 100 ms.
    pub on: u8,
    /// Time off, in 100 ms.
    pub off: u8,
    /// Colour while on: 0 off, 1 red, 2 green, 3 amber, 4 blue, 5 magenta, 6 cyan, 7 white.
    pub on_colour: u8,
    /// Colour while off.
    pub off_colour: u8,
}

/// A noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuzzerControl {
    /// The reader behind the reader, mostly 0.
    pub reader: u8,
    /// 1 off, 2 the usual tone.
    pub tone: u8,
    /// Time on, in 100 ms.
    pub on: u8,
    /// Time off, in 100 ms.
    pub off: u8,
    /// How often; 0: until it is told otherwise.
    pub count: u8,
}

/// A text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextControl {
    /// The reader behind the reader, mostly 0.
    pub reader: u8,
    /// 1 permanent, 2 permanent with wrap, 3 and 4 the same for a time.
    pub command: u8,
    /// In seconds.
    pub seconds: u8,
    /// Counted from 1.
    pub row: u8,
    /// Counted from 1.
    pub column: u8,
    /// At most 255 bytes of ASCII; what is beyond is cut.
    pub text: String,
}

/// Codes of commands.
pub mod code {
    #![expect(missing_docs, reason = "the names are the standard's")]
    pub const POLL: u8 = 0x60;
    pub const ID: u8 = 0x61;
    pub const CAP: u8 = 0x62;
    pub const LSTAT: u8 = 0x64;
    pub const ISTAT: u8 = 0x65;
    pub const OSTAT: u8 = 0x66;
    pub const RSTAT: u8 = 0x67;
    pub const OUT: u8 = 0x68;
    pub const LED: u8 = 0x69;
    pub const BUZ: u8 = 0x6A;
    pub const TEXT: u8 = 0x6B;
    pub const COMSET: u8 = 0x6E;
    pub const KEYSET: u8 = 0x75;
    pub const CHLNG: u8 = 0x76;
    pub const SCRYPT: u8 = 0x77;
}

impl Command {
    /// The code.
    pub fn code(&self) -> u8 {
        match self {
            Command::Poll => code::POLL,
            Command::Id => code::ID,
            Command::Capabilities => code::CAP,
            Command::LocalStatus => code::LSTAT,
            Command::InputStatus => code::ISTAT,
            Command::OutputStatus => code::OSTAT,
            Command::ReaderStatus => code::RSTAT,
            Command::Outputs(_) => code::OUT,
            Command::Leds(_) => code::LED,
            Command::Buzzer(_) => code::BUZ,
            Command::Text(_) => code::TEXT,
            Command::Communication { .. } => code::COMSET,
            Command::SetKey(_) => code::KEYSET,
            Command::Challenge(_) => code::CHLNG,
            Command::Cryptogram(_) => code::SCRYPT,
            Command::Other { code, .. } => *code,
        }
    }

    /// Appends the data that follow the code.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Command::Poll
            | Command::LocalStatus
            | Command::InputStatus
            | Command::OutputStatus
            | Command::ReaderStatus => {}
            Command::Id | Command::Capabilities => out.push(0),
            Command::Outputs(list) => {
                for OutputControl { number, control, timer } in list {
                    let [low, high] = timer.to_le_bytes();
                    out.extend([*number, *control, low, high]);
                }
            }
            Command::Leds(list) => {
                for led in list {
                    let [low, high] = led.timer.to_le_bytes();
                    out.extend([led.reader, led.led]);
                    out.extend(led.temporary.bytes());
                    out.extend([low, high]);
                    out.extend(led.permanent.bytes());
                }
            }
            Command::Buzzer(b) => out.extend([b.reader, b.tone, b.on, b.off, b.count]),
            Command::Text(text) => {
                let bytes = text.text.as_bytes();
                let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
                out.extend([text.reader, text.command, text.seconds, text.row, text.column, length]);
                out.extend(bytes.iter().take(usize::from(length)));
            }
            Command::Communication { address, baud } => {
                out.push(*address);
                out.extend(baud.to_le_bytes());
            }
            Command::SetKey(key) => {
                out.extend([1, 16]);
                out.extend(key);
            }
            Command::Challenge(random) => out.extend(random),
            Command::Cryptogram(cryptogram) => out.extend(cryptogram),
            Command::Other { data, .. } => out.extend(data),
        }
    }

    /// Reads a command; `None` when its data do not suit its code. Commands without a form of their own are
    /// [`Command::Other`].
    pub fn decode(code: u8, data: &[u8]) -> Option<Command> {
        Some(match (code, data) {
            (code::POLL, []) => Command::Poll,
            (code::ID, [0]) => Command::Id,
            (code::CAP, [0]) => Command::Capabilities,
            (code::LSTAT, []) => Command::LocalStatus,
            (code::ISTAT, []) => Command::InputStatus,
            (code::OSTAT, []) => Command::OutputStatus,
            (code::RSTAT, []) => Command::ReaderStatus,
            (code::OUT, data) => Command::Outputs(rows(data)?.map(OutputControl::of).collect()),
            (code::LED, data) => Command::Leds(rows(data)?.map(LedControl::of).collect()),
            (code::BUZ, &[reader, tone, on, off, count]) => {
                Command::Buzzer(BuzzerControl { reader, tone, on, off, count })
            }
            (code::TEXT, &[reader, command, seconds, row, column, length, ref text @ ..])
                if text.len() == usize::from(length) =>
            {
                let text = String::from_utf8(text.to_vec()).ok()?;
                Command::Text(TextControl { reader, command, seconds, row, column, text })
            }
            (code::COMSET, &[address, a, b, c, d]) => {
                Command::Communication { address, baud: u32::from_le_bytes([a, b, c, d]) }
            }
            (code::KEYSET, [1, 16, key @ ..]) => Command::SetKey(key.try_into().ok()?),
            (code::CHLNG, random) => Command::Challenge(random.try_into().ok()?),
            (code::SCRYPT, cryptogram) => Command::Cryptogram(cryptogram.try_into().ok()?),
            (code::POLL..=code::RSTAT | code::BUZ | code::TEXT | code::COMSET | code::KEYSET, _) => return None,
            (code, data) => Command::Other { code, data: data.to_vec() },
        })
    }
}

/// Data of rows of `N` bytes, one row or more.
fn rows<const N: usize>(data: &[u8]) -> Option<impl Iterator<Item = [u8; N]>> {
    let (rows, rest) = data.as_chunks::<N>();
    (rest.is_empty() && !rows.is_empty()).then(|| rows.iter().copied())
}

impl OutputControl {
    fn of([number, control, low, high]: [u8; 4]) -> Self {
        OutputControl { number, control, timer: u16::from_le_bytes([low, high]) }
    }
}

impl LedControl {
    fn of(row: [u8; 14]) -> Self {
        let [reader, led, t0, t1, t2, t3, t4, low, high, p0, p1, p2, p3, p4] = row;
        LedControl {
            reader,
            led,
            temporary: Blink::of([t0, t1, t2, t3, t4]),
            timer: u16::from_le_bytes([low, high]),
            permanent: Blink::of([p0, p1, p2, p3, p4]),
        }
    }
}

impl Blink {
    fn of([control, on, off, on_colour, off_colour]: [u8; 5]) -> Self {
        Blink { control, on, off, on_colour, off_colour }
    }

    fn bytes(self) -> [u8; 5] {
        [self.control, self.on, self.off, self.on_colour, self.off_colour]
    }
}
