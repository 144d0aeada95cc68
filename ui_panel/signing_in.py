"""The sign-in with one password. Panel's own handler fails after a wrong one when the address had a query."""

import hmac
from urllib.parse import urlencode

from panel.auth import BasicAuthProvider, BasicLoginHandler
from pydantic import SecretStr


class PasswordProvider(BasicAuthProvider):
    """Lets in who knows the password; everybody is the same user."""

    def __init__(self, password: SecretStr, *, login_template: str, logout_template: str) -> None:
        self._password = password
        super().__init__(login_template=login_template, logout_template=logout_template)

    @property
    def login_handler(self) -> type[BasicLoginHandler]:
        password = self._password.get_secret_value().encode()

        class PasswordHandler(super().login_handler):  # type: ignore[misc]  # the same
            def post(self) -> None:
                if hmac.compare_digest(self.get_body_argument("password", "").encode(), password):
                    super().post()
                else:
                    way_back = self.get_query_argument("next", "/")
                    self.redirect(f"?{urlencode({'next': way_back, 'error': 'wrong'})}")

            def _validate(self, _username: str, _password: str) -> bool:
                return True  # `post` has compared it

        return PasswordHandler
