"""The HTTP server around the archive: it can drop a connection, and it stops at once."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dicomsync.sandbox.app import Sandbox
from dicomsync.sandbox.exchange import CONNECTION, NUMBERS, drop

KEEP_ALIVE_SECONDS = 130  # Kestrel's, which the Medical Imaging Server runs on


def _protocol_for(app: Sandbox) -> type[asyncio.Protocol]:
    class Connection(H11Protocol):
        """HTTP/1.1 as ever, with the transport within the application's reach."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            self.app_state = {**self.app_state, CONNECTION: transport, NUMBERS: itertools.count(1)}
            if app.turns_away():
                drop(transport)

    return Connection


class _Quick(uvicorn.Server):
    """A uvicorn server that ends when told instead of at its next tick, and leaves nothing running."""

    def __init__(self, config: uvicorn.Config, app: Sandbox, ready: threading.Event) -> None:
        super().__init__(config)
        self._app = app
        self._ready = ready
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._ready.set()

    async def main_loop(self) -> None:
        """Serve until told to end."""
        await self._over.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End every wait and every connection; a store that has begun is finished."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        self._app.closing.set()
        for connection in list(self.server_state.connections):
            drop(connection.transport)
        while self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)

    def end(self) -> None:
        """Tell it to end, from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._over.set)


class Server:
    """The archive served in a thread of its own, on a socket that is listening already."""

    def __init__(self, app: Sandbox, listener: socket.socket) -> None:
        self._ready = threading.Event()
        self._listener = listener
        config = uvicorn.Config(
            app,
            http=_protocol_for(app),
            ws="none",
            lifespan="off",
            access_log=False,  # paths hold UIDs
            log_config=None,
            log_level="warning",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            server_header=False,
            date_header=False,
        )
        self._server = _Quick(config, app, self._ready)
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def start(self) -> None:
        """Start, and return once requests are answered."""
        self._thread.start()
        self._ready.wait()
        if not self._server.started:
            raise RuntimeError("the sandbox did not start")

    def stop(self) -> None:
        """Stop, and return once nothing of it runs any more."""
        self._server.end()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._listener]))
        finally:
            self._listener.close()
            self._ready.set()  # start() must not wait for what will not come
