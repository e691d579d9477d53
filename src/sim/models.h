#pragma once

#include "sim/spec.h"

namespace sollol::sim {

/// Models that tests and demonstrations share.
inline ModelSpec llama() { return {.name = "llama3.2"}; }
inline ModelSpec coder() {
  return {.name = "qwen2.5-coder:7b",
          .size_bytes = 4'683'087'332,
          .context_length = 32'768,
          .embedding_length = 3584,
          .parameter_size = "7.6B",
          .decode_tokens_per_s = 50};
}
inline ModelSpec thinker() {
  return {.name = "qwen3:4b",
          .size_bytes = 2'497'293'931,
          .context_length = 262'144,
          .embedding_length = 2560,
          .parameter_size = "4.0B",
          .decode_tokens_per_s = 80};
}
inline ModelSpec nomic() {
  return {.name = "nomic-embed-text",
          .size_bytes = 274'302'450,
          .context_length = 2048,
          .embedding_length = 768,
          .parameter_size = "137M",
          .quantization = "F16",
          .prefill_tokens_per_s = 8000,
          .kv_bytes_per_token = 0};
}

}  // namespace sollol::sim
