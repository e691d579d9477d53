#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "sim/generation.h"
#include "sim/manifest.h"
#include "sim/text.h"

namespace sollol::sim {

/// What one generated token adds to the answer. All empty: nothing to show yet (a tool call in the
/// making, a held-back beginning of a stop string).
struct Piece {
  std::string thinking{};
  std::string content{};
  std::vector<ToolCall> tool_calls{};
  bool empty() const { return thinking.empty() && content.empty() && tool_calls.empty(); }
};

/// The tokens of one answer: thinking, then text, JSON or tool calls; ended by the model, a stop
/// string or num_predict.
///
/// A function of model, rendered prompt, seed and options alone. An assistant message at the end of
/// a chat is continued: what comes is the rest of the answer that began so.
class Answer {
 public:
  /// `num_ctx` bounds the length when the request does not (ten contexts).
  Answer(const Generation& request, const Manifest& model, std::string_view rendered,
         std::uint32_t num_ctx);

  /// nullopt: the answer is over; done_reason() and rest() say how.
  std::optional<Piece> next();
  /// "stop" or "length".
  std::string_view done_reason() const { return done_reason_; }
  /// Text that was held back and belongs to the last record.
  std::string rest() { return stops_.flush(); }
  std::uint64_t tokens() const { return tokens_; }
  /// Everything generated, for the slot's cache.
  const std::string& text() const { return text_; }

 private:
  std::optional<Piece> next_scripted();

  std::optional<TextStream> thinking_;
  std::optional<TextStream> content_;  // absent: scripted_
  std::deque<std::string> scripted_;
  std::vector<ToolCall> tool_calls_;  // come with the last scripted token, which is then silent
  StopFilter stops_;
  std::uint64_t tokens_ = 0;
  std::uint64_t tokens_max_;
  std::string_view done_reason_ = "stop";
  std::string text_;
};

}  // namespace sollol::sim
