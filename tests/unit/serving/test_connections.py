"""What a connection writes in one turn of the event loop goes out at once, in order, and nothing is lost."""

import asyncio

from mlinfra.serving.connections import JoinedWrites


class Transport:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


async def test_head_and_body_go_out_at_once() -> None:
    transport = Transport()
    joined = JoinedWrites(transport, asyncio.get_running_loop())
    joined.write(b"head ")
    joined.write(b"body")
    assert transport.sent == []
    await asyncio.sleep(0)
    joined.write(b"next")
    await asyncio.sleep(0)
    assert transport.sent == [b"head body", b"next"]


async def test_what_is_written_before_the_end_is_sent() -> None:
    transport = Transport()
    joined = JoinedWrites(transport, asyncio.get_running_loop())
    joined.write(b"last")
    joined.close()
    await asyncio.sleep(0)
    assert (transport.sent, transport.closed) == ([b"last"], True)


async def test_nothing_is_written_to_a_connection_that_ended() -> None:
    transport = Transport()
    joined = JoinedWrites(transport, asyncio.get_running_loop())
    joined.write(b"late")
    transport.close()
    await asyncio.sleep(0)
    assert transport.sent == []


async def test_all_else_is_the_transports() -> None:
    joined = JoinedWrites(Transport(), asyncio.get_running_loop())
    assert joined.get_extra_info("peername") == "the peername"
    assert not joined.is_closing()
