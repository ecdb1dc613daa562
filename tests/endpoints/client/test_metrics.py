"""A page of vLLM's metrics is read for what the runner needs; anything else is no page."""

import pytest

from muser.endpoints.client.metrics import Load, prefix_cache, read_load

# As vLLM 0.32 writes it, two engines, shortened.
PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_running{engine="1",model_name="tiny"} 4.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 2.0
vllm:num_requests_waiting{engine="1",model_name="tiny"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.5
vllm:prefix_cache_queries_total{engine="0",model_name="tiny"} 1.5e+03
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 640.0
vllm:prefix_cache_hits_created{engine="0",model_name="tiny"} 1.7e+09
"""


# As llama.cpp writes it, shortened.
LLAMACPP = """\
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 41
llamacpp:prompt_tokens_cached_total 39
llamacpp:requests_processing 4
llamacpp:requests_deferred 2
"""


def test_llamacpps_prompt_tokens_are_the_computed_and_the_cached() -> None:
    assert read_load(LLAMACPP) == Load(4, 2, 0, prefix_queries=80, prefix_hits=39)


def test_requests_are_summed_over_engines_and_the_fullest_cache_counts() -> None:
    assert read_load(PAGE) == Load(7, 2, 0.5, 1500, 640, engines=2)


@pytest.mark.parametrize("page", ["", "<html>not found</html>", "process_cpu_seconds_total 3.0\n", "vllm:x{} y\n"])
def test_any_other_page_tells_nothing(page: str) -> None:
    assert read_load(page) is None


def test_what_a_cache_was_asked_and_had_is_the_difference_of_two_readings() -> None:
    before = {"http://a": Load(0, 0, 0, 100, 50), "http://idle": Load(0, 0, 0, 7, 7)}
    after = {"http://a": Load(1, 0, 0, 300, 170), "http://idle": Load(0, 0, 0, 7, 7), "http://new": Load(0, 0, 0, 9, 1)}
    assert prefix_cache(before, after) == {
        "http://a": {"queries": 200, "hits": 120},
        "http://new": {"queries": 9, "hits": 1},
    }
