"""An OSDP reader made of libosdp, at one end of a pseudo-terminal of its own.

Arguments: the link to make to the other end, the file with what is to happen, the address, the key in hexadecimal digits
or "-". Each line of the file is done once, as it comes: `card BITS`, `keys TEXT`, `tamper 0|1`, `pull` (off the wires: what
comes is lost), `plug`, `refuse` (from then on it takes no key). Each command that the reader gets is one line of JSON on stdout.
"""

import json
import os
import sys
import termios
import time
import tty

import osdp_sys
from osdp import (Capability, CardFormat, Channel, Event, LibFlag, LogLevel, PDCapabilities, PDInfo, PeripheralDevice,
                  StatusReportType)


# libosdp's number of the command.
KEYSET = 5


class Pty(Channel):
    def __init__(self, link):
        super().__init__()
        self.near, self.far = os.openpty()
        tty.setraw(self.near)
        tty.setraw(self.far)
        os.set_blocking(self.near, False)
        os.symlink(os.ttyname(self.far), link)
        self.plugged = True

    def read(self, max_bytes):
        try:
            got = os.read(self.near, max_bytes)
        except BlockingIOError:
            got = b""
        return got if self.plugged else b""

    def write(self, buf):
        return os.write(self.near, buf) if self.plugged else len(buf)

    def flush(self):
        termios.tcflush(self.near, termios.TCIFLUSH)


def event(words):
    kind, rest = words[0], words[1]
    if kind == "card":
        bits = rest + "0" * (-len(rest) % 8)
        data = int(bits, 2).to_bytes(len(bits) // 8, "big")
        return {"event": Event.CardRead, "reader_no": 0, "direction": 0, "format": CardFormat.Wiegand,
                "length": len(rest), "data": data}
    if kind == "keys":
        return {"event": Event.KeyPress, "reader_no": 0, "data": rest.encode()}
    # Tamper is the first byte of the local status, power the second.
    return {"event": Event.Status, "type": StatusReportType.Local, "report": bytes([int(rest), 0])}


def heard(command):
    told = {name: value if isinstance(value, (int, str)) else repr(value) for name, value in command.items()}
    print(json.dumps(told), flush=True)
    return (-1 if refuses and told["command"] == KEYSET else 0), None


link, script, address, key = sys.argv[1:5]
channel = Pty(link)
info = PDInfo(int(address), channel, scbk=None if key == "-" else bytes.fromhex(key), name="reader",
              flags=[LibFlag.EnforceSecure] if key != "-" and "secure" in sys.argv[5:] else [])
capabilities = PDCapabilities([
    (Capability.OutputControl, 1, 2), (Capability.LEDControl, 1, 1), (Capability.AudibleControl, 1, 1),
    (Capability.TextOutput, 1, 1), (Capability.ContactStatusMonitoring, 1, 2), (Capability.CardDataFormat, 1, 1),
    (Capability.CommunicationSecurity, 1, 1),
])
refuses = False
reader = PeripheralDevice(info, capabilities, log_level=LogLevel.Warning, command_handler=heard)
print(json.dumps({"ready": True}), flush=True)
done = 0
while True:
    reader.ctx.refresh()
    if os.path.exists(script):
        lines = open(script).read().split("\n")[:-1]
        for line in lines[done:]:
            words = line.split(" ")
            if words[0] in ("pull", "plug"):
                channel.plugged = words[0] == "plug"
            elif words[0] == "refuse":
                refuses = True
            elif reader.ctx.submit_event(event(words)) not in (0, None):
                print(json.dumps({"lost": line}), flush=True)
        done = len(lines)
    time.sleep(0.005)
