"""Whether outputs validate, says Python's jsonschema with its format checker. Reads a file of [{schema, text}], prints
one list: true, false, or null where it does not like the schema or takes too long. Called by bench/schema_sampling.ts;
needs pip's jsonschema[format]."""

import json
import signal
import sys

import jsonschema

SECONDS = 10


def give_up(*_):
    raise TimeoutError


def verdict(schema_text, text):
    try:
        schema = json.loads(schema_text)
        cls = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        cls.check_schema(schema)
    except Exception:
        return None
    try:
        signal.alarm(SECONDS)
        return cls(schema, format_checker=cls.FORMAT_CHECKER).is_valid(json.loads(text))
    except Exception as error:
        print(f"{type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        return None
    finally:
        signal.alarm(0)


signal.signal(signal.SIGALRM, give_up)
outputs = json.load(open(sys.argv[1], encoding="utf-8"))
print(json.dumps([verdict(each["schema"], each["text"]) for each in outputs]))
