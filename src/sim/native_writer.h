#pragma once

#include <string>

#include "sim/inference.h"

namespace sollol::sim {

/// The records of `/api/generate` and `/api/chat`.
class NativeWriter final : public AnswerWriter {
 public:
  explicit NativeWriter(const Generation& request)
      : chat_(request.call == Generation::Call::chat),
        stream_(request.stream),
        raw_(request.raw),
        logprobs_(request.logprobs),
        top_logprobs_(request.top_logprobs),
        model_(request.model) {}

  std::string_view stream_type() const override;
  bool stream() const override { return stream_; }
  std::string begin(std::uint32_t) override { return {}; }
  std::string piece(const Piece& piece) override;
  std::string last(const Piece& rest, const Final& final) override;
  std::string whole(const Piece& all, const Final& final) override;
  std::string broken(std::string_view error) override;
  std::string loaded(std::string_view reason, Duration load) override;
  std::string rendered(std::string_view prompt) override;

 private:
  boost::json::object record(const Piece& piece) const;
  std::string ended(boost::json::object record, const Final& final) const;

  bool chat_, stream_, raw_, logprobs_;
  int top_logprobs_;
  std::string model_;
};

/// `[{"id":…,"function":{"index":0,"name":…,"arguments":{…}}}]`.
boost::json::array native_tool_calls(const std::vector<ToolCall>& calls);

/// Log probabilities as Ollama lists them, made up from the text.
boost::json::array logprobs_of(std::string_view token, int top);

}  // namespace sollol::sim
