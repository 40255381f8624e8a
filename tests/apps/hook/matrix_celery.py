"""A celery application whose broker is a folder."""

import os
import tempfile

import matrix_app
from celery import Celery

folder = os.environ.get("MATRIX_FOLDER") or tempfile.mkdtemp()
ORDERS = matrix_app.ORDERS
app = Celery("matrix", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": folder,
    "data_folder_out": folder,
    "control_folder": folder + "/control",
}
