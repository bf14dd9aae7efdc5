# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab's stand-in for the internet answers with, over IPv4 and IPv6.

HTTP on 80, a TCP echo on 4444, UDP echoes on 123 and 9999, DNS on 53 over UDP and TCP (any question gets the address
198.18.0.53 or an empty answer). ICMP is the kernel's. It keeps nothing and reads little.
"""

from __future__ import annotations

import asyncio
import socket
import struct

GREETING = b"reached\n"
# The name of the question, type A, class IN, not to be kept, four bytes: 198.18.0.53.
ADDRESS_RECORD = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + bytes((198, 18, 0, 53))


def dns_answer(query: bytes) -> bytes | None:
    """Return an answer to a query with one question (RFC 1035, section 4), None when it is not one."""
    if len(query) < 17 or query[2] & 0x80 or query[4:6] != b"\0\1":
        return None
    end = 12
    while query[end]:
        end += 1 + query[end]
        if end + 5 > len(query):
            return None
    question = query[12 : end + 5]
    (kind,) = struct.unpack("!H", question[-4:-2])
    record = ADDRESS_RECORD if kind == 1 else b""
    header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if record else 0, 0, 0)
    return header + question + record


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, port: int) -> None:
        self.port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = dns_answer(data) if self.port == 53 else data
        if answer is not None:
            self.transport.sendto(answer, addr)


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(GREETING), GREETING))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()


async def dns(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    (size,) = struct.unpack("!H", await reader.readexactly(2))
    answer = dns_answer(await reader.readexactly(size))
    if answer is not None:
        writer.write(struct.pack("!H", len(answer)) + answer)


def stream(handler, seconds):
    """Wrap a handler so that a client gets so many seconds, and a broken one breaks nothing else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(handler(reader, writer), seconds)
        except (OSError, EOFError, asyncio.TimeoutError, ValueError, IndexError):
            pass
        finally:
            writer.close()

    return serve


def dual(kind: socket.SocketKind, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6, kind)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", port))
    return listener


async def main() -> None:
    loop = asyncio.get_running_loop()
    for port, handler, seconds in ((80, http, 10), (4444, echo, 60), (53, dns, 10)):
        await asyncio.start_server(stream(handler, seconds), sock=dual(socket.SOCK_STREAM, port))
    for port in (53, 123, 9999):
        listener = dual(socket.SOCK_DGRAM, port)
        await loop.create_datagram_endpoint(lambda port=port: Datagrams(port), sock=listener)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
