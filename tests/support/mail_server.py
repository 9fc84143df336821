"""A real SMTP server that keeps what it takes: mail_server.py FOLDER PORT [USER PASSWORD]

With TLS_FOLDER it encrypts from the start. What is addressed to gone@ is refused for good, what is addressed to later@ for now.
"""

import asyncio
import os
import ssl
import sys
import time

from aiosmtpd.smtp import SMTP, AuthResult


class Box:
    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return f"550 5.1.1 <{address}>: no such user"
        if address.startswith("later@"):
            return f"451 4.2.0 <{address}>: try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        name = os.path.join(self.folder, f"{time.time_ns():020}-{self.count}")
        with open(name + ".part", "wb") as file:
            head = [f"X-Envelope-From: {envelope.mail_from}"]
            head += [f"X-Envelope-To: {to}" for to in envelope.rcpt_tos]
            file.write("".join(line + "\r\n" for line in head).encode())
            file.write(envelope.content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(name + ".part", name + ".eml")
        return "250 OK"


def protocol(folder, login):
    box = Box(folder)
    if login is None:
        return lambda: SMTP(box, hostname="localhost")

    def let_in(server, session, envelope, mechanism, data):
        if (data.login.decode(), data.password.decode()) == login:
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False)

    return lambda: SMTP(
        box,
        hostname="localhost",
        authenticator=let_in,
        auth_required=True,
        auth_require_tls=False,
    )


async def main(folder, port, *login):
    loop = asyncio.get_running_loop()
    tls = None
    if "TLS_FOLDER" in os.environ:
        keys = os.environ["TLS_FOLDER"]
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(os.path.join(keys, "cert.pem"), os.path.join(keys, "key.pem"))
    server = await loop.create_server(
        protocol(folder, tuple(login) or None), "127.0.0.1", int(port), ssl=tls
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
