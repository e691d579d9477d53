#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace sollol::sim {

/// One model of a simulated node. Every field but `name` has a default that suits a small chat
/// model.
struct ModelSpec {
  std::string name{};    // any spelling Ollama takes: "llama3.2", "hf.co/org/repo:Q4_K_M"
  std::string digest{};  // 64 hex digits of the manifest; empty: derived from the name
  std::string blob{};    // 64 hex digits of the weights; empty: derived from the name
  std::uint64_t size_bytes = 2'019'393'189;
  std::uint32_t context_length = 131'072;  // what it was trained for
  std::uint32_t embedding_length = 3072;
  std::vector<std::string> capabilities{};  // empty: guessed from the name
  std::string family{};                     // empty: guessed from the name
  std::string parameter_size = "3.2B";
  std::string quantization = "Q4_K_M";
  double prefill_tokens_per_s = 2000;
  double decode_tokens_per_s = 100;
  Duration load_time{};  // zero: size_bytes / load_bytes_per_s
  double load_bytes_per_s = 2e9;
  std::uint64_t kv_bytes_per_token = 114'688;  // memory of one token of context
  std::uint32_t answer_tokens = 60;            // about how long an answer is when nothing cuts it
  std::optional<std::uint32_t>
      num_ctx{};         // a context stored with the model, as a Modelfile's PARAMETER
  std::string system{};  // a system message stored with the model
};

enum class FaultKind : std::uint8_t {
  none,
  refuse,              // nothing listens: connections are refused, open ones are closed
  reset,               // accepts, then resets the connection before reading
  reset_after_head,    // reads the request, then resets the connection
  starting,            // accepts and never answers, whatever the route
  stall,               // never sends the first byte
  stall_after_tokens,  // sends `tokens` tokens, then nothing more
  die_after_tokens,    // resets the connection after `tokens` tokens
  end_after_tokens,    // ends the answer cleanly after `tokens` tokens, without its last record
  error,               // answers `status` with `text` before the first record
  error_after_tokens,  // breaks off after `tokens` tokens with the API's error record, where it has
                       // one
  busy,                // the 503 of a full load queue
  slow_ps,             // `/api/ps` answers after `delay`
  content_type,        // the right answer, labelled text/html
  garbage,             // bytes that are no HTTP
  empty,               // 200 with an empty body
  slow,                // everything that takes time takes `factor` times as long
  half_close,          // ends its sending side after `tokens` tokens, or in the middle of a whole
                       // answer, and reads on
  cut_in_chunk,        // resets the connection inside a chunk after `tokens` tokens, or in the
                       // middle of a whole answer
  bad_chunk,           // a chunk without a size after `tokens` tokens, or instead of a whole answer
  half_record,         // ends a stream cleanly in the middle of the record after `tokens` tokens
  garbage_record,      // sends a line that is no record after `tokens` tokens and ends a stream
  long_length,         // a Content-Length that is longer than the body, then the end
  short_length,        // a Content-Length that is shorter than the body
  foreign,             // answers as another web server does: 404, text/html
};

enum class FaultScope : std::uint8_t { inference, all };  // which routes a fault meets

/// One way to misbehave. `none` is no fault.
struct FaultSpec {
  FaultKind kind = FaultKind::none;
  std::uint32_t tokens = 0;
  int status = 500;
  std::string text{};  // empty: what Ollama says when its runner died
  Duration delay = std::chrono::seconds{5};
  double factor = 10;
  double probability = 1;  // of meeting a request
  std::optional<std::uint64_t>
      count{};  // how many requests it meets before it is spent; absent: all
  FaultScope scope = FaultScope::inference;
};

/// One simulated node. Durations are simulated time (see FleetConfig::time_scale).
struct NodeSpec {
  std::string name{};
  std::string
      address{};  // "127.0.1.1" (port 11434), "127.0.1.1:8000"; empty: 127.0.0.1 on a free port
  std::vector<ModelSpec> models{};
  std::uint32_t slots = 1;           // OLLAMA_NUM_PARALLEL
  std::uint32_t max_queue = 512;     // OLLAMA_MAX_QUEUE
  std::uint32_t max_loaded = 0;      // OLLAMA_MAX_LOADED_MODELS; 0: three
  std::uint64_t memory_bytes = 0;    // for models and their contexts; 0: no limit
  std::uint32_t context_length = 0;  // OLLAMA_CONTEXT_LENGTH; 0: by memory, as Ollama does
  Duration keep_alive = std::chrono::minutes{5};  // OLLAMA_KEEP_ALIVE; negative: forever
  Duration reclaim{};    // how long memory takes to come back after an unload
  std::string host{};    // nodes that name the same host share its memory bandwidth
  std::string device{};  // nodes of one host that name the same device share it
  double parallel_slowdown =
      0.25;                    // each further stream of a runner makes a token this much slower
  double device_slowdown = 1;  // the same for each stream of another runner on the device
  double host_slowdown = 0.1;  // the same for each stream on another device of the host
  double cpu_slowdown = 8;     // a token computed wholly outside the device's memory
  Duration network_delay{};    // added before each answer
  double pull_bytes_per_s = 100e6;
  int utc_offset_minutes = 0;  // of `modified_at` and `expires_at`
  std::string store{};  // nodes that name the same one list their models as changed at one moment
  std::string version = "0.33.0";
  std::vector<FaultSpec> faults{};
};

/// Many nodes in one process.
struct FleetConfig {
  std::vector<NodeSpec> nodes{};
  double time_scale = 20;  // simulated seconds per real second; a fleet file and the command say 1
  std::uint64_t seed = 1;  // of the chance with which faults meet requests
};

}  // namespace sollol::sim
