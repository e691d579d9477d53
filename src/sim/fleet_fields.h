#pragma once

#include "sim/spec.h"

namespace sollol::sim {

/// A size in bytes and a duration are written with units in a fleet file; other numbers are plain.
struct BytesField {
  std::uint64_t& value;
};
struct RateField {  // bytes per second
  double& value;
};

/// The fields of the fleet file: each visitor call names a key and the member it fills. Reader,
/// writer and the test that holds docs/sim.md complete all walk these lists.
template <class Visitor>
void visit_fields(ModelSpec& model, Visitor&& visit) {
  visit("name", model.name);
  visit("digest", model.digest);
  visit("blob", model.blob);
  visit("size", BytesField{model.size_bytes});
  visit("context_length", model.context_length);
  visit("embedding_length", model.embedding_length);
  visit("capabilities", model.capabilities);
  visit("family", model.family);
  visit("parameter_size", model.parameter_size);
  visit("quantization", model.quantization);
  visit("prefill_rate", model.prefill_tokens_per_s);
  visit("decode_rate", model.decode_tokens_per_s);
  visit("load_time", model.load_time);
  visit("load_rate", RateField{model.load_bytes_per_s});
  visit("kv_per_token", BytesField{model.kv_bytes_per_token});
  visit("answer_tokens", model.answer_tokens);
  visit("num_ctx", model.num_ctx);
  visit("system", model.system);
}

template <class Visitor>
void visit_fields(FaultSpec& fault, Visitor&& visit) {
  visit("kind", fault.kind);
  visit("tokens", fault.tokens);
  visit("status", fault.status);
  visit("text", fault.text);
  visit("delay", fault.delay);
  visit("factor", fault.factor);
  visit("probability", fault.probability);
  visit("count", fault.count);
  visit("scope", fault.scope);
}

template <class Visitor>
void visit_fields(NodeSpec& node, Visitor&& visit) {
  visit("name", node.name);
  visit("listen", node.address);
  visit("models", node.models);
  visit("slots", node.slots);
  visit("max_queue", node.max_queue);
  visit("max_loaded", node.max_loaded);
  visit("memory", BytesField{node.memory_bytes});
  visit("context_length", node.context_length);
  visit("keep_alive", node.keep_alive);
  visit("reclaim", node.reclaim);
  visit("host", node.host);
  visit("device", node.device);
  visit("parallel_slowdown", node.parallel_slowdown);
  visit("device_slowdown", node.device_slowdown);
  visit("host_slowdown", node.host_slowdown);
  visit("cpu_slowdown", node.cpu_slowdown);
  visit("network_delay", node.network_delay);
  visit("pull_rate", RateField{node.pull_bytes_per_s});
  visit("utc_offset_minutes", node.utc_offset_minutes);
  visit("store", node.store);
  visit("version", node.version);
  visit("faults", node.faults);
}

template <class Visitor>
void visit_fields(FleetConfig& fleet, Visitor&& visit) {
  visit("time_scale", fleet.time_scale);
  visit("seed", fleet.seed);
  visit("node", fleet.nodes);
}

}  // namespace sollol::sim
