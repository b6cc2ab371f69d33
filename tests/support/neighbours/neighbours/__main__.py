"""`python -m neighbours`: all neighbours in one process, until SIGTERM or SIGINT.

Options come from the command line or, under the names in capitals, from the environment (NEIGHBOURS_DATA). When all
listen, one line of JSON on standard output tells the ports, since a test asks for port 0 and takes what it gets.
"""

import argparse
import asyncio
import json
import os
import signal
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from aiohttp import web

from .certificates import tls_context
from .chat import ChatServer
from .control import Control
from .faults import ACTIONS, Faults
from .files import FileServer
from .hooks import HookServer
from .issuer import IssuerServer
from .ledger import Ledger
from .s3 import serve_s3
from .smtp import MailSink

PORTS: Final = {"chat": 8000, "smtp": 2525, "s3": 9000, "https": 8443, "hooks": 8444, "issuer": 8445, "control": 8080}
STOP_SECONDS: Final = 1.0  # idle keep-alive connections are not waited for longer


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options from the command line over those of the environment over the defaults."""
    parser = argparse.ArgumentParser(prog="neighbours", description="Test equipment of BatchJob.")
    defaults: dict[str, str | int] = {
        "host": "0.0.0.0",
        "data": "/data",
        "buckets": "batchjob",
        "tls_names": "localhost,127.0.0.1,neighbours",
        **{f"{name}_port": port for name, port in PORTS.items()},
    }
    for name, default in defaults.items():
        value = os.environ.get(f"NEIGHBOURS_{name.upper()}", default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=value)
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    """Start every neighbour, say so, and run until a signal; the ledgers stay."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        ports = await start(options, stack)
        print(json.dumps(ports), flush=True)
        await stop.wait()


async def start(options: argparse.Namespace, stack: AsyncExitStack) -> dict[str, int]:
    """Start every neighbour, the control port last; the ports they listen on, by name."""
    data = Path(options.data)
    ledgers = {name: Ledger(data / f"{name}.ndjson") for name in ACTIONS}
    faults = {name: Faults(name) for name in ACTIONS}
    mails = MailSink(ledgers["smtp"], faults["smtp"], data / "mails")
    files = FileServer(ledgers["https"], faults["https"], data / "files")
    hooks = HookServer(ledgers["hooks"], faults["hooks"])
    issuer = IssuerServer(ledgers["issuer"], faults["issuer"])
    context = tls_context(data / "tls", options.tls_names.split(","))
    control = Control(ledgers, faults, mails, files, data / "tls" / "ca.crt")

    s3 = serve_s3(options.host, options.s3_port, options.buckets.split(","), ledgers["s3"], faults["s3"])
    stack.callback(s3.shutdown)
    smtp = await asyncio.get_running_loop().create_server(mails.build_protocol, options.host, options.smtp_port)
    stack.callback(smtp.close)
    chat = ChatServer(ledgers["chat"], faults["chat"])
    return {
        "s3": s3.server_port,
        "smtp": smtp.sockets[0].getsockname()[1],
        "chat": await _serve_web(stack, chat.build_app(), options.host, options.chat_port),
        "https": await _serve_web(stack, files.build_app(), options.host, options.https_port, context),
        "hooks": await _serve_web(stack, hooks.build_app(), options.host, options.hooks_port, context),
        "issuer": await _serve_web(stack, issuer.build_app(), options.host, options.issuer_port, context),
        "control": await _serve_web(stack, control.build_app(), options.host, options.control_port),
    }


async def _serve_web(
    stack: AsyncExitStack, app: web.Application, host: str, port: int, context: ssl.SSLContext | None = None
) -> int:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port, ssl_context=context).start()
    bound: int = runner.addresses[0][1]
    return bound


if __name__ == "__main__":
    asyncio.run(serve(parse_options()))
