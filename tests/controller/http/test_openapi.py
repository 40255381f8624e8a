import json
from pathlib import Path

from google.protobuf import json_format

from memwatch_controller.api import openapi, schemas
from memwatch_controller.api.protodocs import comments
from memwatch_proto.v1 import sessions_pb2

PUBLISHED = Path(__file__).parents[3] / "docs" / "reference" / "openapi.json"


def test_the_published_document_is_up_to_date():
    """docs/reference/openapi.json is what the code says."""
    assert PUBLISHED.read_text(encoding="utf-8") == openapi.text(), (
        "run python -m memwatch_controller.api.openapi docs/reference/openapi.json and commit"
    )


def test_every_reference_leads_somewhere():
    """No schema is named that is not there."""
    found = openapi.document()
    text = json.dumps(found)
    names = set(found["components"]["schemas"])
    used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= names
    assert "Error" in used


def test_every_operation_says_what_it_does_and_how_it_fails():
    """Summary, one id each, a description of the errors; every parameter is explained."""
    ids = []
    for operations in openapi.document()["paths"].values():
        for operation in operations.values():
            ids.append(operation["operationId"])
            assert operation["description"]
            for parameter in operation.get("parameters", ()):
                name = parameter["name"]
                assert parameter.get("description") or name == "content-length", name
    assert len(ids) == len(set(ids))


def test_schemas_carry_the_protos_words():
    """Every message, field and enum of the document is described by its proto's comment."""
    for name, schema in openapi.document()["components"]["schemas"].items():
        assert schema.get("description"), name
        for field, described in schema.get("properties", {}).items():
            assert described.get("description"), f"{name}.{field}"


def test_comments_are_found_by_name():
    """Messages, fields, values of enums and methods, over several lines too."""
    found = comments()
    assert found["Session"] == "One session."
    assert found["SessionError.phase"].startswith("Phase in which it failed")
    assert found["SessionState.SESSION_STATE_WAITING"] == "Between two snapshots."
    assert found["SessionService.GetSession"] == "One session. Idempotent. NOT_FOUND."
    assert found["CaptureEvent.progress"] == "It goes on."


def test_json_of_a_message_parses_back():
    """What we answer is what a protobuf parser reads."""
    session = sessions_pb2.Session(id="s-1", state=sessions_pb2.SESSION_STATE_WAITING)
    session.plan.timeframe_millis = 1 << 40
    found = schemas.to_json(session)
    assert json_format.ParseDict(found, sessions_pb2.Session()) == session
    assert found["plan"]["timeframe_millis"] == str(1 << 40)
