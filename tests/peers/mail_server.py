"""A mail server on a free port. Prints its port, then a line of JSON for each mail, each refusal, each STARTTLS, each
rejected login, and each connection that ends without a mail.

Usage: mail_server.py OPTIONS, with OPTIONS in JSON: `tls` ("starttls", "implicit" or absent), `certificate` and `key`
(files), `login` ([user, password]), `refused` (recipients that there are none of), `greylist` (how many attempts of
each recipient come too early).
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys
from collections import Counter

from aiosmtpd.smtp import SMTP, AuthResult


def report(**fields):
    print(json.dumps(fields), flush=True)


class Handler:
    def __init__(self, options):
        self.options = options
        self.attempts = Counter()

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address in self.options.get("refused", []):
            report(refused=address)
            return "550 5.1.1 No such user"
        self.attempts[address] += 1
        if self.attempts[address] <= self.options.get("greylist", 0):
            report(deferred=address)
            return "451 4.7.1 Try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        server.has_mail = True
        report(
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            encrypted=server.transport.get_extra_info("sslcontext") is not None,
            user=session.auth_data,
            headers={name.lower(): str(value) for name, value in message.items()},
            text=message.get_body(("plain",)).get_content(),
            html=message.get_body(("html",)).get_content(),
        )
        return "250 OK"


class Connection(SMTP):
    has_mail = False

    async def smtp_STARTTLS(self, argument):
        report(starttls=True)
        await super().smtp_STARTTLS(argument)

    def connection_lost(self, error):
        super().connection_lost(error)
        if not self.has_mail:
            report(ended=True)


def authenticator(login):
    def authenticate(server, session, envelope, mechanism, data):
        is_right = [data.login.decode(), data.password.decode()] == login
        if not is_right:
            report(rejected=data.login.decode())
        return AuthResult(success=is_right, auth_data=login[0] if is_right else None)

    return authenticate


async def main(options):
    context = None
    if "tls" in options:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options["certificate"], options["key"])
    is_implicit = options.get("tls") == "implicit"
    login = options.get("login")
    handler = Handler(options)

    def connection():
        return Connection(
            handler,
            hostname="mail.example",
            enable_SMTPUTF8=True,
            tls_context=None if is_implicit else context,
            require_starttls=options.get("tls") == "starttls",
            auth_required=login is not None,
            auth_require_tls=False,
            authenticator=authenticator(login) if login else None,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=context if is_implicit else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(json.loads(sys.argv[1])))
