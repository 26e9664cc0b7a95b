"""Renders templates with transformers, whose word counts. Reads [{"source", "conversations"}, ...] from standard
input and writes for each a list of texts, null where it refuses. "globals" renders without a conversation."""
import copy, json, os, sys

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import transformers.utils.chat_template_utils as templates


def render(source, conversation):
    if "globals" in conversation:
        return templates._compile_jinja_template(source).render(**conversation["globals"])
    arguments = {"add_generation_prompt": True, **conversation.get("args", {})}
    texts = templates.render_jinja_template(
        [copy.deepcopy(conversation["messages"])], tools=copy.deepcopy(conversation.get("tools")),
        chat_template=source, bos_token="<s>", eos_token="</s>", **arguments)
    return texts[0][0]


def attempt(source, conversation):
    try:
        return render(source, conversation)
    except Exception:
        return None


rows = json.load(sys.stdin)
json.dump([[attempt(row["source"], c) for c in row["conversations"]] for row in rows], sys.stdout)
