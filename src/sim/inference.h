#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <string_view>

#include "sim/answer.h"
#include "sim/call.h"

namespace sollol::sim {

/// What is known of an answer at its end.
struct Final {
  std::string_view done_reason{};
  Duration total{}, load{}, prompt_eval{}, eval{};
  std::uint32_t prompt_tokens = 0;
  std::uint64_t eval_tokens = 0;
};

/// Puts an answer into the form of one API. Pure: bytes out, nothing sent.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  virtual std::string_view stream_type() const = 0;
  virtual bool stream() const = 0;
  /// What comes ahead of the first piece of a stream.
  virtual std::string begin(std::uint32_t prompt_tokens) = 0;
  virtual std::string piece(const Piece& piece) = 0;
  /// The end of a stream; `rest` is text that was held back.
  virtual std::string last(const Piece& rest, const Final& final) = 0;
  /// The whole answer of a request that does not stream.
  virtual std::string whole(const Piece& all, const Final& final) = 0;
  /// How a stream shows an error in its middle; may be nothing.
  virtual std::string broken(std::string_view error) = 0;
  /// Models loaded or unloaded without generating ("load", "unload"); only native routes ask for
  /// it.
  virtual std::string loaded(std::string_view reason, Duration load) = 0;
  /// A rendered prompt, for `_debug_render_only`.
  virtual std::string rendered(std::string_view prompt) = 0;
};

/// What Ollama says when its runner died, and when its load queue is full.
inline constexpr std::string_view runner_died =
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
    "error, "
    "check ollama server logs for details";
inline constexpr std::string_view queue_full =
    "server busy, please try again.  maximum pending requests exceeded";

/// Answers a request for text: finds the model, waits for load and slot, generates at the model's
/// speed.
Handled generate(Call call, Generation request, AnswerWriter& writer);

/// Computes embeddings for `inputs`, at the model's speed; the tokens of all in the end.
struct Embedded {
  std::vector<std::vector<float>> vectors{};
  std::uint32_t prompt_tokens = 0;
  Duration total{}, load{};
};
struct EmbedRequest {
  std::string model{};
  std::vector<std::string> inputs{};
  std::optional<std::uint32_t> dimensions{};
  bool truncate = true;
  Generation options{};  // of which keep_alive and the runner options count
};
boost::asio::awaitable<ApiResult<Embedded>> embed_all(Call call, EmbedRequest request);

}  // namespace sollol::sim
