"""django-oauth-toolkit as Debian has it: one user, one client, plain HTML forms, and a resource that wants a token.

    django_oauth_toolkit.py '{"port": …, "folder": …, "callback": …, "id": …, "secret": …, "settings": {…}}'

Makes its database in `folder` if there is none, then serves until it is ended. `settings` is Django's OAUTH2_PROVIDER.
"""

import json
import os
import sys

import django
from django.conf import settings

GIVEN = json.loads(sys.argv[1])
SCOPES = {"files.read": "Read your files", "files.write": "Write your files", "openid": "Who you are"}

settings.configure(
    SECRET_KEY="a key of the tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    LOGIN_URL="/accounts/login/",
    LOGIN_REDIRECT_URL="/o/authorized_tokens/",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(GIVEN["folder"], "django.sqlite3"),
            "OPTIONS": {"timeout": 20},
        }
    },
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    OAUTH2_PROVIDER={"SCOPES": SCOPES, **GIVEN.get("settings", {})},
)
django.setup()

from django.contrib import admin  # noqa: E402  (Django wants its settings first)
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.decorators import protected_resource  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402


@protected_resource()
def files(_request):
    return HttpResponse("files")


urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("accounts/login/", LoginView.as_view(template_name="admin/login.html")),
    path("admin/", admin.site.urls),
    path("files", files),
]


def set_up():
    call_command("migrate", verbosity=0)
    user = User.objects.create_superuser("ann", "ann@example.org", "annpass1")
    Application.objects.create(
        user=user,
        name="authseal",
        client_id=GIVEN["id"],
        client_secret=GIVEN["secret"],
        redirect_uris=GIVEN["callback"],
        client_type="confidential",
        authorization_grant_type="authorization-code",
    )


if not os.path.exists(settings.DATABASES["default"]["NAME"]):
    set_up()
call_command("runserver", f"127.0.0.1:{GIVEN['port']}", use_reloader=False)
