"""Whether outputs validate, says Python's jsonschema with its format checker. Reads a file of [{schema, text}], prints
one list: true, false, or null where it does not like the schema or takes too long. Multiples are decimal. Called by
bench/schema_sampling.ts; needs pip's jsonschema[format]."""

import decimal
import json
import signal
import sys

import jsonschema

SECONDS = 10


def give_up(*_):
    raise TimeoutError


def is_multiple(error):
    """Whether a complaint about multipleOf is one of binary fractions only: 159.98 is a multiple of 0.01."""
    if error.validator != "multipleOf":
        return False
    return decimal.Decimal(repr(error.instance)) % decimal.Decimal(repr(error.validator_value)) == 0


def verdict(schema_text, text):
    try:
        schema = json.loads(schema_text)
        cls = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        cls.check_schema(schema)
    except Exception:
        return None
    try:
        signal.alarm(SECONDS)
        errors = list(cls(schema, format_checker=cls.FORMAT_CHECKER).iter_errors(json.loads(text)))
        return all(is_multiple(error) for error in errors)
    except Exception as error:
        print(f"{type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        return None
    finally:
        signal.alarm(0)


signal.signal(signal.SIGALRM, give_up)
outputs = json.load(open(sys.argv[1], encoding="utf-8"))
print(json.dumps([verdict(each["schema"], each["text"]) for each in outputs]))
