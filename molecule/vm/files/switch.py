# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed switch: one trunk port, to which the virtual machine is plugged in, and access ports, which are interfaces
of this machine. The kernel here need not know VLANs.

Usage: switch.py RECORDING DIRECTORY NAME,VLAN,ADDRESS4,ADDRESS6...

VLAN 0 is what the trunk carries untagged. The trunk is a pair of datagram sockets in DIRECTORY, one Ethernet frame each
(QEMU's "dgram" network back end); every frame on it goes to the file RECORDING. The interfaces end with this process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
TAG = b"\x81\x00"  # IEEE 802.1Q
ADDRESSES = 12  # bytes of destination and source before the tag
MOST = 65536


def access_port(name: str, *addresses: str) -> int:
    """Make the interface ``name`` of this machine and return the descriptor of its other end."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    for address in addresses:
        nodad = ["nodad"] if ":" in address else []
        subprocess.run(["ip", "address", "add", address, "dev", name, *nodad], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return descriptor


def tagged(frame: bytes, vlan: int) -> bytes:
    tag = TAG + struct.pack("!H", vlan) if vlan else b""
    return frame[:ADDRESSES] + tag + frame[ADDRESSES:]


def untagged(frame: bytes) -> tuple[bytes, int]:
    """Return the frame without its tag, and the VLAN that the tag named, 0 if there was none."""
    if frame[ADDRESSES : ADDRESSES + 2] != TAG:
        return frame, 0
    (control,) = struct.unpack_from("!H", frame, ADDRESSES + 2)
    return frame[:ADDRESSES] + frame[ADDRESSES + 4 :], control & 0x0FFF


class Recording:
    """A capture file (pcap, link type Ethernet) that can be read while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, MOST, 1))

    def add(self, frame: bytes) -> None:
        seconds, rest = divmod(time.time_ns(), 10**9)
        header = struct.pack("<IIII", seconds, rest // 1000, len(frame), len(frame))
        self._file.write(header + frame)
        self._file.flush()


def main(record: Path, directory: Path, *ports: str) -> None:
    names = [port.split(",") for port in ports]
    access = {access_port(name, *addresses): int(vlan) for name, vlan, *addresses in names}
    port_of = {vlan: descriptor for descriptor, vlan in access.items()}
    here, machine = directory / "switch.sock", directory / "vm.sock"
    here.unlink(missing_ok=True)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as trunk,
        open(record, "wb") as file,
    ):
        trunk.bind(str(here))
        trunk.setblocking(False)
        recording = Recording(file)
        while True:
            for ready in select.select([trunk, *access], [], [])[0]:
                if ready is trunk:
                    frame = trunk.recv(MOST)
                    recording.add(frame)
                    frame, vlan = untagged(frame)
                    if vlan in port_of:
                        os.write(port_of[vlan], frame)
                    continue
                frame = tagged(os.read(ready, MOST), access[ready])
                recording.add(frame)
                # A machine that is off, or slower than this, loses frames as on any wire.
                with contextlib.suppress(OSError):
                    trunk.sendto(frame, str(machine))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
