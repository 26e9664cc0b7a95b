"""The official Python clients against a server: its address comes as JSON, what they read goes out as JSON."""

import json
import sys

import anthropic
import ollama
import openai

url = json.load(sys.stdin)["url"]
question = [{"role": "user", "content": "What is 23 plus 48?"}]
found = {}

client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
found["chat"] = client.chat.completions.create(model="pocket", messages=question).choices[0].message.content
found["responses"] = client.responses.create(model="pocket", input=question).output_text
with client.responses.stream(model="pocket", input=question) as stream:
    for _ in stream:
        pass
    found["responses stream"] = stream.get_final_response().output_text
weather = {
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
asked = [{"role": "user", "content": "What is the weather in Paris?"}]
tool = {"type": "function", "strict": False, **weather}
first = client.responses.create(model="pocket", input=asked, tools=[tool])
call = next(item for item in first.output if item.type == "function_call")
found["responses call"] = json.loads(call.arguments)
result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 20 degrees."}
second = client.responses.create(model="pocket", input=asked + first.output + [result], tools=[tool])
found["responses after the call"] = second.status
texts = ["What is 23 plus 48?", "Hello!"]
vectors = [item.embedding for item in client.embeddings.create(model="pocket", input=texts).data]
found["embeddings"] = [len(each) for each in vectors]
short = client.embeddings.create(model="pocket", input=texts[1], dimensions=8, encoding_format="float")
found["embeddings, shorter"] = len(short.data[0].embedding)
try:
    client.responses.create(model="other", input="x")
except openai.NotFoundError as error:
    found["responses error"] = error.code

client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
whole = client.messages.create(model="pocket", max_tokens=64, messages=question)
found["messages"] = whole.content[0].text
with client.messages.stream(model="pocket", max_tokens=64, messages=question) as stream:
    found["messages stream"] = "".join(stream.text_stream)
found["messages count"] = client.messages.count_tokens(model="pocket", messages=question).input_tokens
tool = {"name": weather["name"], "description": weather["description"], "input_schema": weather["parameters"]}
first = client.messages.create(model="pocket", max_tokens=64, messages=asked, tools=[tool])
call = next(block for block in first.content if block.type == "tool_use")
found["messages call"] = call.input
result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 20 degrees."}
turns = asked + [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
second = client.messages.create(model="pocket", max_tokens=64, messages=turns, tools=[tool])
found["messages after the call"] = second.stop_reason
try:
    client.messages.create(model="other", max_tokens=1, messages=question)
except anthropic.NotFoundError as error:
    found["messages error"] = error.body["error"]["type"]

client = ollama.Client(host=url)
found["ollama"] = client.chat(model="pocket", messages=question).message.content
stream = client.chat(model="pocket", messages=question, stream=True)
found["ollama stream"] = "".join(part.message.content for part in stream)
first = client.chat(model="pocket", messages=asked, tools=[{"type": "function", "function": weather}])
found["ollama call"] = first.message.tool_calls[0].function.arguments
embedded = client.embed(model="pocket", input=texts)
found["ollama embed"] = all(
    abs(a - b) < 1e-5 for x, y in zip(embedded.embeddings, vectors) for a, b in zip(x, y, strict=True)
)
found["ollama embeddings"] = len(client.embeddings(model="pocket", prompt=texts[0]).embedding)
found["ollama list"] = [model.model for model in client.list().models]
found["ollama show"] = client.show("pocket").capabilities
try:
    client.chat(model="other", messages=question)
except ollama.ResponseError as error:
    found["ollama error"] = error.status_code

json.dump(found, sys.stdout)
