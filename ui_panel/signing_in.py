"""The ways in: one password for everybody, or an OAuth provider, with pages of our own around them."""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import urlencode

import panel as pn
from jinja2 import Environment, PackageLoader
from panel.auth import BasicAuthProvider, BasicLoginHandler, OAuthLoginHandler, OAuthProvider
from pydantic import SecretStr
from tornado.web import RequestHandler

from ui_panel.settings import SignInSettings


def way_in(settings: SignInSettings) -> BasicAuthProvider | None:
    """Return what asks people who they are; None where nobody is asked."""
    if settings.password:
        return PasswordProvider(settings.password)
    if settings.oauth_provider:
        # Panel's handlers know each provider's addresses, and read its key and secret from the environment.
        pn.config.oauth_provider = settings.oauth_provider
        return OwnOAuthProvider(settings.lets_in)
    return None


def signing_secret(settings: SignInSettings) -> str:
    """Return what signs the cookie that says who is signed in, as hexadecimal digits.

    A password is part of it: whoever came in by an older one is asked again. Without a cookie secret everybody is
    signed out when the server starts again.
    """
    secret = settings.cookie_secret.get_secret_value() if settings.cookie_secret else secrets.token_hex(32)
    password = settings.password.get_secret_value() if settings.password else ""
    return hmac.digest(secret.encode(), password.encode(), "sha256").hex()


class _OwnPages(BasicAuthProvider):
    """Panel's own pages load pictures from elsewhere; and it takes files, which cannot extend one another."""

    def __init__(self) -> None:
        super().__init__()
        self._login_template = _templates().get_template("login.html")
        self._logout_template = _templates().get_template("logout.html")
        self._error_template = _templates().get_template("refused.html")


class OwnOAuthProvider(_OwnPages, OAuthProvider):
    """Lets in some of those whom the provider knows."""

    def __init__(self, lets_in: Callable[[str], bool]) -> None:
        self._lets_in = lets_in
        super().__init__()

    @property
    def get_user_async(self) -> Callable[[RequestHandler], Awaitable[str | None]]:
        known = super().get_user_async

        async def get_user(handler: RequestHandler) -> str | None:
            user = await known(handler)
            # At every request, not at the sign-in alone: a cookie outlives the settings that it was made under.
            return user if user is not None and self._lets_in(user) else None

        return get_user

    @property
    def login_handler(self) -> type[OAuthLoginHandler]:
        lets_in = self._lets_in

        class AllowedHandler(super().login_handler):  # type: ignore[misc]  # a class that is only known now
            async def get_authenticated_user(self, *given: Any, **named: Any) -> str | None:  # noqa: ANN401  # Panel's
                user = await super().get_authenticated_user(*given, **named)
                # None: the browser is on its way to the provider. With a code it is refused, with our page.
                return user if user is not None and lets_in(user) else None

        return AllowedHandler


class PasswordProvider(_OwnPages):
    """Lets in who knows the password; everybody is the same user."""

    def __init__(self, password: SecretStr) -> None:
        self._password = password
        super().__init__()

    @property
    def login_handler(self) -> type[BasicLoginHandler]:
        password = self._password.get_secret_value().encode()

        class PasswordHandler(super().login_handler):  # type: ignore[misc]  # the same
            # Panel's own handler fails after a wrong one when the address had a query.
            def post(self) -> None:
                if hmac.compare_digest(self.get_body_argument("password", "").encode(), password):
                    super().post()
                else:
                    way_back = self.get_query_argument("next", "/")
                    self.redirect(f"?{urlencode({'next': way_back, 'error': 'wrong'})}")

            def _validate(self, _username: str, _password: str) -> bool:
                return True  # `post` has compared it

        return PasswordHandler


@cache
def _templates() -> Environment:
    return Environment(loader=PackageLoader("ui_panel"), autoescape=True)
