"""An OAuth provider as a server: it asks nobody for a password, and says that whoever comes is `user`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.ui.small_servers import JsonHandler, serving

KEY = "the-page"
SECRET = "known to page and provider"


@dataclass
class Provider:
    """What the provider knows; `user` is who sits before the browser."""

    user: str
    url: str = ""
    codes: set[str] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the page is told of it."""
        return {
            "PANEL_OAUTH_PROVIDER": "generic",
            "PANEL_OAUTH_KEY": KEY,
            "PANEL_OAUTH_SECRET": SECRET,
            "PANEL_OAUTH_AUTHORIZE_URL": f"{self.url}/authorize",
            "PANEL_OAUTH_TOKEN_URL": f"{self.url}/token",
            "PANEL_OAUTH_USER_URL": f"{self.url}/user",
            "LIPSWAP_PAGE_COOKIE_SECRET": "signs cookies",
            "LIPSWAP_PAGE_EMAILS_VERIFIED": "true",
        }


class _Handler(JsonHandler):
    provider: Provider

    def get(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/authorize":
            told = _first(asked.query)
            code = f"code-{len(self.provider.tokens)}"
            self.provider.codes.add(code)
            self.send_response(302)
            self.send_header("Location", f"{told['redirect_uri']}/?{urlencode({'code': code, 'state': told['state']})}")
            self.end_headers()
        else:
            user = self.provider.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
            self.answer(200 if user else 401, {"email": user})

    def post(self) -> None:
        told = _first(self.body().decode())
        is_page = (told.get("client_id"), told.get("client_secret")) == (KEY, SECRET)
        if not is_page or told.get("code") not in self.provider.codes:
            self.answer(401, {"error": "invalid_grant"})
            return
        # A code is good for one token.
        self.provider.codes.discard(told["code"])
        token = f"token-{len(self.provider.tokens)}"
        self.provider.tokens[token] = self.provider.user
        self.answer(200, {"access_token": token, "token_type": "Bearer"})


def _first(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@contextmanager
def oauth_provider(user: str) -> Iterator[Provider]:
    """Serve it."""
    provider = Provider(user)
    with serving(type("_Serving", (_Handler,), {"provider": provider})) as url:
        provider.url = url
        yield provider
