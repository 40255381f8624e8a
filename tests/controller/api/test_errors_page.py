import re
from pathlib import Path

from memwatch_controller.api.http.problems import http_status
from memwatch_controller.api.status import CODES
from memwatch_proto.reasons import EXPLANATIONS
from memwatch_proto.status import Failure, Reason

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")


def test_every_reason_is_explained():
    """The page has one section for each reason, and no other."""
    assert sorted(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) == sorted(Reason)


def test_codes_and_statuses_of_the_page_are_those_of_the_code():
    """Each section begins with the gRPC code and the HTTP status that callers really get."""
    for name, code, status in re.findall(
        r"^### (\w+)\ngRPC `(\w+)`, HTTP (\d+)", PAGE, re.MULTILINE
    ):
        reason = Reason(name)
        assert CODES[reason].name == code, name
        assert http_status(Failure(CODES[reason], reason, "")) == int(status), name
    assert len(re.findall(r"^gRPC `", PAGE, re.MULTILINE)) == len(Reason)


def test_the_page_explains_as_the_command_line_does():
    """`memwatchctl explain` prints the words of the page."""
    found = re.findall(r"^### (\w+)\ngRPC `\w+`, HTTP \d+[^.]*\. (.*)$", PAGE, re.MULTILINE)
    assert dict(found) == EXPLANATIONS


def test_every_section_has_a_next_step():
    """Each section is more than its code: a cause and what to do."""
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        text = section.split("\n## ")[0]
        assert len(re.findall(r"[.;] ", text)) >= 2, section.split("\n")[0]
