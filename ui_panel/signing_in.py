"""The ways in: one password for everybody, or an OAuth provider, with pages of our own around them."""

import hmac
from functools import cache
from urllib.parse import urlencode

import panel as pn
from jinja2 import Environment, PackageLoader
from panel.auth import BasicAuthProvider, BasicLoginHandler, OAuthProvider
from pydantic import SecretStr

from ui_panel.settings import SignInSettings


def way_in(settings: SignInSettings) -> BasicAuthProvider | None:
    """Return what asks people who they are; None where nobody is asked."""
    if settings.password:
        return PasswordProvider(settings.password)
    if settings.oauth_provider:
        # Panel's handlers know each provider's addresses, and read its key and secret from the environment.
        pn.config.oauth_provider = settings.oauth_provider
        return OwnOAuthProvider()
    return None


class _OwnPages(BasicAuthProvider):
    """Panel's own pages load pictures from elsewhere; and it takes files, which cannot extend one another."""

    def __init__(self) -> None:
        super().__init__()
        self._login_template = _templates().get_template("login.html")
        self._logout_template = _templates().get_template("logout.html")
        self._error_template = _templates().get_template("refused.html")


class OwnOAuthProvider(_OwnPages, OAuthProvider):
    """Lets in whom the provider knows."""


class PasswordProvider(_OwnPages):
    """Lets in who knows the password; everybody is the same user."""

    def __init__(self, password: SecretStr) -> None:
        self._password = password
        super().__init__()

    @property
    def login_handler(self) -> type[BasicLoginHandler]:
        password = self._password.get_secret_value().encode()

        class PasswordHandler(super().login_handler):  # type: ignore[misc]  # a class that is only known now
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
