"""Stages of an authentication that a client leaves to the browser.

Spec: https://spec.matrix.org/v1.19/client-server-api/#fallback
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from msgspec import Struct

from homeserver.core.errors import MatrixError, invalid_param, missing_param, not_found
from homeserver.http import NO_AUTH, Response, endpoint
from homeserver.services.user_interactive import UserInteractive
from homeserver.web.pages import page

PATH = "/_matrix/client/v3/auth/{auth_type}/fallback/web"
ALIASES = ("/_matrix/client/r0/auth/{auth_type}/fallback/web",)
MAX_BODY = 16 * 1024
MAX_FIELDS = 20


@dataclass(frozen=True, slots=True)
class Field:
    """What a person types. name: its key in the auth dict."""

    name: str
    label: str
    type: str = "text"
    autocomplete: str = "off"


@dataclass(frozen=True, slots=True)
class Form:
    """How a stage is put to a person."""

    title: str
    text: str
    fields: tuple[Field, ...] = ()


FORMS = {
    "m.login.dummy": Form("Continue", "Go on with what you have begun in your app."),
    "m.login.password": Form(
        "Confirm that it is you",
        "Your app asks for your password before it goes on.",
        (
            Field("user", "Username", autocomplete="username"),
            Field("password", "Password", "password", "current-password"),
        ),
    ),
    "m.login.registration_token": Form(
        "Registration token",
        "An account here needs a token from the people who run this server.",
        (Field("token", "Token"),),
    ),
}


class SessionQuery(Struct):
    """The session of the authentication."""

    session: str


@endpoint("GET", PATH, auth=NO_AUTH, aliases=ALIASES)
async def show_fallback(auth_type: str, query: SessionQuery, user_interactive: UserInteractive) -> Response:
    """The page on which a stage is completed.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#fallback
    """
    try:
        form = _form(auth_type)
        if not user_interactive.awaits(query.session, auth_type):
            return page("done.html")
    except MatrixError as error:
        return page("failed.html", error.status, message=error.message)
    return page("form.html", form=form, session=query.session, message=None, given={})


@endpoint("POST", PATH, auth=NO_AUTH, aliases=ALIASES, max_body=MAX_BODY)
async def complete_fallback(auth_type: str, body: bytes, user_interactive: UserInteractive) -> Response:
    """What a person has typed on the page.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#fallback
    """
    try:
        form, given = _form(auth_type), _fields(body)
        session = given.get("session", "")
        if not session:
            raise missing_param("The session is missing")
        if not user_interactive.awaits(session, auth_type):
            return page("done.html")
    except MatrixError as error:
        return page("failed.html", error.status, message=error.message)
    auth = {field.name: given[field.name] for field in form.fields if given.get(field.name)}
    try:
        await user_interactive.attempt(session, auth_type, auth)
    except MatrixError as error:
        status = error.status if error.status == 429 else 401
        return page("form.html", status, form=form, session=session, message=error.message, given=given)
    return page("done.html")


def _form(auth_type: str) -> Form:
    if auth_type not in FORMS:
        raise not_found("This server has no such way to authenticate")
    return FORMS[auth_type]


def _fields(body: bytes) -> dict[str, str]:
    try:
        return dict(
            parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        )
    except ValueError as error:  # UnicodeDecodeError among them
        raise invalid_param("The form could not be read") from error
