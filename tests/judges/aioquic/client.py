"""An HTTP/3 client: asks over QUIC and prints what came, one JSON object a line.

    client.py ADDRESS PORT NAME CA PATH [HEADER=VALUE …]

NAME is the server's name, which its certificate must show; CA the file of certificates to trust.
A request that is not answered within ten seconds, and a certificate that does not fit, end it with an error.
"""

import asyncio
import json
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

DEADLINE = 10


class Client(QuicConnectionProtocol):
    """One request on one connection."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.headers = {}
        self.body = b""
        self.done = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        for answer in self.http.handle_event(event):
            if isinstance(answer, HeadersReceived):
                pairs = ((name.decode(), value.decode()) for name, value in answer.headers)
                self.headers.update(pairs)
            elif isinstance(answer, DataReceived):
                self.body += answer.data
            if getattr(answer, "stream_ended", False) and not self.done.done():
                self.done.set_result(None)

    async def get(self, name, path, headers):
        stream = self._quic.get_next_available_stream_id()
        request = {":method": "GET", ":scheme": "https", ":authority": name, ":path": path}
        request.update(headers)
        pairs = [(key.encode(), value.encode()) for key, value in request.items()]
        self.http.send_headers(stream, pairs, end_stream=True)
        self.transmit()
        await self.done


async def main(address, port, name, trusted, path, *headers):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=name)
    configuration.load_verify_locations(trusted)
    async with asyncio.timeout(DEADLINE):
        async with connect(
            address, int(port), configuration=configuration, create_protocol=Client
        ) as client:
            await client.get(name, path, dict(header.split("=", 1) for header in headers))
            print(json.dumps({"headers": client.headers, "body": client.body.decode()}))


asyncio.run(main(*sys.argv[1:]))
