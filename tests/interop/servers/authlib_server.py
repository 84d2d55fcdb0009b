"""Authlib's authorization server on Flask, as Debian has both: one user, one client, and a resource that wants a token.

    authlib_server.py '{"port": …, "callback": …, "id": …, "secret": …, "method": …, "life": …, "rotate": …}'

`method` is the one client authentication that is taken; access tokens live `life` seconds; with `rotate` a refresh ends
the refresh token that it used. Everything is in memory. Serves until it is ended.
"""

import json
import os
import sys
import time
from urllib.parse import quote

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.flask_oauth2 import AuthorizationServer  # noqa: E402  (reads the variable above)
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin, grants  # noqa: E402
from authlib.oauth2.rfc6749.errors import OAuth2Error  # noqa: E402
from authlib.oauth2.rfc7009 import RevocationEndpoint  # noqa: E402
from authlib.oauth2.rfc7636 import CodeChallenge  # noqa: E402
from flask import Flask, jsonify, redirect, request, session  # noqa: E402

GIVEN = {"method": "client_secret_basic", "life": 3600, "rotate": False, **json.loads(sys.argv[1])}
SCOPES = ["files.read", "files.write"]
METHODS = ["client_secret_basic", "client_secret_post", "none"]


class Client(ClientMixin):
    client_id = GIVEN["id"]

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return GIVEN["callback"]

    def get_allowed_scope(self, scope):
        return " ".join(one for one in (scope or "").split() if one in SCOPES)

    def check_redirect_uri(self, uri):
        return uri == GIVEN["callback"]

    def has_client_secret(self):
        return True

    def check_client_secret(self, secret):
        return secret == GIVEN["secret"]

    def check_endpoint_auth_method(self, method, _endpoint):
        return method == GIVEN["method"]

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type in ("authorization_code", "refresh_token")


class User:
    def __init__(self, name):
        self.name = name

    def get_user_id(self):
        return self.name


class Code(AuthorizationCodeMixin):
    def __init__(self, **members):
        self.__dict__.update(members)

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


class Token(TokenMixin):
    def __init__(self, **members):
        self.__dict__.update(members)
        self.made, self.revoked = time.time(), False

    def check_client(self, client):
        return self.client_id == client.get_client_id()

    def get_scope(self):
        return self.scope

    def get_expires_in(self):
        return self.expires_in

    def is_expired(self):
        return self.made + self.expires_in < time.time()

    def is_revoked(self):
        return self.revoked


CODES: dict[str, Code] = {}
TOKENS: list[Token] = []


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def save_authorization_code(self, code, request):
        CODES[code] = Code(
            code=code,
            client_id=request.client.get_client_id(),
            redirect_uri=request.redirect_uri,
            scope=request.scope,
            user=request.user,
            code_challenge=request.data.get("code_challenge"),
            code_challenge_method=request.data.get("code_challenge_method"),
        )

    def query_authorization_code(self, code, _client):
        return CODES.get(code)

    def delete_authorization_code(self, code):
        CODES.pop(code.code, None)

    def authenticate_user(self, code):
        return code.user


class RefreshTokenGrant(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = GIVEN["rotate"]

    def authenticate_refresh_token(self, text):
        return next((token for token in TOKENS if token.refresh_token == text and not token.revoked), None)

    def authenticate_user(self, token):
        return token.user

    def revoke_old_credential(self, token):
        token.revoked = GIVEN["rotate"]


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, text, _hint):
        return next((token for token in TOKENS if text in (token.refresh_token, token.access_token)), None)

    def revoke_token(self, token, _request):
        token.revoked = True


app = Flask(__name__)
app.secret_key = "a key of the tests"
app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"authorization_code": GIVEN["life"]}
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True


def save_token(token, request):
    kept = {name: token.get(name) for name in ("access_token", "refresh_token", "scope", "expires_in")}
    TOKENS.append(Token(client_id=request.client.get_client_id(), user=request.user, **kept))


server = AuthorizationServer(
    app, query_client=lambda id_: Client() if id_ == GIVEN["id"] else None, save_token=save_token
)
server.register_grant(AuthorizationCodeGrant, [CodeChallenge(required=True)])
server.register_grant(RefreshTokenGrant)
server.register_endpoint(Revocation)


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "POST":
        session["user"] = request.form["user"]
        return redirect(request.args["next"])
    return "<form method=post><input name=user value=ann><button>sign-in</button></form>"


@app.route("/oauth/authorize", methods=["GET", "POST"])
def authorize():
    if "user" not in session:
        return redirect("/login?next=" + quote(request.full_path))
    if request.method == "POST":
        allowed = request.form["decision"] == "allow"
        return server.create_authorization_response(grant_user=User(session["user"]) if allowed else None)
    try:
        server.get_consent_grant(end_user=User(session["user"]))
    except OAuth2Error as error:
        return jsonify(dict(error.get_body())), 400
    buttons = "".join(f"<button name=decision value={word}>{word}</button>" for word in ("allow", "deny"))
    return f"<form method=post>{buttons}</form>"


@app.route("/oauth/token", methods=["POST"])
def token():
    return server.create_token_response()


@app.route("/oauth/revoke", methods=["POST"])
def revoke():
    return server.create_endpoint_response("revocation")


@app.route("/files")
def files():
    text = request.headers.get("authorization", "").removeprefix("Bearer ")
    good = any(one.access_token == text and not one.revoked and not one.is_expired() for one in TOKENS)
    return ("files", 200) if good else ("", 401)


@app.route("/withdraw", methods=["POST"])
def withdraw():
    """The user's own decision, on a page of the provider's that is left out here."""
    for one in TOKENS:
        one.revoked = True
    return "", 204


app.run("127.0.0.1", GIVEN["port"], threaded=True)
