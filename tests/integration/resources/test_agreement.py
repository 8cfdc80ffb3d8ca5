"""pydantic and the API server give the same verdict on the same manifest."""

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mlinfra.resources import ModelVersion, RetrainingPolicy, TrainingJob
from mlinfra.resources.base import ResourceModel

Manifest = dict[str, Any]

MODELS: dict[str, type[ResourceModel]] = {
    model.__name__: model for model in (TrainingJob, ModelVersion, RetrainingPolicy)
}
BUILT_IN: dict[str, Any] = {
    "modelName": "sp500-volatility",
    "model": {"architecture": "mlp"},
    "data": {"featureGroup": "sp500_daily", "label": "turbulent"},
}
OWN_CODE: dict[str, Any] = {"modelName": "mine", "image": "registry.example/mine:1", "command": ["train"]}


def manifest(kind: str, spec: Any, *, name: str = "verdict") -> Manifest:
    return {"apiVersion": "mlinfra.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def pydantic_refusal(tried: Manifest) -> str | None:
    try:
        MODELS[tried["kind"]].model_validate(json.loads(json.dumps(tried)))
    except ValidationError as error:
        return str(error)
    return None


def built_in(**spec: Any) -> dict[str, Any]:
    return BUILT_IN | spec


def data(**fields: Any) -> dict[str, Any]:
    return built_in(data=BUILT_IN["data"] | fields)


def scheduler(**fields: Any) -> dict[str, Any]:
    return built_in(training={"scheduler": fields})


def validation(**fields: Any) -> dict[str, Any]:
    return built_in(validation=fields)


def own_code(**spec: Any) -> dict[str, Any]:
    return OWN_CODE | spec


def gate(**bounds: Any) -> dict[str, Any]:
    return built_in(promotion={"gates": [{"metric": "test_accuracy"} | bounds]})


def env(*variables: dict[str, Any]) -> dict[str, Any]:
    return own_code(env=list(variables))


SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
CONFIG = {"configMapKeyRef": {"name": "c", "key": "k"}}
VOLUME = {"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}

GOOD_JOBS: dict[str, Any] = {
    "several pods": built_in(numNodes=64, numProcPerNode="auto"),
    "several pods at once": own_code(numNodes=2, gangScheduling=True),
    "one pod at once is no gang": own_code(gangScheduling=False),
    "several processes": own_code(numProcPerNode=8),
    "least built-in": BUILT_IN,
    "least own code": OWN_CODE,
    "image alone": {"modelName": "m", "image": "i"},
    "command alone": {"modelName": "m", "command": ["python", "x.py"]},
    "null for what is optional": built_in(image=None, env=None, training=None, backoffLimit=None),
    "null for what has a default": built_in(training={"epochs": None}),
    "null among labels": built_in(nodeSelector={"a": None, "b": "c"}),
    "whole number with a fraction of zero": built_in(training={"epochs": 5.0}),
    "integer for a number": built_in(training={"learningRate": 1}),
    "same start and end": data(startDate="2020-02-29", endDate="2020-02-29"),
    "snapshot by its ID": data(snapshot="snapshot-0123456789abcdef01234567"),
    "snapshot by a name": data(snapshot="Prices_of.2024-Q1"),
    "null beside a snapshot": data(snapshot="s", startDate=None),
    "the last days": data(lastDays=1096),
    "the last days up to a date": data(lastDays=1, endDate="2019-02-28"),
    "gate with one bound": gate(min=0.8),
    "gate with equal bounds": gate(min=0.8, max=0.8),
    "every training field": built_in(
        training={
            "epochs": 1,
            "batchSize": 1,
            "learningRate": 10,
            "optimizer": "SGD",
            "weightDecay": 0,
            "classWeights": "Balanced",
            "seed": 4294967295,
            "scheduler": {"name": "StepLR", "warmupEpochs": 2, "stepSize": 3, "gamma": 1},
            "gradientClipNorm": 0.5,
            "precision": "BF16",
            "earlyStopping": {"patience": 1, "minDelta": 0.5, "metric": "val_accuracy"},
        }
    ),
    "a value": data(task="Regression") | {"training": {"classWeights": "None"}},
    "a value with no training fields": data(task="Regression") | {"training": None},
    "null for the task": data(task=None) | {"training": {"classWeights": "Balanced"}},
    "no export": built_in(export={"onnx": False}),
    "a copy with 8-bit weights": built_in(export={"int8": True}),
    "scheduler by name alone": scheduler(name="OneCycleLR"),
    "null for a scheduler's fields": scheduler(name="CosineAnnealingLR", stepSize=None, gamma=None),
    "checkpoints on a volume": built_in(checkpoint={"storageUri": "file:///checkpoints"}),
    "checkpoints at a path": built_in(checkpoint={"storageUri": "/checkpoints", "everyEpochs": 5}),
    "checkpoints on S3": built_in(checkpoint={"storageUri": "s3://bucket/a/b", "keepLast": 1}),
    "walk-forward by default": validation(strategy="WalkForward"),
    "walk-forward, sliding": validation(
        strategy="WalkForward", folds=3, window="Sliding", windowSize=500, embargo=5
    ),
    "null for what walk-forward has": validation(folds=None, window=None, windowSize=None),
    "free parameters": built_in(
        model={"architecture": "mlp", "parameters": {"layers": [1, {"deep": None}], "x": True}}
    ),
    "model name with space, dot and umlaut": built_in(modelName="Preis über.Tag v2"),
    "env of each source": env(
        {"name": "A", "value": ""},
        {"name": "B"},
        {"name": "C", "valueFrom": SECRET},
        {"name": "D", "valueFrom": CONFIG},
        {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ),
    "quantities as integer and string": own_code(
        resourcesPerNode={"limits": {"nvidia.com/gpu": 1, "cpu": "500m", "memory": "1.5Gi"}}
    ),
    "mounted volume": own_code(volumes=[VOLUME], volumeMounts=[{"name": "v", "mountPath": "/v"}]),
    "queue": own_code(queue={"name": "team"}),
    "queue with a priority, named with a dot": own_code(queue={"name": "team.a", "priorityClass": "p-1"}),
    "toleration of everything": own_code(tolerations=[{"operator": "Exists"}]),
    "variable much like one of the operator's": env({"name": "MLFLOW_RUN_ID_FILE", "value": "/x"}),
    "mount beneath the scratch folder": own_code(
        volumes=[VOLUME], volumeMounts=[{"name": "v", "mountPath": "/mlinfra/scratch/cache"}]
    ),
}
BAD_JOBS: dict[str, Any] = {
    "more labels of a node than fit": built_in(nodeSelector={f"l{i}": "v" for i in range(33)}),
    "no pod": own_code(numNodes=0),
    "gang of one": own_code(gangScheduling=True),
    "too many processes": own_code(numProcPerNode=65),
    "processes that are no number": own_code(numProcPerNode="many"),
    "unknown task": data(task="Ranking"),
    "unknown class weights": built_in(training={"classWeights": "balanced"}),
    "class weights without classes": data(task="Regression") | {"training": {"classWeights": "Balanced"}},
    "8-bit weights without a graph": built_in(export={"onnx": False, "int8": True}),
    "string for the export": built_in(export={"onnx": "false"}),
    "no spec": None,
    "empty": {},
    "model name missing": {"image": "i"},
    "null for what is required": built_in(modelName=None),
    "integer as a string": built_in(training={"epochs": "5"}),
    "fraction for an integer": built_in(training={"epochs": 5.5}),
    "nearly an integer": built_in(training={"epochs": 5.0000000001}),
    "true for an integer": built_in(training={"epochs": True}),
    "true for a number": built_in(training={"learningRate": True}),
    "number for a string": built_in(image=5),
    "string for a boolean": built_in(promotion={"auto": "true"}),
    "number for a boolean": built_in(promotion={"auto": 1}),
    "integer beyond 64 bits": built_in(training={"epochs": 10**30}),
    "unknown field": built_in(epochs=3),
    "unknown field with null": built_in(epochs=None),
    "unknown nested field": built_in(training={"epoch": 3}),
    "negative epochs": built_in(training={"epochs": -1}),
    "zero epochs": built_in(training={"epochs": 0}),
    "learning rate zero": built_in(training={"learningRate": 0}),
    "unknown optimizer": built_in(training={"optimizer": "adam"}),
    "scheduler without a name": scheduler(warmupEpochs=1),
    "unknown scheduler": scheduler(name="cosine"),
    "step size of another scheduler": scheduler(name="ExponentialLR", stepSize=3),
    "gamma of another scheduler": scheduler(name="CosineAnnealingLR", gamma=0.5),
    "gamma above 1": scheduler(name="StepLR", gamma=1.5),
    "second warm-up": scheduler(name="OneCycleLR", warmupEpochs=1),
    "clip norm zero": built_in(training={"gradientClipNorm": 0}),
    "unknown precision": built_in(training={"precision": "bf16"}),
    "early stopping on a test metric": built_in(training={"earlyStopping": {"metric": "test_accuracy"}}),
    "checkpoints nowhere": built_in(checkpoint={"everyEpochs": 5}),
    "checkpoints at a relative path": built_in(checkpoint={"storageUri": "checkpoints"}),
    "checkpoints of another scheme": built_in(checkpoint={"storageUri": "http://x/y"}),
    "checkpoints in no bucket": built_in(checkpoint={"storageUri": "s3:///x"}),
    "checkpoints in a file URI with a host": built_in(checkpoint={"storageUri": "file://host/x"}),
    "checkpoints with a space": built_in(checkpoint={"storageUri": "/a b"}),
    "checkpoints every zero epochs": built_in(checkpoint={"storageUri": "/x", "everyEpochs": 0}),
    "checkpoints of own code": own_code(checkpoint={"storageUri": "/x"}),
    "unknown strategy": validation(strategy="KFold"),
    "folds of a hold-out": validation(folds=3),
    "window of a hold-out": validation(strategy="Holdout", window="Sliding"),
    "no folds": validation(strategy="WalkForward", folds=0),
    "size of an expanding window": validation(strategy="WalkForward", window="Expanding", windowSize=5),
    "size of a window that is not named": validation(strategy="WalkForward", windowSize=5),
    "seed beyond 32 bits": built_in(training={"seed": 4294967296}),
    "model name with a slash": built_in(modelName="a/b"),
    "model name with a colon": built_in(modelName="a:b"),
    "model name with a quote": built_in(modelName="a'b"),
    "model name with a backslash": built_in(modelName="a\\b"),
    "model name with a line end": built_in(modelName="a\nb"),
    "empty model name": built_in(modelName=""),
    "blank model name": built_in(modelName="\u00a0"),
    "model name of 201 characters": built_in(modelName="m" * 201),
    "start after end": data(startDate="2020-01-02", endDate="2020-01-01"),
    "date that does not exist": data(startDate="2020-02-31"),
    "leap day of a common year": data(endDate="2019-02-29"),
    "date with a time": data(startDate="2020-01-01T00:00:00Z"),
    "year zero": data(startDate="0000-01-01"),
    "label among the features": data(features=["rsi", "turbulent"]),
    "empty list of features": data(features=[]),
    "snapshot and start": data(snapshot="s", startDate="2020-01-01"),
    "snapshot and last days": data(snapshot="s", lastDays=7),
    "start and last days": data(startDate="2020-01-01", lastDays=7),
    "no last day": data(lastDays=0),
    "snapshot and end": data(snapshot="s", endDate="2020-01-01"),
    "snapshot with a slash": data(snapshot="a/b"),
    "empty snapshot": data(snapshot=""),
    "architecture with a capital": built_in(model={"architecture": "MLP"}),
    "gate without bounds": gate(),
    "gate with nulls for bounds": gate(min=None, max=None),
    "gate with min above max": gate(min=0.9, max=0.8),
    "gate without a metric": built_in(promotion={"gates": [{"min": 0.5}]}),
    "null among the gates": built_in(promotion={"gates": [None]}),
    "fractions that leave nothing": built_in(validation={"validationFraction": 0.5, "testFraction": 0.5}),
    "fraction of one": built_in(validation={"testFraction": 1}),
    "fraction too large beside a default": built_in(validation={"testFraction": 0.9}),
    "two variables of one name": env({"name": "A", "value": "1"}, {"name": "A", "value": "2"}),
    "value and source": env({"name": "A", "value": "1", "valueFrom": SECRET}),
    "source of nothing": env({"name": "A", "valueFrom": {}}),
    "two sources": env({"name": "A", "valueFrom": SECRET | CONFIG}),
    "variable name with a space": env({"name": "A B"}),
    "envFrom of nothing": own_code(envFrom=[{"prefix": "A_"}]),
    "envFrom of two": own_code(envFrom=[{"secretRef": {"name": "s"}, "configMapRef": {"name": "c"}}]),
    "neither model nor command": {"modelName": "m"},
    "data without model": {"modelName": "m", "data": BUILT_IN["data"]},
    "model without data": {"modelName": "m", "model": BUILT_IN["model"], "image": "i"},
    "empty command": {"modelName": "m", "command": []},
    "null in the command": {"modelName": "m", "command": ["a", None]},
    "mount of no volume": own_code(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
    "variable of the operator's": env({"name": "MLFLOW_RUN_ID", "value": "1"}),
    "variable of the operator's from a Secret": env({"name": "MLINFRA_TRAINING_JOB", "valueFrom": SECRET}),
    "scratch volume of one's own": own_code(volumes=[VOLUME | {"name": "mlinfra-scratch"}]),
    "shared memory of one's own by our name": own_code(volumes=[VOLUME | {"name": "mlinfra-shm"}]),
    "mount at the scratch folder": own_code(
        volumes=[VOLUME], volumeMounts=[{"name": "v", "mountPath": "/mlinfra/scratch"}]
    ),
    "mount at the scratch folder with a slash": own_code(
        volumes=[VOLUME], volumeMounts=[{"name": "v", "mountPath": "/mlinfra/scratch/"}]
    ),
    "relative mount path": own_code(volumes=[VOLUME], volumeMounts=[{"name": "v", "mountPath": "v"}]),
    "two mounts at one path": own_code(
        volumes=[VOLUME], volumeMounts=[{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]
    ),
    "volume name with a capital": own_code(volumes=[{"name": "V", "emptyDir": {}}]),
    "negative quantity": own_code(resourcesPerNode={"limits": {"cpu": "-1"}}),
    "negative integer quantity": own_code(resourcesPerNode={"limits": {"cpu": -1}}),
    "quantity with a unit of its own": own_code(resourcesPerNode={"limits": {"memory": "1GB"}}),
    "integer quantity beyond what JSON holds": own_code(resourcesPerNode={"limits": {"memory": 10**19}}),
    "fraction as a quantity": own_code(resourcesPerNode={"limits": {"cpu": 0.5}}),
    "queue by its old name": own_code(queueName="team"),
    "queue without a name": own_code(queue={"priorityClass": "urgent"}),
    "queue with a capital": own_code(queue={"name": "Team"}),
    "queue that ends in a dot": own_code(queue={"name": "team."}),
    "queue of 64 characters": own_code(queue={"name": "q" * 64}),
    "unknown effect": own_code(tolerations=[{"effect": "Never"}]),
    "retries below zero": built_in(backoffLimit=-1),
    "deadline of zero": built_in(activeDeadlineSeconds=0),
}
VERSION = {"modelName": "m", "version": "3", "stage": "Production", "source": {"runID": "r"}}
GOOD_VERSIONS: dict[str, Any] = {
    "all fields": VERSION | {"gates": [{"metric": "test_accuracy", "min": 0.5}]},
    "snapshot of its rows": VERSION | {"source": {"runID": "r", "featureSnapshot": "snapshot-1"}},
    "image of its training": VERSION | {"source": {"runID": "r", "imageDigest": f"sha256:{'0a' * 32}"}},
    "no stage": {"modelName": "m", "version": "1", "stage": None},
    "deleted with its version": VERSION | {"deletionPolicy": "Delete"},
    "served": VERSION | {"serving": {}},
    "gRPC at a port of the user's choice": VERSION
    | {"serving": {"grpc": False, "env": [{"name": "MLINFRA_SERVING_GRPC_PORT", "value": "9000"}]}},
    "canary for an hour": VERSION | {"serving": {"canary": {"percent": 5}}},
    "served as every field says": VERSION
    | {
        "serving": {
            "enabled": False,
            "stages": ["Staging", "Production"],
            "replicas": 2,
            "autoscaling": {"minReplicas": 2, "maxReplicas": 2, "targetCPUUtilizationPercentage": 50},
            "grpc": True,
            "canary": {"percent": 20, "seconds": 60},
            "rollbackWindowSeconds": 0,
            "image": "server:1",
            "command": ["serve"],
            "args": [],
            "env": [{"name": "A", "value": "1"}],
            "envFrom": [{"secretRef": {"name": "s"}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "resources": {"requests": {"cpu": 1}},
            "nodeSelector": {"a": "b"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "high",
            "imagePullSecrets": [{"name": "s"}],
            "serviceAccountName": "server",
        }
    },
}
BAD_VERSIONS: dict[str, Any] = {
    "served in no stage": VERSION | {"serving": {"stages": []}},
    "served in an unknown stage": VERSION | {"serving": {"stages": ["Archived"]}},
    "served twice in one stage": VERSION | {"serving": {"stages": ["Staging", "Staging"]}},
    "served by no pod": VERSION | {"serving": {"replicas": 0}},
    "fewer pods at most than at least": VERSION
    | {"serving": {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}},
    "autoscaling without a bound": VERSION | {"serving": {"autoscaling": {}}},
    "served with an unknown volume": VERSION
    | {"serving": {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}},
    "served with an unknown field": VERSION | {"serving": {"traffic": 5}},
    "gRPC at two ports": VERSION
    | {"serving": {"grpc": True, "env": [{"name": "MLINFRA_SERVING_GRPC_PORT", "value": "9000"}]}},
    "canary without a share": VERSION | {"serving": {"canary": {}}},
    "canary with all requests": VERSION | {"serving": {"canary": {"percent": 100}}},
    "canary with no requests": VERSION | {"serving": {"canary": {"percent": 0}}},
    "canary of no time": VERSION | {"serving": {"canary": {"percent": 5, "seconds": 0}}},
    "canary elsewhere than in Production": VERSION
    | {"serving": {"stages": ["Staging"], "canary": {"percent": 5}}},
    "longer than any digest": VERSION | {"source": {"runID": "r", "imageDigest": "0" * 136}},
    "unknown deletion policy": VERSION | {"deletionPolicy": "Orphan"},
    "version zero": VERSION | {"version": "0"},
    "version as an integer": VERSION | {"version": 3},
    "unknown stage": VERSION | {"stage": "production"},
    "gate without bounds": VERSION | {"gates": [{"metric": "a"}]},
    "longer than a snapshot's ID": VERSION | {"source": {"featureSnapshot": "s" * 65}},
    "unknown field of the source": VERSION | {"source": {"runId": "r"}},
    "model name with a slash": VERSION | {"modelName": "a/b"},
}
POLICY = {"modelName": "sp500-volatility", "trainingJobTemplate": {"spec": BUILT_IN}}
HOURLY: Any = {"threshold": 0.2, "window": {"seconds": 3600}}
DRIFT_BY_PROMETHEUS: Any = {"prometheus": {"serverAddress": "http://a:9090", "drift": {"query": "max(a)"}}}
GOOD_POLICIES: dict[str, Any] = {
    "least": POLICY,
    "labels": {
        "modelName": "mine",
        "trainingJobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": OWN_CODE},
    },
    "every field": POLICY
    | {
        "schedule": "0 3 * * *",
        "timeZone": "Europe/Berlin",
        "startingDeadlineSeconds": 0,
        "suspend": True,
        "concurrencyPolicy": "Replace",
        "cooldownSeconds": 3600,
        "maxRunsPerDay": 1,
        "maxBackoffFactor": 64,
        "successfulJobsHistoryLimit": 0,
        "failedJobsHistoryLimit": 100,
    },
    "watched by defaults": POLICY | {"drift": {}, "performance": {}, "rollback": {}},
    "watched as every field says": POLICY
    | {
        "drift": {
            "method": "JensenShannon",
            "threshold": 0.2,
            "clearThreshold": 0.1,
            "falseAlarmRate": 0.001,
            "features": ["a"],
            "onBreach": "Retrain",
            "window": {"rows": 500},
            "minSamples": 1,
            "breachedWindows": 1,
            "ofWindows": 1,
        },
        "performance": {
            "metric": "f1",
            "threshold": 0.7,
            "maxLoss": 0.1,
            "estimate": "Never",
            "window": {"seconds": 86400},
        },
        "monitoring": {"intervalSeconds": 1, "timeoutSeconds": 1, "url": "https://server:8080"},
        "rollback": {"observationSeconds": 60, "maxLoss": 0},
    },
    "told by Prometheus": POLICY
    | {
        "drift": HOURLY,
        "performance": HOURLY | {"metric": "mae"},
        "monitoring": {
            "prometheus": {
                "serverAddress": "https://mimir.example/prometheus",
                "drift": {"query": "max(a)", "samplesQuery": "sum(b)"},
                "performance": {"query": "c"},
            }
        },
    },
    "drift alone told by Prometheus": POLICY
    | {"drift": HOURLY | {"onBreach": "Retrain", "clearThreshold": 0.1}, "monitoring": DRIFT_BY_PROMETHEUS},
    "rows of a feature group": POLICY
    | {
        "drift": {},
        "monitoring": {"url": "http://a", "featureGroup": {"name": "batches", "label": "late"}},
    },
    "rows of the group learnt from": POLICY | {"drift": {}, "monitoring": {"featureGroup": {}}},
    "Prometheus for nothing": POLICY | {"monitoring": {"prometheus": {"serverAddress": "http://a"}}},
    "a schedule that only the operator can refuse": POLICY | {"schedule": "when the sun rises"},
}
BAD_POLICIES: dict[str, Any] = {
    "variable of the operator's in the template": {
        "modelName": "mine",
        "trainingJobTemplate": {"spec": OWN_CODE | {"env": [{"name": "MLFLOW_RUN_ID", "value": "1"}]}},
    },
    "model of another name": POLICY | {"modelName": "other"},
    "no template": {"modelName": "m"},
    "empty schedule": POLICY | {"schedule": ""},
    "time zone without a schedule": POLICY | {"timeZone": "UTC"},
    "deadline without a schedule": POLICY | {"startingDeadlineSeconds": 5},
    "unknown concurrency policy": POLICY | {"concurrencyPolicy": "Sometimes"},
    "no run a day": POLICY | {"maxRunsPerDay": 0},
    "no factor of the back-off": POLICY | {"maxBackoffFactor": 0},
    "years of back-off": POLICY | {"maxBackoffFactor": 65},
    "negative cool-down": POLICY | {"schedule": "0 3 * * *", "cooldownSeconds": -1},
    "rollback without performance": POLICY | {"rollback": {}},
    "more breaches than windows": POLICY | {"drift": {"breachedWindows": 3, "ofWindows": 2}},
    "windows that never are enough": POLICY | {"performance": {"window": {"rows": 99}}},
    "window of two kinds": POLICY | {"drift": {"window": {"rows": 1, "seconds": 1}}},
    "clear threshold alone": POLICY | {"drift": {"clearThreshold": 0.1}},
    "clear threshold above": POLICY | {"drift": {"threshold": 0.1, "clearThreshold": 0.2}},
    "unknown method": POLICY | {"drift": {"method": "psi"}},
    "unknown answer to drift": POLICY | {"drift": {"onBreach": "Ignore"}},
    "no loss at most": POLICY | {"performance": {"maxLoss": 0}},
    "never asked": POLICY | {"drift": {}, "monitoring": {"intervalSeconds": 0}},
    "server of another scheme": POLICY | {"drift": {}, "monitoring": {"url": "ftp://a"}},
    "server with a path": POLICY | {"drift": {}, "monitoring": {"url": "http://a/b"}},
    "Prometheus of another scheme": POLICY | {"monitoring": {"prometheus": {"serverAddress": "a:9090"}}},
    "Prometheus without an address": POLICY | {"monitoring": {"prometheus": {}}},
    "Prometheus and a server": POLICY
    | {"monitoring": {"url": "http://a", "prometheus": {"serverAddress": "http://a"}}},
    "Prometheus and a feature group": POLICY
    | {"monitoring": {"featureGroup": {}, "prometheus": {"serverAddress": "http://a"}}},
    "feature group with a path": POLICY | {"monitoring": {"featureGroup": {"name": "a/b"}}},
    "Prometheus without a query": POLICY
    | {"performance": HOURLY, "monitoring": {"prometheus": {"serverAddress": "http://a"}}},
    "Prometheus with an empty query": POLICY
    | {"monitoring": {"prometheus": {"serverAddress": "http://a", "drift": {"query": ""}}}},
    "Prometheus with a query for nothing": POLICY | {"monitoring": DRIFT_BY_PROMETHEUS},
    "Prometheus without a threshold": POLICY
    | {
        "drift": {"window": {"seconds": 60}, "onBreach": "Retrain"},
        "monitoring": DRIFT_BY_PROMETHEUS,
    },
    "Prometheus without a window": POLICY
    | {"drift": {"threshold": 1, "onBreach": "Retrain"}, "monitoring": DRIFT_BY_PROMETHEUS},
    "Prometheus with a window of rows": POLICY
    | {
        "drift": {"threshold": 1, "window": {"rows": 500}, "onBreach": "Retrain"},
        "monitoring": DRIFT_BY_PROMETHEUS,
    },
    "Prometheus with features": POLICY
    | {"drift": HOURLY | {"features": ["a"], "onBreach": "Retrain"}, "monitoring": DRIFT_BY_PROMETHEUS},
    "drift by Prometheus that never trains": POLICY | {"drift": HOURLY, "monitoring": DRIFT_BY_PROMETHEUS},
    "Prometheus with a metric without a better side": POLICY
    | {
        "performance": HOURLY | {"metric": "revenue"},
        "monitoring": {"prometheus": {"serverAddress": "http://a", "performance": {"query": "c"}}},
    },
    "observed for a moment": POLICY | {"performance": {}, "rollback": {"observationSeconds": 1}},
    "negative loss": POLICY | {"performance": {}, "rollback": {"maxLoss": -1}},
    "template with a name": {
        "modelName": "mine",
        "trainingJobTemplate": {"metadata": {"name": "x"}, "spec": OWN_CODE},
    },
    "rule of the template's spec": {
        "modelName": "m",
        "trainingJobTemplate": {"spec": {"modelName": "m"}},
    },
}


def cases(kind: str, named: dict[str, Any]) -> list[Any]:
    return [pytest.param(manifest(kind, spec), id=f"{kind}: {name}") for name, spec in named.items()]


@pytest.mark.parametrize(
    "tried",
    [
        *cases("TrainingJob", GOOD_JOBS),
        *cases("ModelVersion", GOOD_VERSIONS),
        *cases("RetrainingPolicy", GOOD_POLICIES),
        pytest.param(manifest("TrainingJob", BUILT_IN, name="a" * 52), id="name of 52 characters"),
        pytest.param(manifest("TrainingJob", BUILT_IN) | {"status": None}, id="status null"),
    ],
)
def test_both_accept(api: Any, tried: Manifest) -> None:
    assert pydantic_refusal(tried) is None
    assert api.refusal(tried) is None


@pytest.mark.parametrize(
    "tried",
    [
        *cases("TrainingJob", BAD_JOBS),
        *cases("ModelVersion", BAD_VERSIONS),
        *cases("RetrainingPolicy", BAD_POLICIES),
        pytest.param(manifest("TrainingJob", BUILT_IN, name="a" * 53), id="name of 53 characters"),
        pytest.param(manifest("RetrainingPolicy", POLICY, name="a" * 53), id="policy of 53 characters"),
        pytest.param(manifest("TrainingJob", BUILT_IN) | {"data": {}}, id="field beside spec"),
        pytest.param(manifest("TrainingJob", built_in(training={"learningRate": math.nan})), id="NaN"),
        pytest.param(manifest("TrainingJob", built_in(training={"learningRate": math.inf})), id="infinity"),
        pytest.param(manifest("TrainingJob", gate(min=-math.inf)), id="gate at minus infinity"),
        pytest.param(
            manifest("TrainingJob", built_in(model={"architecture": "mlp", "parameters": {"x": math.nan}})),
            id="NaN among the parameters",
        ),
    ],
)
def test_both_refuse(api: Any, tried: Manifest) -> None:
    assert pydantic_refusal(tried) is not None
    assert api.refusal(tried) is not None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (built_in(modelName="a/b"), "a model name has none of / :"),
        (
            built_in(training={"epochs": -1}),
            "spec.training.epochs in body should be greater than or equal to 1",
        ),
        (data(startDate="2020-01-02", endDate="2020-01-01"), "startDate must not be after endDate"),
        (data(startDate="2020-02-31"), 'spec.data.startDate in body must be of type date: "2020-02-31"'),
        (built_in(epochs=3), 'unknown field "spec.epochs"'),
        ({"modelName": "m"}, "give model and data for the built-in trainer, or command or image"),
        (env({"name": "A"}, {"name": "A"}), 'spec.env[1]: Duplicate value: {"name":"A"}'),
    ],
)
def test_the_api_server_says_what_is_wrong(api: Any, spec: Any, message: str) -> None:
    assert message in (api.refusal(manifest("TrainingJob", spec)) or "")


SHORT_TEXT = st.text(max_size=6)
FRACTION = st.floats(0, 1)
VARIABLE = st.fixed_dictionaries(
    {"name": st.sampled_from(["A", "B", "C", "a.b", "0"])},
    optional={"value": SHORT_TEXT, "valueFrom": st.sampled_from([SECRET, CONFIG, {}])},
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "modelName": st.one_of(st.just("Own Model"), SHORT_TEXT),
        "model": st.fixed_dictionaries(
            {"architecture": st.sampled_from(["mlp", "hybrid_cnn_lstm"])},
            optional={"parameters": st.dictionaries(SHORT_TEXT, st.integers(-5, 5), max_size=2)},
        ),
        "data": st.fixed_dictionaries(
            {"featureGroup": st.just("g"), "label": st.sampled_from(["up", "rsi"])},
            optional={
                "task": st.sampled_from(["Classification", "Regression", "regression"]),
                "startDate": st.dates().map(str),
                "endDate": st.dates().map(str),
                "lastDays": st.integers(0, 2),
                "features": st.lists(st.sampled_from(["rsi", "momentum"]), max_size=2),
                "snapshot": st.sampled_from(["", "s", "snapshot-1"]),
            },
        ),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "epochs": st.integers(0, 100001),
                "learningRate": st.floats(0, 11),
                "classWeights": st.sampled_from(["None", "Balanced"]),
                "optimizer": st.sampled_from(["Adam", "AdamW", "SGD", "LBFGS"]),
                "earlyStopping": st.fixed_dictionaries({}, optional={"patience": st.integers(0, 5)}),
                "scheduler": st.fixed_dictionaries(
                    {"name": st.sampled_from(["OneCycleLR", "StepLR", "ExponentialLR", "LambdaLR"])},
                    optional={
                        "warmupEpochs": st.integers(-1, 2),
                        "stepSize": st.integers(0, 2),
                        "gamma": FRACTION,
                    },
                ),
            },
        ),
        "validation": st.fixed_dictionaries(
            {},
            optional={
                "validationFraction": FRACTION,
                "testFraction": FRACTION,
                "strategy": st.sampled_from(["Holdout", "WalkForward"]),
                "folds": st.integers(0, 3),
                "window": st.sampled_from(["Expanding", "Sliding"]),
                "windowSize": st.integers(0, 3),
            },
        ),
        "promotion": st.fixed_dictionaries(
            {},
            optional={
                "gates": st.lists(
                    st.fixed_dictionaries(
                        {"metric": st.just("test_accuracy")}, optional={"min": FRACTION, "max": FRACTION}
                    ),
                    max_size=2,
                ),
                "deletionPolicy": st.sampled_from(["Retain", "Delete", "Orphan"]),
            },
        ),
        "image": st.just("i"),
        "command": st.lists(SHORT_TEXT, max_size=2),
        "env": st.lists(VARIABLE, max_size=3),
        "volumes": st.just([VOLUME]),
        "volumeMounts": st.just([{"name": "v", "mountPath": "/v"}]),
        "resourcesPerNode": st.fixed_dictionaries(
            {"limits": st.dictionaries(st.just("cpu"), st.sampled_from(["1", "2Gi", 3, "x"]))}
        ),
    },
)
SPEC = st.builds(lambda base, fields: base | fields, st.sampled_from([BUILT_IN, OWN_CODE]), FIELDS)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.0,
    5.5,
    1e30,
    10**19,
    "",
    "5",
    "x" * 300,
    [],
    [None],
    {},
    {"x": 1},
    {"name": None},
)


def places_in(value: Any) -> list[tuple[Any, ...]]:
    """The path of every key and every index within a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in pairs for path in [(key,), *((key, *rest) for rest in places_in(item))]]


@st.composite
def broken(draw: st.DrawFn, specs: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A spec with one value replaced, removed, or joined by a field that nobody knows."""
    spec: dict[str, Any] = copy.deepcopy(draw(specs))
    *parents, last = draw(st.sampled_from(places_in(spec)))
    target: Any = spec
    for key in parents:
        target = target[key]
    change = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if change == "add" and isinstance(target, dict):
        target["surprise"] = draw(st.sampled_from([None, 1, {}]))
    elif change == "remove":
        del target[last]
    else:
        target[last] = draw(st.sampled_from(ODD_VALUES))
    return spec


def one_of_these(named: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(list(named.values()))


JOBS = st.one_of(SPEC, broken(st.one_of(one_of_these(GOOD_JOBS), SPEC)))
VERSIONS = broken(one_of_these(GOOD_VERSIONS))
POLICIES = broken(
    st.one_of(
        one_of_these(GOOD_POLICIES),
        one_of_these(GOOD_JOBS).map(
            lambda spec: {"modelName": spec["modelName"], "trainingJobTemplate": {"spec": spec}}
        ),
    )
)
TRIED = st.one_of(
    JOBS.map(lambda spec: manifest("TrainingJob", spec)),
    JOBS.map(lambda spec: manifest("TrainingJob", spec)),
    VERSIONS.map(lambda spec: manifest("ModelVersion", spec)),
    POLICIES.map(lambda spec: manifest("RetrainingPolicy", spec)),
)


@given(tried=TRIED)
@settings(
    max_examples=500,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_random_specs_get_the_same_verdict_and_the_same_defaults(api: Any, tried: Manifest) -> None:
    ours, answer = pydantic_refusal(tried), api.dry_run(tried)
    accepted = answer.status_code == 201
    event("accepted" if accepted else "refused")
    assert (ours is None) == accepted, f"pydantic: {ours}\nAPI server: {answer.text}"
    if accepted:
        model = MODELS[tried["kind"]]
        stored, given = model.model_validate(answer.json()), model.model_validate(tried)
        assert stored.to_wire()["spec"] == given.to_wire()["spec"]
