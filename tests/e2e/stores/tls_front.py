"""TLS in front of a PostgreSQL whose build has none, as poolers and proxies of hosted databases do it.

`python -m tests.e2e.stores.tls_front --host --port --certificate --key --socket` takes who asks for TLS, and passes
what they say to the server's UNIX socket; who does not ask is refused, as `hostssl` refuses. Ends when stdin does.
"""

import argparse
import asyncio
import ssl
import struct
import sys
from contextlib import suppress
from pathlib import Path

ASKS_FOR_TLS = 80877103
ASKS_FOR_GSSAPI = 80877104
REFUSAL = b"SFATAL\0VFATAL\0C28000\0Mthis PostgreSQL takes connections over TLS only, no encryption was asked for\0\0"
CHUNK_BYTES = 1 << 16


class Front:
    def __init__(self, certificate: Path, key: Path, socket: Path) -> None:
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._socket = socket

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it or the server leaves."""
        with suppress(OSError, EOFError):  # whoever left has nothing more to hear
            try:
                if await self._takes_tls(reader, writer):
                    await self._pass_on(reader, writer)
            finally:
                writer.close()

    async def _takes_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            length, asked = struct.unpack("!ii", await reader.readexactly(8))
            if asked == ASKS_FOR_TLS:
                writer.write(b"S")
                await writer.start_tls(self._tls)
                return True
            if asked != ASKS_FOR_GSSAPI:
                await reader.readexactly(length - 8)
                writer.write(b"E" + struct.pack("!i", 4 + len(REFUSAL)) + REFUSAL)
                await writer.drain()
                return False
            writer.write(b"N")

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(str(self._socket))
        ways = [asyncio.create_task(_copy(reader, server_writer)), asyncio.create_task(_copy(server_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            server_writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await source.read(CHUNK_BYTES):
            target.write(part)
            await target.drain()


async def _serve(front: Front, host: str, port: int) -> None:
    async with await asyncio.start_server(front.serve, host, port):
        await asyncio.to_thread(sys.stdin.buffer.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    for name in ("--certificate", "--key", "--socket"):
        parser.add_argument(name, type=Path, required=True)
    wish = parser.parse_args()
    asyncio.run(_serve(Front(wish.certificate, wish.key, wish.socket), wish.host, wish.port))


if __name__ == "__main__":
    main()
