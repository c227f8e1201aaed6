"""A pooler in front of PostgreSQL, as PgBouncer is: it lends a few server connections to any number of clients.

In transaction mode a connection is a client's from its first query to the end of its transaction, in session mode
until it leaves. Speaks as much of the protocol as clients without a password, COPY and cancelling need.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Literal

import sqlalchemy as sa

Mode = Literal["transaction", "session"]
Order = Literal["last used first", "in turn"]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

NOT_SPOKEN = frozenset({80877103, 80877104})  # requests for TLS and for GSSAPI, instead of a startup message
ENDS_A_REQUEST = frozenset({b"Q", b"S"})  # Query, Sync: the server answers up to ReadyForQuery
READY, IDLE, TERMINATE = b"Z", b"I", b"X"


class Pooler:
    def __init__(self, socket_path: str, mode: Mode, order: Order) -> None:
        self._socket_path = socket_path
        self._mode = mode
        self._order = order
        self._idle: deque[Stream] = deque()
        self._greeting = b""  # what the server says at first, as each client is told it

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its startup message until it leaves."""
        lent: Stream | None = None
        try:
            startup = await self._startup(reader, writer)
            lent = self._give_back(await self._lend(startup), False)
            writer.write(self._greeting)
            while (request := await self._request(reader)) is not None:
                lent = lent or await self._lend(startup)
                lent = self._give_back(lent, await self._ask(lent, request, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for stream in (lent[1] if lent else None, writer):
                if stream:
                    stream.close()

    async def _startup(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        while True:
            length = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(length) - 4)
            if int.from_bytes(body[:4]) not in NOT_SPOKEN:
                return length + body
            writer.write(b"N")

    async def _lend(self, startup: bytes) -> Stream:
        if self._idle and self._mode == "transaction":
            return self._idle.pop() if self._order == "last used first" else self._idle.popleft()
        reader, writer = await asyncio.open_unix_connection(self._socket_path)
        writer.write(startup)
        kind = greeting = b""
        while kind != READY:
            kind, message = await _message(reader)
            greeting += message
        self._greeting = greeting
        return reader, writer

    def _give_back(self, lent: Stream, in_transaction: bool) -> Stream | None:
        """What the client keeps."""
        if self._mode == "session" or in_transaction:
            return lent
        self._idle.append(lent)
        return None

    async def _request(self, reader: asyncio.StreamReader) -> bytes | None:
        """All that the server answers at once; None when the client leaves."""
        request = b""
        while True:
            kind, message = await _message(reader)
            if kind == TERMINATE:
                return None
            request += message
            if kind in ENDS_A_REQUEST:
                return request

    async def _ask(self, server: Stream, request: bytes, client: asyncio.StreamWriter) -> bool:
        """Have the server answer the client; whether it is in a transaction afterwards."""
        server[1].write(request)
        while True:
            kind, message = await _message(server[0])
            client.write(message)
            if kind == READY:
                return message[-1:] != IDLE


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


@contextmanager
def pooled(url: str, mode: Mode, order: Order = "last used first") -> Iterator[str]:
    """The URL of a pooler in front of the PostgreSQL of this URL, which is reached through a UNIX socket."""
    server = sa.make_url(url)
    folder, port = server.query["host"], server.port or server.query.get("port", "5432")
    pooler = Pooler(f"{folder}/.s.PGSQL.{port}", mode, order)
    loop = asyncio.new_event_loop()
    with closing(loop):
        listening = loop.run_until_complete(asyncio.start_server(pooler.serve, "127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever, name="pooler", daemon=True)
        thread.start()
        host, at = listening.sockets[0].getsockname()
        try:
            pooled_url = server.set(host=host, port=at).difference_update_query(["host", "port"])
            yield pooled_url.render_as_string(hide_password=False)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(_end(listening))


async def _end(listening: asyncio.Server) -> None:
    listening.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
