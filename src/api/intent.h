#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/routes.h"
#include "base/result.h"

namespace sollol::api {

/// Bodies handed to the scanner are followed by this many readable bytes, of any value.
inline constexpr std::size_t json_padding = 64;

/// The options that belong to the runner: another value means a reload of the model
/// (reference/ollama-api.md §14.3). In the order in which they are hashed.
inline constexpr std::array<std::string_view, 7> runner_options = {
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"};

enum class KeepAlive : std::uint8_t { absent, unload, keep };

/// What a router needs to know of a request, read from its body.
struct Intent {
  std::string_view
      model;  // unescaped; points into the body or the scanner; valid until its next scan
  bool has_model = false;        // there, and not empty
  std::string_view destination;  // of a copy; same lifetime
  bool stream = false;           // as asked, else the operation's default
  std::uint64_t runner_key = 0;  // hash of the runner options (§4.1); 0: none given
  std::uint32_t num_ctx = 0;     // 0: not given
  std::optional<bool> shift;     // a load-time attribute (§14.3)
  std::optional<std::int64_t>
      num_predict;  // the longest answer asked for, by the dialect's own field
  KeepAlive keep_alive = KeepAlive::absent;
  std::size_t prompt_bytes =
      0;  // text of prompt, messages or inputs, as escaped on the wire; without images
  bool empty_prompt = false;  // a preload, or an unload when keep_alive says so
  std::size_t inputs = 0;     // texts of an embedding request
  bool uses_tools = false;
  bool uses_format = false;  // the answer is bound to a grammar
  bool uses_images = false;
  std::uint64_t conversation =
      0;  // hash of system text and first user message; 0: not a conversation
};

/// Reads the intent out of request bodies with Go's rules: keys match in any case, the last of
/// equal keys wins, null is as good as absent, fields the dialect does not know are ignored.
///
/// Reuses its buffers, so steady traffic allocates nothing; memory taken for a huge body is given
/// back by the next scan. One thread at a time. Error: bad_input when the body is no JSON object or
/// a field that routing needs has a wrong type; a node words the answer to that better than we
/// could.
class IntentScanner {
 public:
  IntentScanner();
  ~IntentScanner();
  IntentScanner(IntentScanner&&) noexcept;
  IntentScanner& operator=(IntentScanner&&) noexcept;

  /// `body` is followed by `json_padding` readable bytes.
  Result<Intent> scan(std::string_view body, Operation operation);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The `model` field of a multipart/form-data body (`/v1/audio/transcriptions`).
/// Error: bad_input when the content type names no boundary or no such field is there.
Result<std::string> multipart_model(std::string_view content_type, std::string_view body);

}  // namespace sollol::api
