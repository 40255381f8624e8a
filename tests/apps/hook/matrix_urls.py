"""The addresses of matrix_app's Django project."""

import os

from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse(str(os.getpid())))]
