"""A Modbus slave made of pymodbus, for the whole-system tests.

    slave.py tcp UNIT...            listens on a free port of 127.0.0.1
    slave.py rtu_over_tcp UNIT...   the same with RTU frames, as behind a transparent serial server
    slave.py serial PATH BAUD UNIT...

Prints `listening PORT` (0 for serial) once it answers. Each unit has, in holding and in input registers alike:

    0-1    u32   how often registers 0-1 were read, this read included: every delivered reading is told from all others
    2-3    f32   unit * 100 + 31.5
    4      u16   unit
    5      u16   a set point, writable
    6      i16   -5
    7      u16   how often coil 0 was switched on
    20-21  u32   1234567
    coils 0-15   writable
"""

import asyncio
import logging
import struct
import sys

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

REGISTERS = 100


def registers(unit):
    words = [0] * REGISTERS
    words[2:4] = struct.unpack(">HH", struct.pack(">f", unit * 100 + 31.5))
    words[4] = unit
    words[6] = 0x10000 - 5
    words[20:22] = struct.unpack(">HH", struct.pack(">I", 1234567))
    return SimData(0, values=words, datatype=DataType.REGISTERS)


def device(unit):
    reads = pulses = 0

    async def count(function, start, address, _count, current, written):
        nonlocal reads, pulses
        if written is not None and function in (5, 15) and address == 0:
            pulses += bool(written[0])
        if written is None and function in (3, 4) and start == 0:
            current[7] = pulses
        if written is None and function in (3, 4) and address == start == 0:
            reads += 1
            current[0:2] = struct.unpack(">HH", struct.pack(">I", reads))

    bits = SimData(0, values=[False] * 16, datatype=DataType.BITS)
    return SimDevice(
        unit,
        simdata=([bits], [bits], [registers(unit)], [registers(unit)]),
        use_bit_addressing=True,
        action=count,
    )


async def main(kind, *arguments):
    logging.disable(logging.ERROR)
    if kind in ("tcp", "rtu_over_tcp"):
        devices = [device(int(unit)) for unit in arguments]
        framer = FramerType.SOCKET if kind == "tcp" else FramerType.RTU
        server = ModbusTcpServer(devices, framer=framer, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
    else:
        path, baud, *units = arguments
        devices = [device(int(unit)) for unit in units]
        server = ModbusSerialServer(devices, framer=FramerType.RTU, port=path, baudrate=int(baud))
        await server.serve_forever(background=True)
        port = 0
    print("listening", port, flush=True)
    await server.serving


asyncio.run(main(*sys.argv[1:]))
