"""Structured output of a framework ("instructor" or "langchain"), unchanged, against a server: its address comes as
JSON, what was made of the answers goes out as JSON. Each answer has been read into the model below by then."""

import json
import sys
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

url = json.load(sys.stdin)["url"]
framework = sys.argv[1]


class Person(BaseModel):
    """Somebody."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=10)
    age: int = Field(ge=0, le=120)
    pet: Literal["cat", "dog"]


SETTINGS = {"temperature": 1.2, "seed": 7, "max_tokens": 400}
found = {}


def by_instructor():
    import instructor
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    # By the last three a tool is demanded that is not said to be strict: instructor leaves that out.
    for mode in ("JSON_SCHEMA", "TOOLS", "TOOLS_STRICT", "FUNCTIONS"):
        mode = instructor.Mode[mode]
        made = instructor.from_openai(client, mode=mode).chat.completions.create(
            model="pocket",
            messages=[{"role": "user", "content": "Give me an example."}],
            response_model=Person,
            max_retries=0,
            **SETTINGS,
        )
        found[mode.name] = made.model_dump()


def by_langchain():
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="pocket", base_url=f"{url}/v1", api_key="none", max_retries=0, **SETTINGS)
    for method, strict in ((m, s) for m in ("json_schema", "function_calling") for s in (None, False, True)):
        made = model.with_structured_output(Person, method=method, strict=strict).invoke("Give me an example.")
        found[f"{method} {strict}"] = made.model_dump()


by_instructor() if framework == "instructor" else by_langchain()
json.dump(found, sys.stdout)
