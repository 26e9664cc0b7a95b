# Reads deploy/ with the real parsers. JSON in: {"skypilot": path or null, "kubernetes": path or null}; JSON out: what
# they understood, or {"refused": why}.
import json
import sys


def skypilot(path):
    import sky
    import yaml

    with open(path) as file:
        config = yaml.safe_load(file)
    # As --secret gives it.
    task = sky.Task.from_yaml_config(config, secrets_overrides=[("RADISH_API_KEY", "a-key")])
    service = task.service
    return {
        "probe": service.readiness_path,
        "replicas": [service.min_replicas, service.max_replicas],
        "policy": service.load_balancing_policy,
        "ports": sorted({port for each in task.resources for port in each.ports}),
        "envs": sorted({**task.envs, **task.secrets}),
        "run": task.run,
        "setup": task.setup,
    }


def kubernetes(path):
    import kubernetes_validate
    import yaml

    with open(path) as file:
        documents = list(yaml.safe_load_all(file))
    for document in documents:
        kubernetes_validate.validate(document, "1.37", strict=True)
        for name, text in document.get("data", {}).items():
            if name.endswith(".yaml"):
                document["data"][name] = yaml.safe_load(text)
    return documents


question = json.load(sys.stdin)
(kind, path), = question.items()
try:
    answer = {"read": {"skypilot": skypilot, "kubernetes": kubernetes}[kind](path)}
except ImportError:
    raise
except Exception as error:
    answer = {"refused": f"{type(error).__name__}: {error}"[:2000]}
print(json.dumps(answer))
