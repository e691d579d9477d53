#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "sim/inference.h"

namespace sollol::sim {

/// `data: {…}\n\n`.
std::string sse_data(const boost::json::value& value);

/// The OpenAI form of tool calls: arguments as a JSON string.
boost::json::array openai_tool_calls(const std::vector<ToolCall>& calls);

/// The chunks and answers of `/v1/chat/completions` and `/v1/completions`.
class OpenAiWriter final : public AnswerWriter {
 public:
  enum class Usage : std::uint8_t { none, asked };  // stream_options.include_usage
  OpenAiWriter(const Generation& request, Usage usage);

  std::string_view stream_type() const override { return sse_type; }
  bool stream() const override { return stream_; }
  std::string begin(std::uint32_t) override { return {}; }
  std::string piece(const Piece& piece) override;
  std::string last(const Piece& rest, const Final& final) override;
  std::string whole(const Piece& all, const Final& final) override;
  std::string broken(std::string_view error) override;
  std::string loaded(std::string_view, Duration) override { return whole({}, {}); }
  std::string rendered(std::string_view) override { return whole({}, {}); }

 private:
  boost::json::object head(std::string_view object, std::string_view model) const;
  boost::json::object choice(const Piece& piece, std::string_view key,
                             boost::json::value finish) const;
  boost::json::object chunk(const Piece& piece, boost::json::value finish) const;
  std::string_view finish_reason(const Final& final) const;

  bool chat_, stream_, include_usage_, logprobs_;
  int top_logprobs_;
  std::string model_;
  std::string id_;
  bool called_tools_ = false;
};

}  // namespace sollol::sim
